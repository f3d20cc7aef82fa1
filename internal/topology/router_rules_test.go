package topology_test

import "testing"

func TestRouterRules(t *testing.T) {
	t.Parallel()
	check(t, []rule{
		{"gateway at once", []string{extLine, extSubLine}, `create router r {"external_gateway_info":{"network_id":"$ext"}}`, "ok"},
		{"gateway not external", base(), `update router r {"external_gateway_info":{"network_id":"$net"}}`, "400 BadRequest: Bad router request: Network $net is not an external network."},
		{"gateway unknown", base(), `update router r {"external_gateway_info":{"network_id":"$sub"}}`, "404 NetworkNotFound: Network $sub could not be found."},
		{"gateway without network", base(), `update router r {"external_gateway_info":{"enable_snat":false}}`, "400 HTTPBadRequest: Invalid input for external_gateway_info. Reason: '{\"enable_snat\":false}' lacks 'network_id'."},
		{"gateway of unknown keys", base(), `update router r {"external_gateway_info":{"network":"x"}}`, "400 HTTPBadRequest: Invalid input for external_gateway_info. Reason: Unexpected keys supplied: 'network'; allowed are network_id, enable_snat, external_fixed_ips."},
		{"gateway with no subnet", base(extLine), gwLine, "ok"},
		{"fixed in the pool", base(extLine, extSubLine), `update router r {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"ip_address":"203.0.113.77"}]}}`, "ok"},
		{"fixed is the gateway's, for a member", base(extLine, extSubLine), `update router r {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"ip_address":"203.0.113.1"}]}}`, "403 PolicyNotAuthorized: update_router:external_gateway_info:external_fixed_ips is disallowed by policy: 203.0.113.1 lies outside of the allocation pools of subnet $extsub, and network $ext belongs to another project"},
		{"fixed elsewhere", base(extLine, extSubLine), `update router r {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"ip_address":"198.51.100.7"}]}}`, "400 InvalidIpForNetwork: IP address 198.51.100.7 is not a valid IP for any of the subnets on network $ext."},
		{"fixed is the broadcast", base(extLine, extSubLine), `update router r {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"subnet_id":"$extsub","ip_address":"203.0.113.255"}]}}`, "400 InvalidIpForSubnet: IP address 203.0.113.255 is not a valid IP for subnet $extsub (203.0.113.0/24); allowed are 203.0.113.1 to 203.0.113.254."},
		{"fixed in a foreign subnet", base(extLine, extSubLine), `update router r {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"subnet_id":"$sub"}]}}`, "400 InvalidInput: Invalid input for operation: fixed IPs on network $ext cannot be in subnet $sub: it is not a subnet of that network."},
		{"fixed taken", full(), `create router r2 {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"ip_address":"203.0.113.2"}]}}`, "409 IpAddressAlreadyAllocated: IP address 203.0.113.2 already allocated in subnet $extsub."},
		{"gateway like an interface", base(attachLine, extLine, `admin create subnet x {"network_id":"$ext","cidr":"10.1.0.0/16","ip_version":4}`), gwLine, "400 BadRequest: Bad router request: Cidr 10.1.0.0/16 of subnet $x overlaps with cidr 10.1.0.0/24 of subnet $sub."},
		{"gateway cleared", full(), `update router r {"external_gateway_info":null}`, "ok"},
		{"gateway cleared by {}", full(), `update router r {"external_gateway_info":{}}`, "ok"},
		{"gateway guarded", full(`forbid clear RouterInUse`), `update router r {"external_gateway_info":null}`, "409 RouterInUse: A VPN needs $r."},
		{"gateway moved, guarded", full(`forbid clear RouterInUse`, `admin create network ext2 {"router:external":true}`), `update router r {"external_gateway_info":{"network_id":"$ext2"}}`, "409 RouterInUse: A VPN needs $r."},
		{"gateway's address, guarded", full(`forbid clear RouterInUse`), `update router r {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"ip_address":"203.0.113.9"}]}}`, "ok"},
		{"delete guarded", base(`forbid clear RouterInUse`), `delete router r`, "409 RouterInUse: A VPN needs $r."},
		{"delete with an interface", full(), `delete router r`, "409 RouterInUse: Router $r still has ports: interface $r-if-a on subnet $sub must be removed first."},
		{"delete with a gateway", base(extLine, extSubLine, gwLine), `delete router r`, "ok"},
		{"distributed", nil, `admin create router r {"distributed":true}`, "400 HTTPBadRequest: Attribute 'distributed' not allowed in POST; its only value is 'false'"},
		{"route", full(), `update router r {"routes":[{"destination":"10.9.0.0/16","nexthop":"10.1.0.9"}]}`, "ok"},
		{"route to nowhere", full(), `update router r {"routes":[{"destination":"10.9.0.0/16","nexthop":"10.2.0.9"}]}`, "400 InvalidRoutes: Invalid format for routes: nexthop 10.2.0.9 of 10.9.0.0/16 is not connected with router $r."},
		{"route to itself", full(), `update router r {"routes":[{"destination":"10.9.0.0/16","nexthop":"10.1.0.1"}]}`, "400 InvalidRoutes: Invalid format for routes: nexthop 10.1.0.1 of 10.9.0.0/16 is used by router $r."},
		{"route of two families", full(), `update router r {"routes":[{"destination":"2001:db8::/32","nexthop":"10.1.0.9"}]}`, "400 HTTPBadRequest: Invalid input for routes. Reason: destination '2001:db8::/32' and nexthop '10.1.0.9' are of different IP versions."},
	})
}

func TestInterfaceRules(t *testing.T) {
	t.Parallel()
	other := `create network net2 {}`
	check(t, []rule{
		{"neither", base(), `attach a r {}`, "400 BadRequest: Bad router request: Either subnet_id or port_id must be specified."},
		{"both", base(), `attach a r {"subnet_id":"$sub","port_id":"$sub"}`, "400 BadRequest: Bad router request: Cannot specify both subnet_id and port_id."},
		{"unknown key", base(), `attach a r {"subnet":"$sub"}`, "400 HTTPBadRequest: Unexpected keys supplied: 'subnet'; allowed are subnet_id, port_id"},
		{"no uuid", base(), `attach a r {"subnet_id":"sub"}`, "400 HTTPBadRequest: Invalid input for subnet_id. Reason: 'sub' is not a valid UUID."},
		{"unknown subnet", base(), `attach a r {"subnet_id":"$net"}`, "404 SubnetNotFound: Subnet $net could not be found."},
		{"unknown router", base(), `attach a net {"subnet_id":"$sub"}`, "404 RouterNotFound: Router $net could not be found."},
		{"foreign router", base(), `bob attach a r {"subnet_id":"$sub"}`, "404 RouterNotFound: Router $r could not be found."},
		{"reader", base(), `rita attach a r {"subnet_id":"$sub"}`, "403 PolicyNotAuthorized: update_router is disallowed by policy: it needs the role member (or admin) in the project"},
		{"foreign subnet", base(`bob create router rb {}`), `bob attach a rb {"subnet_id":"$sub"}`, "404 SubnetNotFound: Subnet $sub could not be found."},
		{"gateway of a shared subnet", []string{routerLine, `admin create network n {"shared":true}`, `admin create subnet s {"network_id":"$n","cidr":"10.7.0.0/24","ip_version":4}`}, `attach a r {"subnet_id":"$s"}`, "403 PolicyNotAuthorized: add_router_interface is disallowed by policy: the gateway address of subnet $s belongs to another project; attach a port of your own by port_id"},
		{"own port on a shared subnet", []string{routerLine, `admin create network n {"shared":true}`, `admin create subnet s {"network_id":"$n","cidr":"10.7.0.0/24","ip_version":4}`, `create port p {"network_id":"$n"}`}, `attach a r {"port_id":"$p"}`, "ok"},
		{"twice", base(attachLine), `attach b r {"subnet_id":"$sub"}`, "400 BadRequest: Bad router request: Router already has a port on subnet $sub."},
		{"overlap", base(attachLine, other, `create subnet sub2 {"network_id":"$net2","cidr":"10.1.0.128/25","ip_version":4}`), `attach b r {"subnet_id":"$sub2"}`, "400 BadRequest: Bad router request: Cidr 10.1.0.128/25 of subnet $sub2 overlaps with cidr 10.1.0.0/24 of subnet $sub."},
		{"no gateway", []string{netLine, routerLine, `create subnet sub {"network_id":"$net","cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":null}`}, attachLine, "400 BadRequest: Bad router request: Subnet for router interface must have a gateway IP, and subnet $sub has none."},
		{"gateway taken", base(`create port p {"network_id":"$net","fixed_ips":[{"ip_address":"10.1.0.1"}]}`), attachLine, "409 IpAddressAlreadyAllocated: IP address 10.1.0.1 already allocated in subnet $sub."},
		{"port", base(`create port p {"network_id":"$net"}`), `attach a r {"port_id":"$p"}`, "ok"},
		{"used port", base(`create port p {"network_id":"$net","device_id":"vm"}`), `attach a r {"port_id":"$p"}`, "409 PortInUse: Unable to complete operation on port $p for network $net. Port already has an attached device 'vm' with owner ''."},
		{"port without address", base(`create port p {"network_id":"$net","fixed_ips":[]}`), `attach a r {"port_id":"$p"}`, "400 BadRequest: Bad router request: Router port must have at least one fixed IP, and port $p has none."},
		{"detach what is not", base(), `detach a r {"subnet_id":"$sub"}`, "404 RouterInterfaceNotFoundForSubnet: Router $r has no interface on subnet $sub."},
		{"detach a port that is not", base(), `detach a r {"port_id":"$sub"}`, "404 RouterInterfaceNotFound: Router $r does not have an interface with id $sub."},
		{"detach both", base(attachLine), `detach a r {"subnet_id":"$sub","port_id":"$r-if-a"}`, "ok"},
		{"detach both that differ", base(attachLine), `detach a r {"subnet_id":"$net","port_id":"$r-if-a"}`, "409 SubnetMismatchForPort: Subnet on port $r-if-a does not match the requested subnet $net."},
		{"detach neither", base(attachLine), `detach a r {}`, "400 BadRequest: Bad router request: Either subnet_id or port_id must be specified."},
		{"detach guarded", base(attachLine, `forbid detach SubnetInUseByVPNService`), `detach a r {"subnet_id":"$sub"}`, "409 SubnetInUseByVPNService: A VPN needs $r $sub."},
		{"detach under a route", base(attachLine, `update router r {"routes":[{"destination":"10.9.0.0/16","nexthop":"10.1.0.9"}]}`), `detach a r {"subnet_id":"$sub"}`, "409 RouterInterfaceInUseByRoute: Router interface for subnet $sub on router $r cannot be deleted, as it is required by the route to 10.9.0.0/16 via 10.1.0.9."},
	})
}

func TestPortRules(t *testing.T) {
	t.Parallel()
	small := []string{netLine, `create subnet sub {"network_id":"$net","cidr":"10.1.0.0/30","ip_version":4}`}
	check(t, []rule{
		{"address in use", base(`create port p {"network_id":"$net"}`), `create port q {"network_id":"$net","fixed_ips":[{"ip_address":"10.1.0.2"}]}`, "409 IpAddressAlreadyAllocated: IP address 10.1.0.2 already allocated in subnet $sub."},
		{"exhausted", append(small[:2:2], `create port p {"network_id":"$net"}`), `create port q {"network_id":"$net"}`, "409 IpAddressGenerationFailure: No more IP addresses available on network $net: the allocation pools of its IPv4 subnets are used up."},
		{"subnet exhausted", append(small[:2:2], `create port p {"network_id":"$net"}`), `create port q {"network_id":"$net","fixed_ips":[{"subnet_id":"$sub"}]}`, "409 IpAddressGenerationFailure: No more IP addresses available on network $net: the allocation pools of subnet $sub are used up."},
		{"second subnet serves", append(small[:2:2], `create port p {"network_id":"$net"}`, `create subnet sub2 {"network_id":"$net","cidr":"10.2.0.0/24","ip_version":4}`), `create port q {"network_id":"$net"}`, "ok"},
		{"neither half", base(), `create port p {"network_id":"$net","fixed_ips":[{}]}`, "400 HTTPBadRequest: Invalid input for fixed_ips. Reason: '{}' names neither 'subnet_id' nor 'ip_address'."},
		{"mac", base(), `create port p {"network_id":"$net","mac_address":"01:00:5e:00:00:01"}`, "400 HTTPBadRequest: Invalid input for mac_address. Reason: '01:00:5e:00:00:01' is not a valid MAC address (six bytes, unicast, such as fa:16:3e:00:00:01)."},
		{"mac in use", base(`create port p {"network_id":"$net","mac_address":"FA:16:3E:00:00:01"}`), `create port q {"network_id":"$net","mac_address":"fa:16:3e:00:00:01"}`, "409 MacAddressInUse: Unable to complete operation for network $net. The mac address fa:16:3e:00:00:01 is in use."},
		{"a router's owner", base(), `admin create port p {"network_id":"$net","device_owner":"network:router_gateway"}`, "400 HTTPBadRequest: Invalid input for device_owner. Reason: 'network:router_gateway' is set by add_router_interface and external_gateway_info alone."},
		{"turn into a router's", base(`create port p {"network_id":"$net"}`), `update port p {"device_owner":"network:router_interface","device_id":"$r"}`, "400 HTTPBadRequest: Invalid input for device_owner. Reason: 'network:router_interface' is set by add_router_interface and external_gateway_info alone."},
		{"security groups", base(), `create port p {"network_id":"$net","security_groups":["x"]}`, "400 HTTPBadRequest: Invalid input for security_groups. Reason: '[\"x\"]': there are no security groups here; allowed is []."},
		{"on an external network", []string{extLine, extSubLine}, `create port p {"network_id":"$ext"}`, "403 PolicyNotAuthorized: create_port is disallowed by policy: network $ext belongs to another project and is not shared"},
		{"delete a router's", base(attachLine), `delete port r-if-a`, "409 ServicePortInUse: Port $r-if-a cannot be deleted directly via the port API: has device owner network:router_interface of router $r."},
		{"move a router's", base(attachLine), `update port r-if-a {"fixed_ips":[{"ip_address":"10.1.0.9"}]}`, "409 ServicePortInUse: Port $r-if-a cannot be changed directly via the port API: has device owner network:router_interface; change router $r instead."},
		{"rename a router's", base(attachLine), `update port r-if-a {"name":"inside"}`, "ok"},
		{"tags", base(), `tag router r {"tags":["a","b"]}`, "ok"},
		{"tag with a comma", base(), `tag router r {"tags":["a,b"]}`, "400 HTTPBadRequest: Invalid input for tags. Reason: 'a,b' contains a comma."},
		{"tags of another", base(), `bob tag router r {"tags":["a"]}`, "404 RouterNotFound: Router $r could not be found."},
		{"tags by a reader", base(), `rita tag router r {"tags":["a"]}`, "403 PolicyNotAuthorized: update_routers_tags is disallowed by policy: it needs the role member (or admin) in the project"},
	})
}
