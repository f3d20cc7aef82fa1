package dataplane

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// edit is one kind of change to a tunnel in use.
type edit struct {
	kind   string
	change func(c *sitetest.Tunnel, o *sitetest.Office)
	renews bool // other SAs are made
}

var edits = []edit{
	{"name, description", func(c *sitetest.Tunnel, _ *sitetest.Office) {
		c.Put(client.Object{"name": "renamed", "description": "no affair of the gateway's"})
	}, false},
	{"mtu", func(c *sitetest.Tunnel, _ *sitetest.Office) { c.Put(client.Object{"mtu": 1300}) }, false},
	{"initiator", func(c *sitetest.Tunnel, _ *sitetest.Office) {
		c.Put(client.Object{"initiator": "response-only"})
		c.AwaitActive()
		c.Put(client.Object{"initiator": "bi-directional"})
	}, false},
	{"dpd", func(c *sitetest.Tunnel, _ *sitetest.Office) {
		c.Put(client.Object{"dpd": client.Object{"action": "restart", "interval": 2, "timeout": 9}})
	}, true},
	{"lifetime of the IKE policy", func(c *sitetest.Tunnel, _ *sitetest.Office) {
		putIKE(c, client.Object{"lifetime": client.Object{"units": "seconds", "value": 7200}})
	}, true},
	{"lifetime of the IPsec policy", func(c *sitetest.Tunnel, _ *sitetest.Office) {
		putIPsec(c, client.Object{"lifetime": client.Object{"units": "seconds", "value": 1800}})
	}, true},
	{"cipher of the IPsec policy", func(c *sitetest.Tunnel, o *sitetest.Office) {
		o.ESP = "aes128-sha512-modp2048"
		c.Load(*o)
		putIPsec(c, client.Object{"encryption_algorithm": "aes-128", "auth_algorithm": "sha512"})
	}, true},
	{"pfs of the IPsec policy", func(c *sitetest.Tunnel, o *sitetest.Office) {
		o.ESP = "aes128-sha512-ecp256"
		c.Load(*o)
		putIPsec(c, client.Object{"pfs": "group19"})
	}, true},
	{"an endpoint more in the peer's group", func(c *sitetest.Tunnel, o *sitetest.Office) {
		o.Networks = sitetest.Network(o.N) + "," + sitetest.SecondNetwork(o.N)
		c.Load(*o)
		putGroup(c, sitetest.Network(o.N), sitetest.SecondNetwork(o.N))
	}, true},
	{"an endpoint less in the peer's group", func(c *sitetest.Tunnel, o *sitetest.Office) {
		o.Networks = sitetest.Network(o.N)
		c.Load(*o)
		putGroup(c, sitetest.Network(o.N))
	}, true},
	{"pfs of the IKE policy", func(c *sitetest.Tunnel, o *sitetest.Office) {
		o.Proposals = "aes256-sha256-ecp256"
		c.Load(*o)
		putIKE(c, client.Object{"pfs": "group19"})
	}, true},
	{"another IPsec policy", func(c *sitetest.Tunnel, o *sitetest.Office) {
		o.ESP = "aes256gcm16-ecp256"
		c.Load(*o)
		c.IPsecPolicy = c.Site.Make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{"encryption_algorithm": "aes-256-gcm-16", "pfs": "group19"})
		c.Put(client.Object{"ipsecpolicy_id": c.IPsecPolicy})
	}, true},
	{"psk", func(c *sitetest.Tunnel, o *sitetest.Office) {
		o.PSK = "0sdataplane-J8-vm4Rz" // a text, whatever it begins with
		c.Load(*o)
		c.Put(client.Object{"psk": o.PSK})
	}, true},
	{"peer_id", func(c *sitetest.Tunnel, o *sitetest.Office) {
		loadID(c, *o, branchID)
		c.Put(client.Object{"peer_id": branchID})
	}, true},
}

func putIKE(c *sitetest.Tunnel, changes client.Object) {
	c.Site.T.Helper()
	c.Site.Call("PUT", "/v2.0/vpn/ikepolicies/"+c.IKEPolicy, client.Object{"ikepolicy": changes})
}

func putIPsec(c *sitetest.Tunnel, changes client.Object) {
	c.Site.T.Helper()
	c.Site.Call("PUT", "/v2.0/vpn/ipsecpolicies/"+c.IPsecPolicy, client.Object{"ipsecpolicy": changes})
}

func putGroup(c *sitetest.Tunnel, networks ...string) {
	c.Site.T.Helper()
	c.Site.Call("PUT", "/v2.0/vpn/endpoint-groups/"+c.PeerGroup, client.Object{"endpoint_group": client.Object{"endpoints": networks}})
}

const branchID = "branch.example.net"

// loadID gives the branch another identity.
func loadID(c *sitetest.Tunnel, o sitetest.Office, id string) {
	c.Site.T.Helper()
	text := strings.Replace(o.Conf(c.Site.External), "id = "+o.Address(), "id = "+id, 1)
	text = strings.Replace(text, "id-1 = "+o.Address(), "id-1 = "+id, 1)
	if err := c.Branch.Load(c.Site.T.Context(), text); err != nil {
		c.Site.T.Fatal(err)
	}
}

// madeFirst fails where the log says that SAs were ended before there were others.
func madeFirst(t *testing.T, what, log string) {
	t.Helper()
	made, ended := strings.Index(log, " established with SPIs "), regexp.MustCompile(`closing CHILD_SA|deleting IKE_SA`).FindStringIndex(log)
	if made < 0 || ended != nil && ended[0] < made {
		t.Errorf("%s: the SAs were ended before there were others:\n%s", what, log)
	}
}

// TestEdits changes a tunnel in every way while pings run through it: make before break. None may be lost where the SAs are
// kept; where they are replaced, only such as no gateway can keep: see handover.
func TestEdits(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	o := sitetest.NewOffice(0)
	c := s.NewTunnel(o, nil)
	c.AwaitActive()
	c.Ping()
	table := newTable("edit", "SAs", "pings", "lost", "handover", "ACTIVE after")
	for _, e := range edits {
		before, log, far := settle(t, c), len(s.CharonLog()), len(peersLog(c))
		pings := pingFor(c, 400, 2*time.Millisecond)
		start := time.Now()
		e.change(c, &o)
		c.AwaitActive()
		took := time.Since(start)
		got := <-pings
		sas := "kept"
		if after := settle(t, c); after != before {
			sas = "made before broken"
			madeFirst(t, e.kind, s.CharonLog()[log:])
		}
		if renewed := sas != "kept"; renewed != e.renews {
			t.Errorf("%s: the SAs are %s", e.kind, sas)
		}
		during := handovers(t, s.CharonLog()[log:], peersLog(c)[far:])
		if outside := lostOutside(got, during); got.Sent < 100 || len(outside) > 0 {
			t.Errorf("%s: pings: %s; lost outside of any handover: %s\nours:\n%s\nthe peer's:\n%s", e.kind, got, outside, s.CharonLog()[log:], peersLog(c)[far:])
		}
		table.row(e.kind, sas, got.Sent, got.Lost(), lasted(during), took.Round(time.Millisecond))
	}
	t.Logf("edits of a tunnel under pings, 2 ms apart; handover: the peer has the new SA and we have not:\n%s", table)
}

// peersLog is what the branch's charon has logged.
func peersLog(c *sitetest.Tunnel) string {
	c.Site.T.Helper()
	text, err := c.Branch.Log()
	if err != nil {
		c.Site.T.Fatal(err)
	}
	return text
}
