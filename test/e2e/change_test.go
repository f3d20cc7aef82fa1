package e2e

import (
	"slices"
	"testing"
	"time"

	"culvert/internal/client"
)

// TestChangesLeaveOthersAlone changes one connection in every way while pings run through another on the same router.
func TestChangesLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other := s.newTunnel(newOffice(1), nil)
	other.awaitActive()
	spis, pings := other.spis(), other.pingOn(10*time.Millisecond)
	o := newOffice(0)
	c := s.newTunnel(o, nil)
	c.awaitActive()
	c.ping()
	steps := []struct {
		what   string
		change func()
	}{
		{"another peer network", func() { c.changeNetworks(&o) }},
		{"another cipher in the IPsec policy", func() { c.changeCipher(&o) }},
		{"another group in the IKE policy", func() { c.changeGroup(&o) }},
		{"admin down and up", func() { c.downAndUp(firstOf(secondNetwork(0))) }},
	}
	for _, step := range steps {
		step.change()
		c.pingTo(firstOf(secondNetwork(0)))
		other.keepsSPIs(step.what, spis)
	}
	pings.stopWithoutLoss("another connection is changed", 50)
}

// changeNetworks moves both sides to the branch's second network.
func (c *tunnel) changeNetworks(o *office) {
	s := c.s
	s.t.Helper()
	o.networks = secondNetwork(o.n)
	c.load(*o)
	group := s.make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "cidr", "endpoints": []string{o.networks}})
	before := c.spis()
	c.put(client.Object{"peer_ep_group_id": group})
	c.awaitRenewed(before)
	c.noPing(firstOf(network(o.n)))
}

// changeCipher changes the IPsec policy in use (decision D2).
func (c *tunnel) changeCipher(o *office) {
	c.s.t.Helper()
	o.esp = "aes128-sha512-modp2048"
	c.load(*o)
	before := c.spis()
	c.s.call("PUT", "/v2.0/vpn/ipsecpolicies/"+c.ipsec, client.Object{"ipsecpolicy": client.Object{"encryption_algorithm": "aes-128", "auth_algorithm": "sha512"}})
	c.awaitRenewed(before)
	c.awaitListed("AES_CBC-128/HMAC_SHA2_512_256")
}

// changeGroup changes the IKE policy in use (decision D2).
func (c *tunnel) changeGroup(o *office) {
	c.s.t.Helper()
	o.proposals = "aes256-sha256-ecp256"
	c.load(*o)
	before := c.spis()
	c.s.call("PUT", "/v2.0/vpn/ikepolicies/"+c.ike, client.Object{"ikepolicy": client.Object{"pfs": "group19"}})
	c.awaitRenewed(before)
	c.awaitListed("ECP_256")
}

// downAndUp switches the connection off and on.
func (c *tunnel) downAndUp(remote string) {
	s := c.s
	s.t.Helper()
	c.put(client.Object{"admin_state_up": false})
	c.awaitDown("admin_down")
	c.awaitNoSAs(5 * time.Second)
	c.noPing(remote)
	c.put(client.Object{"admin_state_up": true})
	c.awaitActive()
	before := c.spis()
	c.put(client.Object{"name": "renamed", "description": "no affair of the gateway's"})
	c.awaitActive()
	c.keepsSPIs("renamed", before)
}

// load writes the branch's configuration anew.
func (c *tunnel) load(o office) {
	c.s.t.Helper()
	if err := c.branch.Load(c.s.t.Context(), o.conf(c.s.external)); err != nil {
		c.s.t.Fatal(err)
	}
}

// awaitRenewed waits until the connection is ACTIVE on other SAs.
func (c *tunnel) awaitRenewed(before []string) {
	c.s.t.Helper()
	poll(c.s.t, 15*time.Second, "other SAs than before", func() bool {
		now := c.spis()
		return len(now) == 2 && !slices.ContainsFunc(now, func(spi string) bool { return slices.Contains(before, spi) })
	})
	c.awaitActive()
}

// awaitListed waits until the branch's list of SAs has a text.
func (c *tunnel) awaitListed(text string) {
	c.s.t.Helper()
	poll(c.s.t, 5*time.Second, "the branch lists an SA with "+text, func() bool { return contains(c.s.t, c.branch, text) })
}
