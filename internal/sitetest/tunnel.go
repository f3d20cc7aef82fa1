package sitetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/testbox"
)

// Tunnel is a connection and the branch at its other end.
type Tunnel struct {
	Site                                                      *Site
	ID, IKEPolicy, IPsecPolicy, LocalGroup, PeerGroup, Remote string // remote is the branch's address within its network
	Branch                                                    *lab.Branch
}

// Office is what a branch has written into its swanctl.conf.
type Office struct {
	N              int // of the branch: its address is 198.51.100.(40+n), its networks are 192.168.(40+n).0/24 and 172.16.(40+n).0/24
	PSK            string
	Proposals, ESP string
	Networks       string
	Children       string // of a second CHILD_SA; "" is none
	Version        int    // of IKE
	Bridge         string // "" is that of the network
}

func NewOffice(n int) Office {
	return Office{N: n, PSK: PSK, Proposals: "aes256-sha256-modp2048", ESP: "aes256-sha256-modp2048", Networks: Network(n), Version: 2}
}

const PSK = "e2e-kT7-wq2Lz9"

func (o Office) Address() string { return fmt.Sprintf("198.51.100.%d", 40+o.N) }
func Network(n int) string       { return fmt.Sprintf("192.168.%d.0/24", 40+n) }
func SecondNetwork(n int) string { return fmt.Sprintf("172.16.%d.0/24", 40+n) }
func FirstOf(cidr string) string { return netip.MustParsePrefix(cidr).Addr().Next().String() }

// Conf is the branch's hand-written swanctl.conf.
func (o Office) Conf(peer string) string {
	return lab.Peer{Version: o.Version, Local: o.Address(), Remote: peer, PSK: o.PSK, IKE: o.Proposals, ESP: o.ESP,
		Networks: o.Networks, Second: o.Children, Peers: HQNet}.Conf()
}

// StartBranch starts a branch office and shows its side after a failure.
func (s *Site) StartBranch(o Office) *lab.Branch {
	s.T.Helper()
	if o.Bridge == "" {
		o.Bridge = BridgeOf(s.WAN)
	}
	b, err := lab.StartBranch(s.T.Context(), lab.Config{Kernel: testbox.KernelESP(), Name: fmt.Sprintf("b%d%s", o.N, Tag(s.T)), Bridge: o.Bridge,
		Address: []netip.Prefix{netip.PrefixFrom(Addr(o.Address()), 24)}, LAN: []netip.Addr{Addr(FirstOf(Network(o.N))), Addr(FirstOf(SecondNetwork(o.N)))},
		RunDir: "/run/e2e/" + Tag(s.T), Swanctl: o.Conf(s.External)})
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() {
		if s.T.Failed() {
			log, _ := b.Log()                               // the failure is what counts
			sas, _ := b.ListSAs(context.Background())       // likewise
			out, _ := os.ReadFile(s.AnyCharonLog(s.Router)) // likewise
			s.T.Logf("branch %d lists the SAs:\n%s\nits log ends:\n%s\nthe router's charon:\n%s", o.N, sas, Tail(log, 40), Tail(string(out), 60))
		}
		if err := b.Close(); err != nil {
			s.T.Error(err)
		}
	})
	return b
}

func (s *Site) AnyCharonLog(router string) string {
	for _, path := range Glob(s.T, "/run/culvert/*/"+router+"/charon.log") {
		return path
	}
	return ""
}

// NewTunnel starts a branch and makes the connection to it, with changes to its attributes.
func (s *Site) NewTunnel(o Office, changes client.Object) *Tunnel {
	s.T.Helper()
	c := &Tunnel{Site: s, Branch: s.StartBranch(o), Remote: FirstOf(Network(o.N))}
	c.Connect(o, changes)
	return c
}

// Connect makes policies, groups and the connection.
func (c *Tunnel) Connect(o Office, changes client.Object) {
	s := c.Site
	s.T.Helper()
	name := fmt.Sprintf("branch %d", o.N)
	c.IKEPolicy = s.Make("vpn/ikepolicies", "ikepolicy", client.Object{"name": name})
	c.IPsecPolicy = s.Make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{"name": name})
	c.LocalGroup = s.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"name": "hq", "type": "subnet", "endpoints": []string{s.Subnet}})
	c.PeerGroup = s.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"name": name, "type": "cidr", "endpoints": []string{Network(o.N)}})
	c.ID = s.Make("vpn/ipsec-site-connections", "ipsec_site_connection", With(client.Object{"name": name, "vpnservice_id": s.Service,
		"peer_address": o.Address(), "peer_id": o.Address(), "psk": PSK, "ikepolicy_id": c.IKEPolicy, "ipsecpolicy_id": c.IPsecPolicy,
		"local_ep_group_id": c.LocalGroup, "peer_ep_group_id": c.PeerGroup, "dpd": client.Object{"action": "restart", "interval": 1, "timeout": 5}}, changes))
}

func (c *Tunnel) Path() string { return "/v2.0/vpn/ipsec-site-connections/" + c.ID }

// Put changes the connection.
func (c *Tunnel) Put(changes client.Object) {
	c.Site.T.Helper()
	c.Site.Call("PUT", c.Path(), client.Object{"ipsec_site_connection": changes})
}

// AwaitActive waits until the connection is ACTIVE, which has no reason.
func (c *Tunnel) AwaitActive() client.Object {
	c.Site.T.Helper()
	o := c.Site.Await(c.Path(), "ipsec_site_connection", 20*time.Second, "ACTIVE")
	if o["status_reason"] != nil {
		c.Site.T.Errorf("connection %s is ACTIVE with the reason %v", c.ID, o["status_reason"])
	}
	return o
}

// AwaitDown waits until the connection is DOWN for a reason with one of these codes, and answers the reason.
func (c *Tunnel) AwaitDown(codes ...string) client.Object {
	c.Site.T.Helper()
	return c.Site.Await(c.Path(), "ipsec_site_connection", 25*time.Second, "DOWN", codes...)["status_reason"].(client.Object)
}

var spi = regexp.MustCompile(`(?m)^\s+(in|out)\s+([0-9a-f]{8})`)

// SPIs are those of the installed CHILD_SAs as the branch lists them.
func (c *Tunnel) SPIs() []string {
	c.Site.T.Helper()
	text, err := c.Branch.ListSAs(c.Site.T.Context())
	if err != nil {
		c.Site.T.Fatal(err)
	}
	var out []string
	for _, m := range spi.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1]+" "+m[2])
	}
	return out
}

// Proven tells that the gateway has rekeyed the connection under its present agreement, which it does once, a moment after it
// came up, to see whether the peer has the same PFS group.
func (c *Tunnel) Proven() bool {
	c.Site.T.Helper()
	text, err := os.ReadFile(c.Site.RouterFile("loaded.json"))
	var l struct{ Proven map[string]string }
	return err == nil && json.Unmarshal(text, &l) == nil && l.Proven[c.ID] != "" && strings.Contains(c.Site.CharonConns(), l.Proven[c.ID])
}

// Settle waits until the connection, which the gateway initiated, is Proven, and answers its SPIs, which then stay for as long
// as their lifetime.
func (c *Tunnel) Settle() (spis []string) {
	c.Site.T.Helper()
	Poll(c.Site.T, 15*time.Second, "the connection is rekeyed once, under its present agreement", func() bool {
		if !c.Proven() {
			return false
		}
		spis = c.SPIs()
		return len(spis) == 2 // in and out
	})
	return spis
}

// KeepsSPIs fails if the SAs are others than they were.
func (c *Tunnel) KeepsSPIs(what string, before []string) {
	c.Site.T.Helper()
	if now := c.SPIs(); len(now) == 0 || !slices.Equal(now, before) {
		c.Site.T.Errorf("%s: the branch has the SPIs %v, before %v", what, now, before)
	}
}

// AwaitNoSAs waits until the branch has none.
func (c *Tunnel) AwaitNoSAs(within time.Duration) {
	c.Site.T.Helper()
	for deadline := time.Now().Add(within); len(c.SPIs()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Site.T.Fatalf("the branch still has the SPIs %v after %s", c.SPIs(), within)
		}
	}
}

// Load writes the branch's configuration anew.
func (c *Tunnel) Load(o Office) {
	c.Site.T.Helper()
	if err := c.Branch.Load(c.Site.T.Context(), o.Conf(c.Site.External)); err != nil {
		c.Site.T.Fatal(err)
	}
}

// AwaitRenewed waits until the connection is ACTIVE on other SAs.
func (c *Tunnel) AwaitRenewed(before []string) {
	c.Site.T.Helper()
	Poll(c.Site.T, 15*time.Second, "other SAs than before", func() bool {
		now := c.SPIs()
		return len(now) == 2 && !slices.ContainsFunc(now, func(spi string) bool { return slices.Contains(before, spi) })
	})
	c.AwaitActive()
}

// AwaitListed waits until the branch's list of SAs has a text.
func (c *Tunnel) AwaitListed(text string) {
	c.Site.T.Helper()
	Poll(c.Site.T, 5*time.Second, "the branch lists an SA with "+text, func() bool { return Lists(c.Site.T, c.Branch, text) })
}

// Lists tells whether the branch's list of SAs has a text.
func Lists(t *testing.T, b *lab.Branch, text string) bool {
	t.Helper()
	sas, err := b.ListSAs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(sas, text)
}

// With is the tunnel with the branch at its other end, where the test started that itself.
func (c *Tunnel) With(branch *lab.Branch) *Tunnel {
	c.Branch = branch
	return c
}
