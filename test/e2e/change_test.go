package e2e

import (
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
	"culvert/internal/testbox"
)

// TestChangesLeaveOthersAlone changes one connection in every way while pings run through another on the same router.
func TestChangesLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	other := s.NewTunnel(sitetest.NewOffice(1), nil)
	other.AwaitActive()
	spis, pings := other.Settle(), other.PingOn(10*time.Millisecond)
	o := sitetest.NewOffice(0)
	c := s.NewTunnel(o, nil)
	c.AwaitActive()
	c.Ping()
	steps := []struct {
		what   string
		change func()
	}{
		{"another peer network", func() { changeNetworks(c, &o) }},
		{"another cipher in the IPsec policy", func() { changeCipher(c, &o) }},
		{"another group in the IKE policy", func() { changeGroup(c, &o) }},
		{"admin down and up", func() { downAndUp(c, sitetest.FirstOf(sitetest.SecondNetwork(0))) }},
	}
	for _, step := range steps {
		step.change()
		c.PingTo(sitetest.FirstOf(sitetest.SecondNetwork(0)))
		other.KeepsSPIs(step.what, spis)
	}
	pings.StopWithoutLoss("another connection is changed", 50)
}

// changeNetworks moves both sides to the branch's second network.
func changeNetworks(c *sitetest.Tunnel, o *sitetest.Office) {
	s := c.Site
	s.T.Helper()
	o.Networks = sitetest.SecondNetwork(o.N)
	c.Load(*o)
	group := s.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "cidr", "endpoints": []string{o.Networks}})
	before := c.Settle()
	c.Put(client.Object{"peer_ep_group_id": group})
	c.AwaitRenewed(before)
	if !testbox.KernelESP() { // a branch on kernel ESP answers in clear what is no longer the tunnel's
		c.NoPing(sitetest.FirstOf(sitetest.Network(o.N)))
	}
}

// changeCipher changes the IPsec policy in use (decision D2).
func changeCipher(c *sitetest.Tunnel, o *sitetest.Office) {
	c.Site.T.Helper()
	o.ESP = "aes128-sha512-modp2048"
	c.Load(*o)
	before := c.Settle()
	c.Site.Call("PUT", "/v2.0/vpn/ipsecpolicies/"+c.IPsecPolicy, client.Object{"ipsecpolicy": client.Object{"encryption_algorithm": "aes-128", "auth_algorithm": "sha512"}})
	c.AwaitRenewed(before)
	c.AwaitListed("AES_CBC-128/HMAC_SHA2_512_256")
}

// changeGroup changes the IKE policy in use (decision D2).
func changeGroup(c *sitetest.Tunnel, o *sitetest.Office) {
	c.Site.T.Helper()
	o.Proposals = "aes256-sha256-ecp256"
	c.Load(*o)
	before := c.Settle()
	c.Site.Call("PUT", "/v2.0/vpn/ikepolicies/"+c.IKEPolicy, client.Object{"ikepolicy": client.Object{"pfs": "group19"}})
	c.AwaitRenewed(before)
	c.AwaitListed("ECP_256")
}

// downAndUp switches the connection off and on.
func downAndUp(c *sitetest.Tunnel, remote string) {
	s := c.Site
	s.T.Helper()
	c.Put(client.Object{"admin_state_up": false})
	c.AwaitDown("admin_down")
	c.AwaitNoSAs(5 * time.Second)
	c.NoPing(remote)
	c.Put(client.Object{"admin_state_up": true})
	c.AwaitActive()
	before := c.Settle()
	c.Put(client.Object{"name": "renamed", "description": "no affair of the gateway's"})
	c.AwaitActive()
	c.KeepsSPIs("renamed", before)
}
