//go:build openstack

package openstack

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
)

// shell runs a program, which must succeed.
func shell(t *testing.T, line string, a ...any) string {
	t.Helper()
	line = fmt.Sprintf(line, a...)
	args := strings.Fields(line)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// l3 makes of the router on this machine what Neutron's L3 agent would: the namespace with an interface for each port, wired
// to a bridge that stands for the port's network, with the addresses that Neutron gave; forwarding, and the SNAT of what
// leaves by the gateway. It answers the namespace.
func (s *site) l3(t *testing.T) string {
	t.Helper()
	ns, outer, inner := "qrouter-"+s.routerID, s.outer(), s.inner()
	ends := []string{}
	t.Cleanup(func() {
		for _, l := range ends {
			if out, err := exec.Command("ip", "link", "del", l).CombinedOutput(); err != nil {
				t.Errorf("ip link del %s: %v %s", l, err, out)
			}
		}
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			t.Errorf("ip netns del %s: %v %s", ns, err, out)
		}
	})
	shell(t, "ip netns add %s", ns)
	shell(t, "ip -n %s link set lo up", ns)
	gateway := ""
	for _, p := range list(t, s.admin, "/v2.0/ports?device_id="+s.routerID, "ports") {
		id, bridge, kind := p["id"].(string)[:11], inner, "qr-"
		if p["device_owner"] == "network:router_gateway" {
			bridge, kind, gateway = outer, "qg-", "qg-"+id
		}
		ends = append(ends, "ce-"+id)
		shell(t, "ip link add ce-%s type veth peer name %s%s address %s netns %s", id, kind, id, p["mac_address"], ns)
		shell(t, "ip link set ce-%s master %s up", id, bridge)
		shell(t, "ip -n %s link set %s%s up", ns, kind, id)
		shell(t, "ip -n %s addr add %s/24 dev %s%s", ns, p["fixed_ips"].([]any)[0].(object)["ip_address"], kind, id)
	}
	shell(t, "ip -n %s route add default via 192.0.2.254", ns)
	shell(t, "ip netns exec %s sysctl -q -w net.ipv4.ip_forward=1", ns)
	shell(t, "ip netns exec %s nft add table ip l3", ns)
	shell(t, "ip netns exec %s nft add chain ip l3 leaving { type nat hook postrouting priority srcnat ; }", ns)
	shell(t, "ip netns exec %s nft add rule ip l3 leaving oifname %s masquerade", ns, gateway)
	return ns
}

// outer and inner are the bridges that stand for the router's networks; lab makes them, and removes
// them with the last host.
func (s *site) outer() string { return "cosw" + s.routerID[:8] }
func (s *site) inner() string { return "cosl" + s.routerID[:8] }

// A tunnel in the cloud's own router: the connection is ACTIVE, packets pass both ways, and when the VPN goes, the
// namespace is what it was.
func TestTunnelInTheCloudsNamespace(t *testing.T) {
	s := newSite(t, "local", "--dataplane", "userland")
	service := made(t, s.member, "/v2.0/vpn/vpnservices", "vpnservice", object{"router_id": s.routerID})
	info := object{"network_id": s.external, "external_fixed_ips": []object{{"subnet_id": s.externalSubnet, "ip_address": "192.0.2.1"}}}
	want(t, s.admin, "PUT", s.router(""), object{"router": object{"external_gateway_info": info}}, 200)

	// No agent has made the router here yet: that is said, and mended as soon as it is there.
	serviceIs := func(what string, ok func(object) bool) {
		t.Helper()
		eventually(t, what, 45*time.Second, func() bool { return ok(s.service(t, service)) })
	}
	serviceIs("the service misses its namespace", func(v object) bool {
		why, _ := v["status_reason"].(object)
		said, _ := why["summary"].(string)
		return v["status"] == "ERROR" && strings.Contains(said, "qrouter-"+s.routerID)
	})
	branch := s.branch(t, s.outer())
	host, err := lab.StartHost(t.Context(), lab.HostConfig{Name: "h-" + s.routerID[:8], Bridge: s.inner(), Address: []netip.Prefix{netip.MustParsePrefix("10.1.0.10/24")},
		Gateway: []netip.Addr{netip.MustParseAddr("10.1.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, host.Close) })
	ns := s.l3(t)
	seen := func() string {
		return shell(t, "ip -n %s -4 -br addr", ns) + shell(t, "ip -n %s route", ns) + shell(t, "ip netns exec %s nft list ruleset", ns)
	}
	serviceIs("the service is ACTIVE", func(v object) bool { return v["status"] == "ACTIVE" })
	group := made(t, s.member, "/v2.0/vpn/endpoint-groups", "endpoint_group", object{"type": "subnet", "endpoints": []string{s.subnet}})
	connection := s.connection(t, service, group, object{})
	t.Cleanup(func() {
		if t.Failed() {
			_, said, _ := s.member.Do(context.WithoutCancel(t.Context()), "GET", connection, nil)
			log, _ := branch.Log()
			t.Logf("the namespace: %s %s", seen(), shell(t, "ip -n %s -s neigh", ns))
			t.Logf("the connection: %s\nthe branch's charon:\n%s", said, log)
		}
	})
	eventually(t, "the connection is ACTIVE", 30*time.Second, func() bool {
		return want(t, s.member, "GET", connection, nil, 200)["ipsec_site_connection"].(object)["status"] == "ACTIVE"
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	here, there := netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr("10.2.0.1")
	for _, p := range []struct {
		from     *lab.Host
		src, dst netip.Addr
	}{{host, here, there}, {branch.Host, there, here}} {
		if got, err := p.from.Ping(ctx, p.src, p.dst, 3, 20*time.Millisecond); err != nil || got.Received != 3 {
			t.Errorf("ping %s from %s: %+v, %v", p.dst, p.src, got, err)
		}
	}
	if links := shell(t, "ip -br link"); strings.Contains(links, "culvert") || strings.Contains(links, "cb-"+s.network[:11]) {
		t.Errorf("links of ours on the host: %s", links)
	}

	want(t, s.member, "DELETE", connection, nil, 204)
	want(t, s.member, "DELETE", "/v2.0/vpn/vpnservices/"+service, nil, 204)
	eventually(t, "the namespace is as it was", 20*time.Second, func() bool {
		text := seen()
		return !strings.Contains(text, "culvert") && !strings.Contains(text, "ipsec0") && strings.Contains(text, "masquerade")
	})
}

func closed(t *testing.T, end func() error) {
	if err := end(); err != nil {
		t.Error(err)
	}
}

// branch is the other side, which nobody here manages.
func (s *site) branch(t *testing.T, bridge string) *lab.Branch {
	t.Helper()
	swanctl := fmt.Sprintf(`connections {
  hq {
    version = 2
    local_addrs = 192.0.2.2
    remote_addrs = 192.0.2.1
    proposals = aes256-sha256-ecp256
    local {
      auth = psk
    }
    remote {
      auth = psk
    }
    children {
      net {
        local_ts = 10.2.0.0/24
        remote_ts = 10.1.0.0/24
        esp_proposals = aes256-sha256-ecp256
      }
    }
  }
}
secrets {
  ike-hq {
    secret = "%s"
  }
}
`, psk)
	b, err := lab.StartBranch(t.Context(), lab.Config{Name: "b-" + s.routerID[:8], Bridge: bridge, Address: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")},
		LAN: []netip.Addr{netip.MustParseAddr("10.2.0.1")}, RunDir: s.dir, Swanctl: swanctl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, b.Close) })
	return b
}
