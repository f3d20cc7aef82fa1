package topology_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/crud"
	"culvert/internal/resource"
	"culvert/internal/topology"
)

func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%s: %v in %s", what, err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v in %s", what, err, want)
	}
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	head := func(id, name, project, second, rev string) string {
		at := `"2026-01-02T03:04:0` + second + `Z"`
		return `"id":"$` + id + `","project_id":"` + project + `","tenant_id":"` + project + `","name":"` + name +
			`","description":"","created_at":` + at + `,"updated_at":` + at + `,"revision_number":` + rev + `,"tags":[]`
	}
	sameJSON(t, "network", e.run(t, netLine), `{`+head("net", "net", "project-a", "5", "1")+`,
		"admin_state_up":true,"status":"ACTIVE","shared":false,"router:external":false,"provider:network_type":"local",
		"provider:physical_network":null,"provider:segmentation_id":null,"mtu":1500,"subnets":[],"availability_zones":[],
		"availability_zone_hints":[],"port_security_enabled":true,"ipv4_address_scope":null,"ipv6_address_scope":null}`)
	sub := strings.Replace(subLine, "10.1.0.0/24", "10.1.0.77/24", 1)
	sameJSON(t, "subnet", e.run(t, sub), `{`+head("sub", "", "project-a", "6", "2")+`,
		"network_id":"$net","cidr":"10.1.0.0/24","ip_version":4,"gateway_ip":"10.1.0.1","enable_dhcp":true,
		"allocation_pools":[{"start":"10.1.0.2","end":"10.1.0.254"}],"dns_nameservers":[],"host_routes":[],
		"ipv6_ra_mode":null,"ipv6_address_mode":null,"subnetpool_id":null,"service_types":[]}`)
	sameJSON(t, "router", e.run(t, routerLine), `{`+head("r", "r", "project-a", "7", "3")+`,
		"admin_state_up":true,"status":"ACTIVE","external_gateway_info":null,"routes":[],"distributed":false,"ha":false,
		"flavor_id":null,"availability_zones":[],"availability_zone_hints":[]}`)
	sameJSON(t, "interface", e.run(t, attachLine), `{"id":"$r","tenant_id":"project-a","project_id":"project-a",
		"port_id":"$r-if-a","subnet_id":"$sub","subnet_ids":["$sub"],"network_id":"$net","tags":[]}`)
	sameJSON(t, "port", e.run(t, `show port r-if-a`), `{`+head("r-if-a", "", "project-a", "8", "4")+`,
		"network_id":"$net","admin_state_up":true,"status":"ACTIVE","mac_address":"fa:16:3e:01:02:03",
		"fixed_ips":[{"subnet_id":"$sub","ip_address":"10.1.0.1"}],"device_id":"$r","device_owner":"network:router_interface",
		"security_groups":[],"allowed_address_pairs":[],"port_security_enabled":false,"binding:vnic_type":"normal"}`)
	if got := pick(t, e.run(t, `show network net`), "subnets"); got != `["$sub"]` {
		t.Errorf("the network's subnets are %s", got)
	}
	e.run(t, `detach a r {"port_id":"$r-if-a"}`, `delete subnet sub`)
	if got := pick(t, e.run(t, `show network net`), "subnets"); got != `[]` {
		t.Errorf("after the delete the network's subnets are %s", got)
	}
}

// TestDefaultPools: all hosts but the gateway, whatever the prefix.
func TestDefaultPools(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cidr, version, extra, gateway, pools string }{
		{"10.0.0.0/30", "4", "", `"10.0.0.1"`, `[{"start":"10.0.0.2","end":"10.0.0.2"}]`},
		{"10.0.0.0/31", "4", "", `"10.0.0.0"`, `[{"start":"10.0.0.1","end":"10.0.0.1"}]`},
		{"10.0.0.9/32", "4", "", `null`, `[{"start":"10.0.0.9","end":"10.0.0.9"}]`},
		{"10.0.0.0/29", "4", `,"gateway_ip":"10.0.0.3"`, `"10.0.0.3"`, `[{"start":"10.0.0.1","end":"10.0.0.2"},{"start":"10.0.0.4","end":"10.0.0.6"}]`},
		{"10.0.0.0/29", "4", `,"gateway_ip":"10.0.0.6"`, `"10.0.0.6"`, `[{"start":"10.0.0.1","end":"10.0.0.5"}]`},
		{"10.0.0.0/29", "4", `,"gateway_ip":null`, `null`, `[{"start":"10.0.0.1","end":"10.0.0.6"}]`},
		{"10.0.0.0/29", "4", `,"allocation_pools":[]`, `"10.0.0.1"`, `[]`},
		{"255.255.255.0/24", "4", "", `"255.255.255.1"`, `[{"start":"255.255.255.2","end":"255.255.255.254"}]`},
		{"2001:db8::/64", "6", "", `"2001:db8::1"`, `[{"start":"2001:db8::2","end":"2001:db8::ffff:ffff:ffff:ffff"}]`},
		{"2001:DB8:0::7/127", "6", "", `"2001:db8::6"`, `[{"start":"2001:db8::7","end":"2001:db8::7"}]`},
	} {
		t.Run(c.cidr+c.extra, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			doc := e.run(t, netLine, `create subnet s {"network_id":"$net","cidr":"`+c.cidr+`","ip_version":`+c.version+c.extra+`}`)
			if gw, pools := pick(t, doc, "gateway_ip"), pick(t, doc, "allocation_pools"); gw != c.gateway || pools != c.pools {
				t.Errorf("got gateway %s and pools %s, want %s and %s", gw, pools, c.gateway, c.pools)
			}
		})
	}
}

// TestGateway follows a router's gateway over two IP versions, a change of address and its end.
func TestGateway(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(t, base(extLine, extSubLine, `admin create subnet ext6 {"network_id":"$ext","cidr":"2001:db8:ff::/64","ip_version":6}`)...)
	want := `{"network_id":"$ext","enable_snat":true,"external_fixed_ips":[{"subnet_id":"$extsub","ip_address":"203.0.113.2"},{"subnet_id":"$ext6","ip_address":"2001:db8:ff::2"}]}`
	if got := pick(t, e.run(t, gwLine), "external_gateway_info"); got != want {
		t.Errorf("gateway\n got %s\nwant %s", got, want)
	}
	if got := pick(t, e.run(t, gwLine), "external_gateway_info"); got != want {
		t.Errorf("the same again changed it to %s", got)
	}
	moved := e.run(t, `update router r {"external_gateway_info":{"network_id":"$ext","enable_snat":false,"external_fixed_ips":[{"subnet_id":"$ext6"},{"ip_address":"203.0.113.50"}]}}`)
	want = `{"network_id":"$ext","enable_snat":false,"external_fixed_ips":[{"subnet_id":"$ext6","ip_address":"2001:db8:ff::2"},{"subnet_id":"$extsub","ip_address":"203.0.113.50"}]}`
	if got := pick(t, moved, "external_gateway_info"); got != want {
		t.Errorf("moved\n got %s\nwant %s", got, want)
	}
	e.run(t, `update router r {"external_gateway_info":null}`, `delete router r`, `admin delete network ext`)
}

func TestGuardHears(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line  string
		heard int
	}{
		{`update router r {"name":"x"}`, 0},
		{`update router r {"admin_state_up":false}`, 1},
		{`update router r {"external_gateway_info":null}`, 1},
		{`update router r {"external_gateway_info":{"network_id":"$ext","external_fixed_ips":[{"ip_address":"203.0.113.9"}]}}`, 1},
		{`detach a r {"subnet_id":"$sub"}`, 1},
		{`update network net {"mtu":1400}`, 1},
		{`update network net {"name":"x"}`, 0},
		{`admin update network ext {"provider:physical_network":"p"}`, 1},
		{`admin update subnet extsub {"gateway_ip":null}`, 1},
		{`admin update subnet extsub {"name":"x"}`, 0},
		{`update subnet sub {"dns_nameservers":["9.9.9.9"]}`, 0},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.run(t, full(`create router other {}`)...)
			e.guard.heard = nil
			e.run(t, c.line)
			var want []string
			for range c.heard {
				want = append(want, e.ids["r"])
			}
			if d := cmp.Diff(want, e.guard.heard); d != "" {
				t.Errorf("RouterChanged (-want +got):\n%s", d)
			}
		})
	}
}

func TestViews(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(t, full(`admin update network ext {"provider:physical_network":"phys","mtu":9000}`,
		`update router r {"routes":[{"destination":"10.9.0.7/16","nexthop":"10.1.0.9"}]}`)...)
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	err := e.svc.Store.View(t.Context(), func(r resource.Reader) error {
		got, err := e.top.Router(t.Context(), r, e.ids["r"])
		if err != nil {
			return err
		}
		ext := *got.External
		want := &topology.RouterView{ID: e.ids["r"], ProjectID: "project-a", Name: "r", AdminStateUp: true,
			External: &topology.LinkView{Port: ext.Port, Network: e.ids["ext"], Physical: "phys", MAC: "fa:16:3e:01:02:03", MTU: 9000,
				Addresses: []netip.Prefix{prefix("203.0.113.2/24")}, Gateways: []netip.Addr{addr("203.0.113.1")}, Subnets: []string{e.ids["extsub"]}},
			Interfaces: []topology.LinkView{{Port: e.ids["r-if-a"], Network: e.ids["net"], MAC: "fa:16:3e:04:05:06", MTU: 1500,
				Addresses: []netip.Prefix{prefix("10.1.0.1/24")}, Subnets: []string{e.ids["sub"]}}},
			Routes: []topology.RouteView{{Destination: prefix("10.9.0.0/16"), NextHop: addr("10.1.0.9")}}}
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("router (-want +got):\n%s", d)
		}
		sub, err := e.top.Subnet(t.Context(), r, e.ids["sub"])
		if err != nil {
			return err
		}
		if *sub != (topology.SubnetView{ID: e.ids["sub"], ProjectID: "project-a", Network: e.ids["net"], CIDR: prefix("10.1.0.0/24")}) {
			t.Errorf("subnet: %+v", sub)
		}
		_, err1 := e.top.Router(t.Context(), r, e.ids["sub"])
		_, err2 := e.top.Subnet(t.Context(), r, e.ids["r"])
		if !errors.Is(err1, resource.ErrNotFound) || !errors.Is(err2, resource.ErrNotFound) {
			t.Errorf("what does not exist answers %v and %v", err1, err2)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestVisibility(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(t, full(`admin create network shared {"shared":true}`,
		`admin create subnet ss {"network_id":"$shared","cidr":"10.8.0.0/24","ip_version":4}`)...)
	seen := func(kind string) string {
		b, _, err := e.svc.List(t.Context(), callers["bob"], kind, crud.List{Fields: []string{"id"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return e.plain(string(b))
	}
	for kind, want := range map[string]string{"network": `[{"id":"$ext"},{"id":"$shared"}]`, "subnet": `[{"id":"$ss"}]`, "router": `[]`, "port": `[]`} {
		if got := seen(kind); got != want {
			t.Errorf("bob sees %ss %s, want %s", kind, got, want)
		}
	}
	e.run(t, `admin update network shared {"shared":false}`)
	if got := seen("subnet"); got != `[]` {
		t.Errorf("after the network is no longer shared bob sees subnets %s", got)
	}
	e.run(t, `bob create router rb {"external_gateway_info":{"network_id":"$ext"}}`)
	if got := seen("port"); got != `[]` {
		t.Errorf("bob sees the gateway's port, which is the system's: %s", got)
	}
}

// TestAutoAddress: a machine on a SLAAC subnet is given the address that it makes itself (RFC 4291, appendix A).
func TestAutoAddress(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	doc := e.run(t, netLine, `create subnet s {"network_id":"$net","cidr":"2001:db8:1::/64","ip_version":6,"ipv6_address_mode":"slaac","ipv6_ra_mode":"slaac"}`,
		`create port p {"network_id":"$net","mac_address":"fa:16:3e:aa:bb:cc"}`)
	if got, want := pick(t, doc, "fixed_ips"), `[{"subnet_id":"$s","ip_address":"2001:db8:1:0:f816:3eff:feaa:bbcc"}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPortKeepsAddresses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(t, base(`create port p {"network_id":"$net"}`, `create port q {"network_id":"$net"}`, `delete port p`,
		`create subnet sub2 {"network_id":"$net","cidr":"10.2.0.0/24","ip_version":4}`)...)
	doc := e.run(t, `update port q {"fixed_ips":[{"subnet_id":"$sub2"},{"subnet_id":"$sub"}]}`)
	if got, want := pick(t, doc, "fixed_ips"), `[{"subnet_id":"$sub2","ip_address":"10.2.0.2"},{"subnet_id":"$sub","ip_address":"10.1.0.3"}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, err := e.do(t.Context(), `delete subnet sub2`)
	if got := e.outcome(err); got != "409 SubnetInUse: Subnet $sub2 is in use by port $q." {
		t.Error(got)
	}
	e.run(t, `update port q {"fixed_ips":[]}`, `delete subnet sub2`, `delete subnet sub`)
}

func TestTagsAndFilters(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(t, full(`tag subnet sub {"tags":["blue","big","blue"]}`, `admin tag subnet extsub {"tags":["blue"]}`)...)
	ctx, alice := t.Context(), callers["alice"]
	if err := errors.Join(e.top.AddTag(ctx, alice, "subnet", e.ids["sub"], "new"), e.top.RemoveTag(ctx, alice, "subnet", e.ids["sub"], "blue")); err != nil {
		t.Fatal(err)
	}
	if got := e.outcome(e.top.RemoveTag(ctx, alice, "subnet", e.ids["sub"], "blue")); got != "404 TagNotFound: Tag 'blue' could not be found." {
		t.Error(got)
	}
	if got := pick(t, e.run(t, `show subnet sub`), "tags"); got != `["big","new"]` {
		t.Errorf("tags are %s", got)
	}
	for _, c := range []struct{ kind, name, value, want string }{
		{"subnet", "tags", "blue", "$extsub"},
		{"subnet", "tags", "big,new", "$sub"},
		{"subnet", "tags", "big,blue", ""},
		{"port", "fixed_ips", "subnet_id=$sub", "$r-if-a"},
		{"port", "fixed_ips", "ip_address=10.1.0.1", "$r-if-a"},
		{"port", "fixed_ips", "ip_address=10.1.0.2", ""},
		{"port", "fixed_ips", "mac=x", "400 HTTPBadRequest: Invalid input for fixed_ips. Reason: 'mac=x' is not a filter; allowed are subnet_id=… and ip_address=…."},
		{"port", "name", "x", "not ours"},
		{"ikepolicy", "tags", "x", "not ours"},
	} {
		err := e.svc.Store.View(ctx, func(r resource.Reader) error {
			f, ok, err := e.top.Filters(ctx, r, c.kind, c.name, []string{e.named(c.value)})
			got := e.plain(strings.Join(f.Values, " "))
			if err != nil {
				got = e.outcome(err)
			} else if !ok {
				got = "not ours"
			}
			if got != c.want {
				t.Errorf("%s %s=%s: got %s, want %s", c.kind, c.name, c.value, got, c.want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
