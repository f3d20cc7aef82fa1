package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/sitetest"
)

// The addresses of a dual site, beside those of sitetest.
const (
	wan6   = "2001:db8:0:1::"
	lan6   = "2001:db8:0:10::"
	hq6    = lan6 + "10"
	farPSK = "attr-kT7-wq2Lz9"
)

// dual is a head office with IPv4 and IPv6, outside and inside.
type dual struct {
	*sitetest.Site
	t          *testing.T
	subnet6    string
	v4, v6     netip.Addr // the router's outer addresses
	ike, ipsec string     // policies: aes-256, sha256, group19
}

func newDual(t *testing.T, args ...string) *dual {
	t.Helper()
	return layDual(t, sitetest.NewServer(t, append([]string{"--weak-crypto", "allow"}, args...)...))
}

func layDual(t *testing.T, server *sitetest.Server) *dual {
	t.Helper()
	d := &dual{t: t, Site: &sitetest.Site{Server: server}}
	d.LayNetworks(nil, nil)
	d.Make("subnets", "subnet", client.Object{"network_id": d.WAN, "cidr": wan6 + "/64", "ip_version": 6, "gateway_ip": wan6 + "ff", "enable_dhcp": false,
		"allocation_pools": []client.Object{{"start": wan6 + "2", "end": wan6 + "1f"}}})
	d.subnet6 = d.Make("subnets", "subnet", client.Object{"network_id": d.LAN, "cidr": lan6 + "/64", "ip_version": 6})
	d.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": d.WAN}})
	d.Call("PUT", "/v2.0/routers/"+d.Router+"/add_router_interface", client.Object{"subnet_id": d.subnet6})
	d.LayService()
	service := d.AwaitService("ACTIVE", "")
	d.v4 = netip.MustParseAddr(service["external_v4_ip"].(string))
	d.v6 = netip.MustParseAddr(service["external_v6_ip"].(string))
	hq, err := lab.StartHost(t.Context(), lab.HostConfig{Name: "hq" + sitetest.Tag(t), Bridge: sitetest.BridgeOf(d.LAN),
		Address: []netip.Prefix{netip.MustParsePrefix(sitetest.HQHost + "/24"), netip.MustParsePrefix(hq6 + "/64")},
		Gateway: []netip.Addr{netip.MustParseAddr("10.10.0.1"), netip.MustParseAddr(lan6 + "1")}})
	if err != nil {
		t.Fatal(err)
	}
	d.HQ = hq
	t.Cleanup(func() {
		if err := hq.Close(); err != nil {
			t.Error(err)
		}
	})
	d.ike = d.Make("vpn/ikepolicies", "ikepolicy", client.Object{"encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group19", "ike_version": "v2"})
	d.ipsec = d.Make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{"encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group19"})
	return d
}

// far is one connection as the peer has it in its swanctl.conf. Empty fields have defaults.
type far struct {
	name          string // default far
	local, remote string // outer addresses, the peer's first
	id, hqID      string // identities, in swanctl's words; default the addresses
	version       int    // default 2
	aggressive    bool
	ike, esp      string // default aes256-sha256-ecp256
	nets, hqNets  string // default the network of local, and sitetest.HQNet
	children      string // in place of the one child; default none
}

func (f far) filled() far {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&f.name, "far")
	def(&f.id, f.local)
	def(&f.hqID, f.remote)
	def(&f.ike, "aes256-sha256-ecp256")
	def(&f.esp, "aes256-sha256-ecp256")
	def(&f.nets, sitetest.Network(0))
	def(&f.hqNets, sitetest.HQNet)
	def(&f.children, fmt.Sprintf("%s-net {\n local_ts = %s\n remote_ts = %s\n esp_proposals = %s\n }", f.name, f.nets, f.hqNets, f.esp))
	if f.version == 0 {
		f.version = 2
	}
	return f
}

// swanctl is the whole swanctl.conf of a peer.
func swanctl(all ...far) string {
	var conns, secrets strings.Builder
	for _, f := range all {
		f = f.filled()
		aggressive := map[bool]string{true: "yes", false: "no"}[f.aggressive]
		fmt.Fprintf(&conns, "%s {\n version = %d\n aggressive = %s\n local_addrs = %s\n remote_addrs = %s\n proposals = %s\n local {\n auth = psk\n id = %s\n }\n"+
			" remote {\n auth = psk\n id = %s\n }\n children {\n %s\n }\n}\n", f.name, f.version, aggressive, f.local, f.remote, f.ike, f.id, f.hqID, f.children)
		fmt.Fprintf(&secrets, "ike-%s {\n id-1 = %s\n id-2 = %s\n secret = \"%s\"\n}\n", f.name, f.id, f.hqID, farPSK)
	}
	return "connections {\n" + conns.String() + "}\nsecrets {\n" + secrets.String() + "}\n"
}

// peer starts the n-th peer, at 198.51.100.(40+n) and 2001:db8:0:1::(40+n), with the first addresses of these networks.
func (d *dual) peer(n int, conf string, networks ...string) *lab.Branch {
	d.t.Helper()
	var lan []netip.Addr
	for _, network := range networks {
		lan = append(lan, netip.MustParseAddr(sitetest.FirstOf(network)))
	}
	b, err := lab.StartBranch(d.t.Context(), lab.Config{Name: fmt.Sprintf("b%d%s", n, sitetest.Tag(d.t)), Bridge: sitetest.BridgeOf(d.WAN),
		Address: []netip.Prefix{netip.MustParsePrefix(outer4(n) + "/24"), netip.MustParsePrefix(outer6(n) + "/64")},
		LAN:     lan, RunDir: "/run/dp/" + sitetest.Tag(d.t), Swanctl: conf})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if d.t.Failed() {
			log, _ := b.Log()                         // the failure is what counts
			sas, _ := b.ListSAs(context.Background()) // likewise
			d.t.Logf("peer %d lists:\n%s\nits log ends:\n%s", n, sas, sitetest.Tail(log, 50))
		}
		if err := b.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return b
}

func outer4(n int) string { return fmt.Sprintf("198.51.100.%d", 40+n) }
func outer6(n int) string { return fmt.Sprintf("%s%d", wan6, 40+n) }

// connect makes a connection to a peer, by default with its addresses as identities, from the head office's IPv4 network.
func (d *dual) connect(peerAddress string, networks []string, changes client.Object) *sitetest.Tunnel {
	d.t.Helper()
	subnet := d.Subnet
	if netip.MustParsePrefix(networks[0]).Addr().Is6() {
		subnet = d.subnet6
	}
	c := &sitetest.Tunnel{Site: d.Site, Remote: sitetest.FirstOf(networks[0]), IKEPolicy: d.ike, IPsecPolicy: d.ipsec}
	c.LocalGroup = d.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "subnet", "endpoints": []string{subnet}})
	c.PeerGroup = d.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "cidr", "endpoints": networks})
	c.ID = d.Make("vpn/ipsec-site-connections", "ipsec_site_connection", sitetest.With(client.Object{"vpnservice_id": d.Service,
		"peer_address": peerAddress, "peer_id": peerAddress, "psk": farPSK, "ikepolicy_id": d.ike, "ipsecpolicy_id": d.ipsec,
		"local_ep_group_id": c.LocalGroup, "peer_ep_group_id": c.PeerGroup, "dpd": client.Object{"action": "restart", "interval": 60, "timeout": 120}}, changes))
	return c
}

// pings sends some from the head office to an address behind a peer, and answers how many came back.
func (d *dual) pings(to string, count int) int {
	d.t.Helper()
	from := sitetest.HQHost
	if netip.MustParseAddr(to).Is6() {
		from = hq6
	}
	got, err := d.HQ.Ping(d.t.Context(), netip.MustParseAddr(from), netip.MustParseAddr(to), count, 10*time.Millisecond)
	if err != nil {
		d.t.Fatal(err)
	}
	return got.Received
}

// passes fails where a ping from the head office is lost.
func (d *dual) passes(to string) {
	d.t.Helper()
	if got := d.pings(to, 5); got != 5 {
		d.t.Errorf("%d of 5 pings to %s were answered", got, to)
	}
}

// answers waits for the first ping to come back: where a peer still has SAs that ours took the place of, it may use them for a
// moment.
func (d *dual) answers(to string) {
	d.t.Helper()
	sitetest.Poll(d.t, 5*time.Second, to+" answers", func() bool { return d.pings(to, 1) == 1 })
}

// quiet waits for a time in which something is not to happen.
func quiet(seconds int) time.Time {
	start := time.Now()
	time.Sleep(time.Duration(seconds) * time.Second) // the absence is what is measured
	return start
}

// status of a connection now.
func (d *dual) status(c *sitetest.Tunnel) (status, code string) {
	d.t.Helper()
	o := d.Call("GET", c.Path(), nil)["ipsec_site_connection"].(client.Object)
	why, _ := o["status_reason"].(client.Object)
	code, _ = why["code"].(string)
	return o["status"].(string), code
}
