package dataplane

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// TestNothingLeaksIPv6 is TestNothingLeaks, much shorter, of a tunnel that has IPv6 inside and outside.
func TestNothingLeaksIPv6(t *testing.T) {
	t.Parallel()
	const far6 = "2001:db8:0:40::/64"
	d := newDual(t)
	a := &apart{Site: d.Site}
	table := newTable("event", "encrypted", "in plaintext", "of no selector")
	w := watch(t, a.outsideLink(), []netip.Prefix{netip.MustParsePrefix(lan6 + "/64")}, []netip.Prefix{netip.MustParsePrefix(far6)})
	branch := d.peer(0, swanctl(far{local: outer6(0), remote: d.v6.String(), nets: far6, hqNets: lan6 + "/64"}), far6)
	d.Output1("ip", "-n", branch.Namespace(), "addr", "add", wan6+"ff/64", "dev", "eth0", "nodad") // where the router's default route leads
	c := d.connect(outer6(0), []string{far6}, nil).With(branch)
	hq, remote := sitetest.Addr(hq6), sitetest.Addr(c.Remote)
	sitetest.Poll(t, 5*time.Second, "the guard stands", func() bool { return a.guards(far6) })
	start := w.now()
	pingOn(t, d.HQ, hq, remote, 3*time.Millisecond)
	pingOn(t, branch.Host, remote, hq, 3*time.Millisecond)
	pingOn(t, d.HQ, hq, sitetest.Addr(outer6(0)), 5*time.Millisecond) // in no selector
	step := func(what string, before packets, do func()) {
		do()
		c.AwaitActive()
		d.answers(c.Remote)
		others := w.now().others
		sitetest.Poll(t, 5*time.Second, "the capture sees what the router forwards as it is", func() bool { return w.now().others > others })
		got := w.now().since(before)
		if got.plain > 0 || got.encrypted == 0 {
			t.Errorf("%s: %d packets encrypted, %d in plaintext, as %s", what, got.encrypted, got.plain, got.example)
		}
		table.row(what, got.encrypted, got.plain, got.others)
	}
	step("first start", start, func() {})
	step("kill -9 of charon", w.now(), func() { c.Settle(); before := c.SPIs(); d.KillCharon(); c.AwaitRenewed(before) })
	step("kill -9 of charon, then the server with its gateway, and its start", w.now(), func() {
		d.KillCharon()
		d.End(syscall.SIGKILL)
		sitetest.Poll(t, 5*time.Second, "pings are lost", func() bool { return d.pings(c.Remote, 4) == 0 })
		d.Start()
	})
	step("connection admin down, and up", w.now(), func() {
		c.Put(client.Object{"admin_state_up": false})
		c.AwaitDown("admin_down")
		sitetest.Poll(t, 5*time.Second, "pings are lost", func() bool { return d.pings(c.Remote, 4) == 0 })
		c.Put(client.Object{"admin_state_up": true})
	})
	d.End(syscall.SIGKILL)
	d.KillCharon()
	before := w.now()
	d.Output1("ip", "netns", "exec", d.Namespace(), "nft", "delete", "table", "inet", "culvert")
	sitetest.Poll(t, 5*time.Second, "without the guard packets are in plaintext", func() bool { return w.now().since(before).plain > 0 })
	got := w.now().since(before)
	table.row("control: charon killed, and the guard taken away by hand", got.encrypted, got.plain, got.others)
	d.Start()
	c.AwaitActive()
	t.Logf("IPv6 packets on the gateway's outside link:\n%s", table)
}
