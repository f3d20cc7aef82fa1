package dataplane

import (
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/sitetest"
)

// leaks is a tunnel with traffic on it both ways, all the time, and a capture on the gateway's outside link.
type leaks struct {
	*apart
	c     *sitetest.Tunnel
	o     sitetest.Office
	wire  *outside
	table *table
}

// TestNothingLeaks does to a gateway, a tunnel and its peer whatever may happen, under pings and TCP both ways: no packet
// between the selectors is on the outside link as it is, while those of no selector are. The last row is the control:
// without the guard there are some.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	l := newLeaks(t)
	l.step("first start", l.startAgent)
	l.step("nothing happens", func() {})
	l.step("kill -9 of charon", func() { l.renewed(l.KillCharon) })
	l.step("kill -9 of the agent, and its start", func() { l.endAgent(syscall.SIGKILL); l.startAgent() })
	l.step("kill -9 of the server, and its start", func() { l.Restart(syscall.SIGKILL) })
	l.step("kill -9 of agent and server, and their start", func() { l.endAgent(syscall.SIGKILL); l.Restart(syscall.SIGKILL); l.startAgent() })
	l.step("kill -9 of agent, then charon, and the agent's start", func() {
		l.endAgent(syscall.SIGKILL)
		l.KillCharon()
		l.noAnswer()
		l.startAgent()
	})
	for _, e := range edits {
		l.step("PUT: "+e.kind, func() { e.change(l.c, &l.o); l.c.AwaitActive() })
	}
	l.step("rekeying of the CHILD_SA", func() { l.rekey("--child", l.childName()) })
	l.step("rekeying of the IKE_SA", func() { l.rekey("--ike", l.c.ID) })
	l.step("path cut until DPD finds it, and mended", func() {
		l.link("down")
		l.c.AwaitDown()
		l.noAnswer()
		l.link("up")
	})
	l.step("peer killed, and its start", func() {
		l.renewed(func() {
			if err := l.c.Branch.KillCharon(); err != nil {
				t.Fatal(err)
			}
			l.noAnswer()
			if err := l.c.Branch.StartCharon(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	})
	l.step("connection admin down, and up", func() { l.downAndUp(l.c.Path(), "ipsec_site_connection") })
	l.step("service admin down, and up", func() { l.downAndUp("/v2.0/vpn/vpnservices/"+l.Service, "vpnservice") })
	l.step("DELETE, and POST of the same", l.replaced)
	l.control()
	t.Logf("packets on the gateway's outside link:\n%s", l.table)
}

// newLeaks makes all but the agent, which has never run.
func newLeaks(t *testing.T) *leaks {
	l := &leaks{apart: newApart(t), o: sitetest.NewOffice(0), table: newTable("event", "encrypted", "in plaintext", "of no selector")}
	router := l.Call("GET", "/v2.0/routers/"+l.Router, nil)["router"].(client.Object)
	l.External = router["external_gateway_info"].(client.Object)["external_fixed_ips"].([]any)[0].(client.Object)["ip_address"].(string)
	l.StartHQ(sitetest.BridgeOf(l.LAN))
	l.c = &sitetest.Tunnel{Site: l.Site, Branch: l.StartBranch(l.o), Remote: sitetest.FirstOf(sitetest.Network(0))}
	l.LayService()
	l.c.Connect(l.o, nil)
	l.wire = watch(t, l.outsideLink(), []netip.Prefix{netip.MustParsePrefix(sitetest.HQNet)},
		[]netip.Prefix{netip.MustParsePrefix(sitetest.Network(0))})
	hq, remote := sitetest.Addr(sitetest.HQHost), sitetest.Addr(l.c.Remote)
	pingOn(t, l.HQ, hq, remote, 3*time.Millisecond)
	pingOn(t, l.c.Branch.Host, remote, hq, 3*time.Millisecond)
	pingOn(t, l.HQ, hq, sitetest.Addr("172.31.0.1"), 5*time.Millisecond) // in no selector
	stream(t, l.HQ.Namespace(), l.c.Branch.Namespace(), remote)
	stream(t, l.c.Branch.Namespace(), l.HQ.Namespace(), hq)
	return l
}

// step is one event; it is over when the tunnel carries pings again.
func (l *leaks) step(what string, do func()) {
	l.T.Helper()
	before := l.wire.now()
	do()
	l.c.AwaitActive()
	sitetest.Poll(l.T, 10*time.Second, what+": the tunnel carries pings", func() bool { return l.answers() })
	l.catchUp()
	got := l.wire.now().since(before)
	if got.plain > 0 {
		l.T.Errorf("%s: %d packets in plaintext, as %s", what, got.plain, got.example)
	}
	if got.encrypted == 0 {
		l.T.Errorf("%s: no encrypted packet", what)
	}
	l.table.row(what, got.encrypted, got.plain, got.others)
}

func (l *leaks) answers() bool {
	l.T.Helper()
	return l.ping(l.c.Remote, 1).Received == 1
}

func (l *leaks) ping(to string, count int) lab.PingResult {
	l.T.Helper()
	got, err := l.HQ.Ping(l.T.Context(), sitetest.Addr(sitetest.HQHost), sitetest.Addr(to), count, 50*time.Millisecond)
	if err != nil {
		l.T.Fatal(err)
	}
	return got
}

// noAnswer waits until pings have gone unanswered for a while, as through a guard.
func (l *leaks) noAnswer() {
	l.T.Helper()
	sitetest.Poll(l.T, 5*time.Second, "pings are lost", func() bool { return l.ping(l.c.Remote, 4).Received == 0 })
}

// catchUp waits until the capture has seen a packet that is sent now, and so all before.
func (l *leaks) catchUp() {
	l.T.Helper()
	others := l.wire.now().others
	sitetest.Poll(l.T, 5*time.Second, "the capture sees what the router forwards as it is", func() bool {
		return l.wire.now().others > others
	})
}

// renewed does something that ends in other SAs.
func (l *leaks) renewed(do func()) {
	l.T.Helper()
	settle(l.T, l.c)
	before := l.c.SPIs()
	do()
	l.c.AwaitRenewed(before)
}

func (l *leaks) rekey(what, name string) {
	l.T.Helper()
	before, ike := settle(l.T, l.c), onlyIKE(l.c, "")
	l.Output1("swanctl", "--rekey", what, name, "--uri", "unix://"+l.RouterFile("charon.vici"))
	if what == "--ike" {
		onlyIKE(l.c, ike)
		return
	}
	sitetest.Poll(l.T, 5*time.Second, "another CHILD_SA", func() bool {
		now := spisOf(l.c)
		return now != "" && now != before
	})
}

// childName is that of the connection's CHILD_SA in charon.
func (l *leaks) childName() string {
	l.T.Helper()
	name := regexp.MustCompile(l.c.ID + `-[0-9a-f-]+`).FindString(l.CharonConns())
	if name == "" {
		l.T.Fatalf("charon has no CHILD_SA of the connection:\n%s", l.CharonConns())
	}
	return name
}

// link sets the branch's outer link up or down.
func (l *leaks) link(state string) {
	l.T.Helper()
	l.Output1("ip", "-n", l.c.Branch.Namespace(), "link", "set", "eth0", state)
}

func (l *leaks) downAndUp(path, key string) {
	l.T.Helper()
	l.Call("PUT", path, client.Object{key: client.Object{"admin_state_up": false}})
	l.c.AwaitDown("admin_down")
	l.noAnswer()
	l.Call("PUT", path, client.Object{key: client.Object{"admin_state_up": true}})
}

// replaced deletes the connection and creates it again, as Terraform replaces one. Between the two the gateway has none, with
// traffic for it: the guard holds for half a minute more.
func (l *leaks) replaced() {
	l.T.Helper()
	id := l.c.ID
	l.Remove(l.c.Path())
	l.c.AwaitNoSAs(5 * time.Second)
	sitetest.Poll(l.T, 5*time.Second, "charon forgets the connection", func() bool { return !strings.Contains(l.CharonConns(), id) })
	l.noAnswer()
	if !l.guards(sitetest.Network(0)) {
		l.T.Error("the guard of a connection that was deleted just now is gone")
	}
	ike, ipsec := l.c.IKEPolicy, l.c.IPsecPolicy
	l.c.Connect(l.o, client.Object{"psk": l.o.PSK, "peer_id": branchID, "ikepolicy_id": ike, "ipsecpolicy_id": ipsec})
}

// control takes the guard away by hand, with nobody there to put it back.
func (l *leaks) control() {
	l.T.Helper()
	l.endAgent(syscall.SIGKILL)
	l.KillCharon()
	l.catchUp()
	before := l.wire.now()
	if out, err := exec.Command("ip", "netns", "exec", l.Namespace(), "nft", "delete", "table", "inet", "culvert").CombinedOutput(); err != nil {
		l.T.Fatalf("%v: %s", err, out)
	}
	sitetest.Poll(l.T, 5*time.Second, "without the guard packets are in plaintext", func() bool { return l.wire.now().since(before).plain > 0 })
	got := l.wire.now().since(before)
	l.table.row("control: charon killed, and the guard taken away by hand", got.encrypted, got.plain, got.others)
	l.startAgent()
	l.c.AwaitActive()
}
