package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/gateway"
	"culvert/internal/lab"
)

// The addresses of a site. Each test has links of its own, so they are the same in all.
const (
	outerCIDR = "198.51.100.0/24"
	nextHop   = "198.51.100.40" // the first branch's address
	hqCIDR    = "10.10.0.0/24"
	hqHost    = "10.10.0.10"
)

// site is a head office on a server: a router between a provider's network and an inner one, a VPN service on it, and
// a machine on the inner network.
type site struct {
	*server
	wan, lan, subnet, router, service, external string
	hq                                          *lab.Host
}

// newSite starts a server and lays a site on it.
func newSite(t *testing.T, args ...string) *site {
	t.Helper()
	s := &site{server: newServer(t, args...)}
	s.layNetworks(nil, nil)
	s.layRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.wan}})
	s.layService()
	s.awaitService("ACTIVE", "")
	s.startHQ(bridgeOf(s.lan))
	return s
}

// layNetworks makes the networks with their subnets; physical networks may be given.
func (s *site) layNetworks(wan, lan client.Object) {
	s.t.Helper()
	s.wan = s.make("networks", "network", with(client.Object{"name": "wan", "router:external": true}, wan))
	s.make("subnets", "subnet", client.Object{"name": "wan", "network_id": s.wan, "cidr": outerCIDR, "ip_version": 4, "gateway_ip": nextHop,
		"enable_dhcp": false, "allocation_pools": []client.Object{{"start": "198.51.100.2", "end": "198.51.100.30"}}})
	s.lan = s.make("networks", "network", with(client.Object{"name": "lan"}, lan))
	s.subnet = s.make("subnets", "subnet", client.Object{"name": "lan", "network_id": s.lan, "cidr": hqCIDR, "ip_version": 4})
}

func (s *site) layRouter(attributes client.Object) {
	s.t.Helper()
	s.router = s.make("routers", "router", with(client.Object{"name": "hq"}, attributes))
	s.call("PUT", "/v2.0/routers/"+s.router+"/add_router_interface", client.Object{"subnet_id": s.subnet})
}

func (s *site) layService() {
	s.t.Helper()
	v := s.create("vpn/vpnservices", "vpnservice", client.Object{"name": "hq", "router_id": s.router})
	s.service = v["id"].(string)
	s.external, _ = v["external_v4_ip"].(string)
}

func (s *site) startHQ(bridge string) {
	s.t.Helper()
	hq, err := lab.StartHost(s.t.Context(), lab.HostConfig{Name: "hq" + tag(s.t), Bridge: bridge,
		Address: []netip.Prefix{netip.MustParsePrefix(hqHost + "/24")}, Gateway: []netip.Addr{addr("10.10.0.1")}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.hq = hq
	s.t.Cleanup(func() {
		if err := hq.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

// make creates a resource and answers its id.
func (s *site) make(collection, key string, attributes client.Object) string {
	s.t.Helper()
	return s.create(collection, key, attributes)["id"].(string)
}

// with are attributes, some of them changed.
func with(o, changes client.Object) client.Object {
	o = maps.Clone(o)
	maps.Copy(o, changes)
	return o
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// namespace is the router's.
func (s *site) namespace() string { return gateway.NamespaceName(s.router) }

// charonLog is the log of the router's charon.
func (s *site) charonLog() string {
	s.t.Helper()
	text, err := os.ReadFile(s.routerFile("charon.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// routerFile is a file of the router's below the run folder.
func (s *site) routerFile(name string) string {
	s.t.Helper()
	dirs := glob(s.t, "/run/culvert/*/"+s.router)
	if len(dirs) != 1 {
		s.t.Fatalf("router %s has the folders %v, want one", s.router, dirs)
	}
	return filepath.Join(dirs[0], name)
}

// tunnel is a connection and the branch at its other end.
type tunnel struct {
	s                                   *site
	id, ike, ipsec, local, peer, remote string // remote is the branch's address within its network
	branch                              *lab.Branch
}

// office is what a branch has written into its swanctl.conf.
type office struct {
	n              int // of the branch: its address is 198.51.100.(40+n), its networks are 192.168.(40+n).0/24 and 172.16.(40+n).0/24
	psk            string
	proposals, esp string
	networks       string
	children       string // of a second CHILD_SA; "" is none
	version        int    // of IKE
	bridge         string // "" is that of the network
}

func newOffice(n int) office {
	return office{n: n, psk: psk, proposals: "aes256-sha256-modp2048", esp: "aes256-sha256-modp2048", networks: network(n), version: 2}
}

const psk = "e2e-kT7-wq2Lz9"

func (o office) address() string { return fmt.Sprintf("198.51.100.%d", 40+o.n) }
func network(n int) string       { return fmt.Sprintf("192.168.%d.0/24", 40+n) }
func secondNetwork(n int) string { return fmt.Sprintf("172.16.%d.0/24", 40+n) }
func firstOf(cidr string) string { return netip.MustParsePrefix(cidr).Addr().Next().String() }

// conf is the branch's hand-written swanctl.conf.
func (o office) conf(peer string) string {
	second := ""
	if o.children != "" {
		second = fmt.Sprintf(secondChild, o.children, hqCIDR, o.esp)
	}
	return fmt.Sprintf(`connections {
  hq {
    version = %[8]d
    local_addrs = %[1]s
    remote_addrs = %[2]s
    proposals = %[3]s
    local {
      auth = psk
      id = %[1]s
    }
    remote {
      auth = psk
      id = %[2]s
    }
    children {
      nets {
        local_ts = %[4]s
        remote_ts = %[5]s
        esp_proposals = %[6]s
      }%[9]s
    }
  }
}
secrets {
  ike-hq {
    id-1 = %[1]s
    id-2 = %[2]s
    secret = "%[7]s"
  }
}
`, o.address(), peer, o.proposals, o.networks, hqCIDR, o.esp, o.psk, o.version, second)
}

const secondChild = `
      more {
        local_ts = %s
        remote_ts = %s
        esp_proposals = %s
      }`

// startBranch starts a branch office and shows its side after a failure.
func (s *site) startBranch(o office) *lab.Branch {
	s.t.Helper()
	if o.bridge == "" {
		o.bridge = bridgeOf(s.wan)
	}
	b, err := lab.StartBranch(s.t.Context(), lab.Config{Name: fmt.Sprintf("b%d%s", o.n, tag(s.t)), Bridge: o.bridge,
		Address: []netip.Prefix{netip.PrefixFrom(addr(o.address()), 24)}, LAN: []netip.Addr{addr(firstOf(network(o.n))), addr(firstOf(secondNetwork(o.n)))},
		RunDir: "/run/e2e/" + tag(s.t), Swanctl: o.conf(s.external)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			log, _ := b.Log()                               // the failure is what counts
			sas, _ := b.ListSAs(context.Background())       // likewise
			out, _ := os.ReadFile(s.anyCharonLog(s.router)) // likewise
			s.t.Logf("branch %d lists the SAs:\n%s\nits log ends:\n%s\nthe router's charon:\n%s", o.n, sas, tail(log, 40), tail(string(out), 60))
		}
		if err := b.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return b
}

func (s *site) anyCharonLog(router string) string {
	for _, path := range glob(s.t, "/run/culvert/*/"+router+"/charon.log") {
		return path
	}
	return ""
}

// newTunnel starts a branch and makes the connection to it, with changes to its attributes.
func (s *site) newTunnel(o office, changes client.Object) *tunnel {
	s.t.Helper()
	c := &tunnel{s: s, branch: s.startBranch(o), remote: firstOf(network(o.n))}
	c.connect(o, changes)
	return c
}

// connect makes policies, groups and the connection.
func (c *tunnel) connect(o office, changes client.Object) {
	s := c.s
	s.t.Helper()
	name := fmt.Sprintf("branch %d", o.n)
	c.ike = s.make("vpn/ikepolicies", "ikepolicy", client.Object{"name": name})
	c.ipsec = s.make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{"name": name})
	c.local = s.make("vpn/endpoint-groups", "endpoint_group", client.Object{"name": "hq", "type": "subnet", "endpoints": []string{s.subnet}})
	c.peer = s.make("vpn/endpoint-groups", "endpoint_group", client.Object{"name": name, "type": "cidr", "endpoints": []string{network(o.n)}})
	c.id = s.make("vpn/ipsec-site-connections", "ipsec_site_connection", with(client.Object{"name": name, "vpnservice_id": s.service,
		"peer_address": o.address(), "peer_id": o.address(), "psk": psk, "ikepolicy_id": c.ike, "ipsecpolicy_id": c.ipsec,
		"local_ep_group_id": c.local, "peer_ep_group_id": c.peer, "dpd": client.Object{"action": "restart", "interval": 1, "timeout": 5}}, changes))
}

func (c *tunnel) path() string { return "/v2.0/vpn/ipsec-site-connections/" + c.id }

// put changes the connection.
func (c *tunnel) put(changes client.Object) {
	c.s.t.Helper()
	c.s.call("PUT", c.path(), client.Object{"ipsec_site_connection": changes})
}

// awaitActive waits until the connection is ACTIVE, which has no reason.
func (c *tunnel) awaitActive() client.Object {
	c.s.t.Helper()
	o := c.s.await(c.path(), "ipsec_site_connection", 20*time.Second, "ACTIVE")
	if o["status_reason"] != nil {
		c.s.t.Errorf("connection %s is ACTIVE with the reason %v", c.id, o["status_reason"])
	}
	return o
}

// awaitDown waits until the connection is DOWN for a reason with one of these codes, and answers the reason.
func (c *tunnel) awaitDown(codes ...string) client.Object {
	c.s.t.Helper()
	return c.s.await(c.path(), "ipsec_site_connection", 25*time.Second, "DOWN", codes...)["status_reason"].(client.Object)
}

func (s *site) awaitService(status, code string) client.Object {
	s.t.Helper()
	codes := []string{}
	if code != "" {
		codes = append(codes, code)
	}
	return s.await("/v2.0/vpn/vpnservices/"+s.service, "vpnservice", 20*time.Second, status, codes...)
}

// await polls an item until it has a status and, where codes are given, a reason with one of them.
func (s *server) await(path, key string, within time.Duration, status string, codes ...string) client.Object {
	s.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		o, _ := s.call("GET", path, nil)[key].(client.Object)
		why, _ := o["status_reason"].(client.Object)
		code, _ := why["code"].(string)
		if o["status"] == status && (len(codes) == 0 || slices.Contains(codes, code)) {
			return o
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not %s %s within %s; it is %v: %v", path, status, strings.Join(codes, " or "), within, o["status"], why)
		}
	}
}

var spi = regexp.MustCompile(`(?m)^\s+(in|out)\s+([0-9a-f]{8})`)

// spis are those of the installed CHILD_SAs as the branch lists them.
func (c *tunnel) spis() []string {
	c.s.t.Helper()
	text, err := c.branch.ListSAs(c.s.t.Context())
	if err != nil {
		c.s.t.Fatal(err)
	}
	var out []string
	for _, m := range spi.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1]+" "+m[2])
	}
	return out
}

// keepsSPIs fails if the SAs are others than they were.
func (c *tunnel) keepsSPIs(what string, before []string) {
	c.s.t.Helper()
	if now := c.spis(); len(now) == 0 || !slices.Equal(now, before) {
		c.s.t.Errorf("%s: the branch has the SPIs %v, before %v", what, now, before)
	}
}

// awaitNoSAs waits until the branch has none.
func (c *tunnel) awaitNoSAs(within time.Duration) {
	c.s.t.Helper()
	for deadline := time.Now().Add(within); len(c.spis()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.s.t.Fatalf("the branch still has the SPIs %v after %s", c.spis(), within)
		}
	}
}

// bridgeOf is the host bridge of a network that is mapped to no physical one.
func bridgeOf(network string) string { return gateway.BridgeName(network) }

// listed is JSON as text, for a search.
func listed(v any) string { return fmt.Sprint(v) }
