package topology_test

import "testing"

// Building blocks of the tables below.
const (
	netLine    = `create network net {"name":"net"}`
	subLine    = `create subnet sub {"network_id":"$net","cidr":"10.1.0.0/24","ip_version":4}`
	routerLine = `create router r {"name":"r"}`
	extLine    = `admin create network ext {"router:external":true}`
	extSubLine = `admin create subnet extsub {"network_id":"$ext","cidr":"203.0.113.0/24","ip_version":4}`
	gwLine     = `update router r {"external_gateway_info":{"network_id":"$ext"}}`
	attachLine = `attach a r {"subnet_id":"$sub"}`
)

func base(more ...string) []string { return append([]string{netLine, subLine, routerLine}, more...) }

func full(more ...string) []string {
	return append(base(extLine, extSubLine, gwLine, attachLine), more...)
}

type rule struct {
	name  string
	setup []string
	line  string
	want  string
}

func check(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.run(t, r.setup...)
			_, err := e.do(t.Context(), r.line)
			if got := e.outcome(err); got != r.want {
				t.Errorf("%s\n got %s\nwant %s", r.line, got, r.want)
			}
		})
	}
}

func TestNetworkRules(t *testing.T) {
	t.Parallel()
	check(t, []rule{
		{"all defaults", nil, `create network n {}`, "ok"},
		{"reader", nil, `rita create network n {}`, "403 PolicyNotAuthorized: create_network is disallowed by policy: it needs the role member (or admin) in the project"},
		{"shared by a member", nil, `create network n {"shared":true}`, "403 PolicyNotAuthorized: create_network:shared is disallowed by policy: it needs the role admin"},
		{"external by a member", nil, `create network n {"router:external":true}`, "403 PolicyNotAuthorized: create_network:router:external is disallowed by policy: it needs the role admin"},
		{"physical by a member", nil, `create network n {"provider:physical_network":"p"}`, "403 PolicyNotAuthorized: create_network:provider:physical_network is disallowed by policy: it needs the role admin"},
		{"type by a member", nil, `create network n {"provider:network_type":"local"}`, "403 PolicyNotAuthorized: create_network:provider:network_type is disallowed by policy: it needs the role admin"},
		{"defaults said aloud by a member", nil, `create network n {"shared":false,"router:external":false,"mtu":0}`, "ok"},
		{"share by a member", []string{netLine}, `update network net {"shared":true}`, "403 PolicyNotAuthorized: update_network:shared is disallowed by policy: it needs the role admin"},
		{"vlan", nil, `admin create network n {"provider:network_type":"vlan"}`, "400 HTTPBadRequest: Invalid input for provider:network_type. Reason: 'vlan' is not in valid_values; allowed are flat, local."},
		{"flat without physical", nil, `admin create network n {"provider:network_type":"flat"}`, "400 InvalidInput: Invalid input for operation: provider:physical_network required for flat provider network"},
		{"local with physical", nil, `admin create network n {"provider:network_type":"local","provider:physical_network":"p"}`, "400 InvalidInput: Invalid input for operation: provider:physical_network specified for local provider network"},
		{"physical taken", []string{`admin create network m {"provider:physical_network":"p"}`}, `admin create network n {"provider:physical_network":"p"}`, "409 FlatNetworkInUse: Unable to create the flat network. Physical network p is in use by network $m."},
		{"physical changed", []string{`admin create network m {"provider:physical_network":"p"}`}, `admin update network m {"provider:physical_network":"q"}`, "ok"},
		{"zone hints", nil, `create network n {"availability_zone_hints":["az"]}`, "400 HTTPBadRequest: Invalid input for availability_zone_hints. Reason: '[\"az\"]': there are no availability zones here; allowed is []."},
		{"mtu too small", nil, `create network n {"mtu":67}`, "400 HTTPBadRequest: Invalid input for mtu. Reason: '67' is not in the range 68 to 65535."},
		{"mtu too large", nil, `create network n {"mtu":65536}`, "400 HTTPBadRequest: Invalid input for mtu. Reason: '65536' is not in the range 0 to 65535."},
		{"mtu too small for IPv6", []string{netLine, `create subnet s6 {"network_id":"$net","cidr":"2001:db8::/64","ip_version":6}`}, `update network net {"mtu":1279}`, "400 HTTPBadRequest: Invalid input for mtu. Reason: '1279' is less than 1280, which IPv6 needs, and subnet $s6 is IPv6."},
		{"foreign", []string{netLine}, `bob update network net {"name":"x"}`, "404 NetworkNotFound: Network $net could not be found."},
		{"foreign but external", []string{extLine}, `bob update network ext {"name":"x"}`, "403 PolicyNotAuthorized: update_network is disallowed by policy: it needs the role member (or admin) in the project"},
		{"external no more", full(), `admin update network ext {"router:external":false}`, "409 ExternalNetworkInUse: External network $ext cannot be updated to be made non-external, since it has existing gateway ports."},
		{"shared no more", []string{`admin create network n {"shared":true}`, `create port p {"network_id":"$n"}`}, `admin update network n {"shared":false}`, "409 InvalidSharedSetting: Unable to reconfigure sharing settings for network $n. Multiple projects are using it."},
		{"delete with its free subnet", []string{netLine, subLine}, `delete network net`, "ok"},
		{"delete with a port", []string{netLine, subLine, `create port p {"network_id":"$net"}`}, `delete network net`, "409 NetworkInUse: Network $net is in use by port $p."},
		{"delete with a guarded subnet", []string{netLine, subLine, `forbid delete SubnetInUse`}, `delete network net`, "409 SubnetInUse: A VPN needs $sub."},
	})
}

func TestSubnetRules(t *testing.T) {
	t.Parallel()
	with := func(attrs string) string { return `create subnet s {"network_id":"$net",` + attrs + `}` }
	own := []string{netLine}
	check(t, []rule{
		{"prefix of 33 bits", own, with(`"cidr":"1.0.0.0/33","ip_version":4`), "400 HTTPBadRequest: Invalid input for cidr. Reason: '1.0.0.0/33' is not a valid IP subnet (address/prefix length, such as 10.1.0.0/16 or 2001:db8::/64)."},
		{"no version", own, with(`"cidr":"10.1.0.0/24"`), "400 HTTPBadRequest: Failed to parse request. Required attribute 'ip_version' not specified"},
		{"version 5", own, with(`"cidr":"10.1.0.0/24","ip_version":5`), "400 HTTPBadRequest: Invalid input for ip_version. Reason: '5' is not in valid_values; allowed are 4, 6."},
		{"other version", own, with(`"cidr":"10.1.0.0/24","ip_version":6`), "400 InvalidInput: Invalid input for operation: cidr '10.1.0.0/24' does not match the ip_version '6'."},
		{"no prefix", own, with(`"cidr":"0.0.0.0/0","ip_version":4`), "400 InvalidInput: Invalid input for operation: 0 is not allowed as CIDR prefix length."},
		{"multicast", own, with(`"cidr":"224.0.0.0/24","ip_version":4`), "400 InvalidInput: Invalid input for operation: Multicast IP subnet is not supported: '224.0.0.0/24'."},
		{"loopback", own, with(`"cidr":"127.0.0.0/24","ip_version":4`), "400 InvalidInput: Invalid input for operation: Loopback IP subnet is not supported: '127.0.0.0/24'."},
		{"overlap", []string{netLine, subLine}, with(`"cidr":"10.1.0.128/25","ip_version":4`), "400 InvalidInput: Invalid input for operation: Requested subnet with cidr: 10.1.0.128/25 for network: $net overlaps with another subnet: 10.1.0.0/24 of subnet $sub."},
		{"gateway outside", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"10.2.0.1"`), "400 HTTPBadRequest: Invalid input for gateway_ip. Reason: '10.2.0.1' is not a host address of 10.1.0.0/24; allowed are 10.1.0.1 to 10.1.0.254 and null."},
		{"gateway is the network", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"10.1.0.0"`), "400 HTTPBadRequest: Invalid input for gateway_ip. Reason: '10.1.0.0' is not a host address of 10.1.0.0/24; allowed are 10.1.0.1 to 10.1.0.254 and null."},
		{"gateway is the broadcast", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"10.1.0.255"`), "400 HTTPBadRequest: Invalid input for gateway_ip. Reason: '10.1.0.255' is not a host address of 10.1.0.0/24; allowed are 10.1.0.1 to 10.1.0.254 and null."},
		{"gateway of the other family", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"2001:db8::1"`), "400 HTTPBadRequest: Invalid input for gateway_ip. Reason: '2001:db8::1' is not a host address of 10.1.0.0/24; allowed are 10.1.0.1 to 10.1.0.254 and null."},
		{"pool outside", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"allocation_pools":[{"start":"10.1.0.2","end":"10.1.1.9"}]`), "400 OutOfBoundsAllocationPool: The allocation pool 10.1.0.2-10.1.1.9 spans beyond the subnet cidr 10.1.0.0/24; allowed are 10.1.0.1 to 10.1.0.254."},
		{"pool backwards", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"allocation_pools":[{"start":"10.1.0.9","end":"10.1.0.2"}]`), "400 InvalidAllocationPool: The allocation pool 10.1.0.9-10.1.0.2 is not valid: its start must not lie after its end."},
		{"pools overlap", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"allocation_pools":[{"start":"10.1.0.2","end":"10.1.0.9"},{"start":"10.1.0.9","end":"10.1.0.12"}]`), "409 OverlappingAllocationPools: Found overlapping allocation pools: 10.1.0.2-10.1.0.9 10.1.0.9-10.1.0.12 for subnet 10.1.0.0/24."},
		{"pool has the gateway", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"10.1.0.5","allocation_pools":[{"start":"10.1.0.2","end":"10.1.0.9"}]`), "409 GatewayConflictWithAllocationPools: Gateway ip 10.1.0.5 conflicts with allocation pool 10.1.0.2-10.1.0.9."},
		{"pool without an end", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"allocation_pools":[{"start":"10.1.0.2"}]`), "400 HTTPBadRequest: Invalid input for allocation_pools. Reason: '{\"start\":\"10.1.0.2\"}' lacks 'end'."},
		{"name server of the other family", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"dns_nameservers":["2001:db8::53"]`), "400 InvalidInput: Invalid input for operation: dns_nameserver '2001:db8::53' does not match the ip_version '4'."},
		{"modes on IPv4", own, with(`"cidr":"10.1.0.0/24","ip_version":4,"ipv6_ra_mode":"slaac"`), "400 InvalidInput: Invalid input for operation: ipv6_ra_mode and ipv6_address_mode are only valid when ip_version is 6."},
		{"modes differ", own, with(`"cidr":"2001:db8::/64","ip_version":6,"ipv6_ra_mode":"slaac","ipv6_address_mode":"dhcpv6-stateful"`), "400 InvalidInput: Invalid input for operation: ipv6_ra_mode set to 'slaac' with ipv6_address_mode set to 'dhcpv6-stateful' is not valid. If both attributes are set, they must be the same value."},
		{"slaac on /60", own, with(`"cidr":"2001:db8::/60","ip_version":6,"ipv6_address_mode":"slaac"`), "400 InvalidInput: Invalid input for operation: Invalid CIDR 2001:db8::/60 for IPv6 address mode: EUI-64 addresses require the prefix to be /64."},
		{"slaac without dhcp", own, with(`"cidr":"2001:db8::/64","ip_version":6,"enable_dhcp":false,"ipv6_address_mode":"slaac"`), "400 InvalidInput: Invalid input for operation: ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False."},
		{"IPv6 on a small mtu", []string{`create network net {"mtu":1000}`}, with(`"cidr":"2001:db8::/64","ip_version":6`), "400 InvalidInput: Invalid input for operation: network $net has the mtu 1000; an IPv6 subnet needs at least 1280."},
		{"no such network", nil, `create subnet s {"network_id":"99999999-0000-4000-8000-000000000000","cidr":"10.1.0.0/24","ip_version":4}`, "404 NetworkNotFound: Network 99999999-0000-4000-8000-000000000000 could not be found."},
		{"foreign network", own, `bob create subnet s {"network_id":"$net","cidr":"10.1.0.0/24","ip_version":4}`, "404 NetworkNotFound: Network $net could not be found."},
		{"on somebody's shared network", []string{extLine}, `create subnet s {"network_id":"$ext","cidr":"10.1.0.0/24","ip_version":4}`, "403 PolicyNotAuthorized: create_subnet is disallowed by policy: network $ext belongs to another project"},
		{"gateway used by a router", base(attachLine), `update subnet sub {"gateway_ip":null}`, "409 GatewayIpInUse: Current gateway ip 10.1.0.1 already in use by port $r-if-a. Unable to update."},
		{"new gateway in a pool", base(), `update subnet sub {"gateway_ip":"10.1.0.9"}`, "409 GatewayConflictWithAllocationPools: Gateway ip 10.1.0.9 conflicts with allocation pool 10.1.0.2-10.1.0.254."},
		{"new pool and gateway", base(), `update subnet sub {"gateway_ip":"10.1.0.9","allocation_pools":[{"start":"10.1.0.10","end":"10.1.0.20"}]}`, "ok"},
		{"cidr is fixed", base(), `update subnet sub {"cidr":"10.9.0.0/24"}`, "400 HTTPBadRequest: Cannot update read-only attribute cidr"},
		{"delete on a router", base(attachLine), `delete subnet sub`, "409 SubnetInUse: Subnet $sub is in use by port $r-if-a."},
		{"delete guarded", base(`forbid delete SubnetInUse`), `delete subnet sub`, "409 SubnetInUse: A VPN needs $sub."},
	})
}
