package gateway

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/lab"
	"culvert/internal/testbox"
	"culvert/internal/vpn"
)

// site is a router of a gateway, a host on its inner network, and the branch.
type site struct {
	*fixture
	router string
	branch *lab.Branch
	host   *lab.Host
}

var (
	netA = child("net", "10.2.0.0/24", "10.1.0.0/24")
	netB = child("other", "10.3.0.0/24", "10.1.0.0/24")
)

func newSite(t *testing.T, router, swanctl string, with ...func(*Config)) *site {
	t.Helper()
	needRoot(t)
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	s := &site{router: router}
	spec := testSpec(router)
	s.branch = startBranch(t, lab.Config{
		Name: "b-" + router[:8], Bridge: BridgeName(spec.External.Network), Address: prefixes("192.0.2.2/24"),
		LAN: addrs("10.2.0.1", "10.3.0.1", "10.9.0.1"), RunDir: tempDir(t), Swanctl: swanctl,
	})
	s.host = startHost(t, lab.HostConfig{
		Name: "h-" + router[:8], Bridge: BridgeName(spec.Internal[0].Network), Address: prefixes("10.1.0.10/24"), Gateway: addrs("10.1.0.1"),
	})
	s.fixture = newFixture(t, runDir, with...)
	return s
}

// ping checks that pings pass both ways between the host and an address behind the branch.
func (s *site) ping(lan string) {
	s.t.Helper()
	s.answers(lan)
	there, here := netip.MustParseAddr(lan), netip.MustParseAddr("10.1.0.10")
	for _, p := range []struct {
		host     *lab.Host
		from, to netip.Addr
	}{{s.host, here, there}, {s.branch.Host, there, here}} {
		got, err := p.host.Ping(s.t.Context(), p.from, p.to, 3, 5*time.Millisecond)
		if err != nil || got.Received != 3 {
			s.t.Fatalf("ping %s from %s: %v, %v", p.to, p.from, got, err)
		}
	}
}

// answers waits for the first answer from behind the branch. What charon calls up passes packets at once, but where it
// takes the place of an SA that the branch still has, userland ESP there may need a moment to forget the old one.
func (s *site) answers(lan string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	for start := time.Now(); ; {
		got, err := s.host.Ping(ctx, netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr(lan), 1, 50*time.Millisecond)
		if err == nil && got.Received == 1 {
			return
		}
		s.t.Logf("%s does not answer %s after it was up: %v", lan, time.Since(start), err)
		if ctx.Err() != nil {
			sas, err := s.branch.ListSAs(s.t.Context())
			s.t.Fatalf("%s does not answer; the branch has %s %v", lan, sas, err)
		}
	}
}

// noPing checks that nothing passes from the host to behind the branch.
func (s *site) noPing(lan string) {
	s.t.Helper()
	got, err := s.host.Ping(s.t.Context(), netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr(lan), 3, 5*time.Millisecond)
	if err != nil || got.Received != 0 {
		s.t.Fatalf("ping through a guard: %v, %v", got, err)
	}
}

func TestTunnelInitiatedByUs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaaa1-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	spec := testSpec(s.router, testConnection("c1"))
	start := time.Now()
	s.set(spec)
	set := time.Since(start)
	s.awaitUp(s.router, "c1")
	t.Logf("fresh router: set %s, up %s", set, time.Since(start))
	s.ping("10.2.0.1")

	// Again, and by a gateway that comes after: no write, the same SAs.
	spis, writes := s.settle(s.router, "c1"), s.Writes()
	s.set(spec)
	if s.Writes() != writes || s.spis(s.router, "c1") != spis {
		t.Errorf("set again: %d writes, SPIs %s, want none and %s", s.Writes()-writes, s.spis(s.router, "c1"), spis)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := newFixture(t, s.runDir)
	next.set(spec)
	next.awaitUp(s.router, "c1")
	if next.Writes() != 0 || next.spis(s.router, "c1") != spis {
		t.Errorf("adopted: %d writes, SPIs %s, want none and %s", next.Writes(), next.spis(s.router, "c1"), spis)
	}
	s.ping("10.2.0.1")
	if routers, err := next.Routers(); err != nil || len(routers) != 1 || routers[0] != s.router {
		t.Errorf("routers: %v, %v", routers, err)
	}
}

func TestTunnelInitiatedByPeer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaaa2-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	c := testConnection("c1")
	c.Initiate = false
	s.set(testSpec(s.router, c))
	s.awaitReason(s.router, "c1", "not_initiated")
	s.noPing("10.2.0.1")
	if err := s.branch.Initiate(t.Context(), "net"); err != nil {
		t.Fatal(err)
	}
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")
	if err := s.branch.Terminate(t.Context(), "culvert"); err != nil {
		t.Fatal(err)
	}
	s.awaitReason(s.router, "c1", "peer_deleted")
	s.noPing("10.2.0.1")
}

func TestPeerKilledAndBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaaa3-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	s.set(testSpec(s.router, testConnection("c1")))
	s.awaitUp(s.router, "c1")
	if err := s.branch.KillCharon(); err != nil {
		t.Fatal(err)
	}
	s.await(s.router, "c1", "down with peer_not_listening", 15*time.Second, func(c vpn.ConnectionReport) bool {
		return c.State == vpn.StateDown && c.Reason.Code == "peer_not_listening"
	})
	if err := s.branch.StartCharon(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")
}

func TestOtherConnectionsKeepTheirSAs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaaa4-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA, netB))
	a, b := testConnection("c1"), testConnection("c2")
	b.Peer = prefixes("10.3.0.0/24")
	s.set(testSpec(s.router, a, b))
	s.awaitUp(s.router, "c1")
	s.awaitUp(s.router, "c2")
	s.ping("10.2.0.1")
	s.ping("10.3.0.1")
	spisA, spisB := s.settle(s.router, "c1"), s.settle(s.router, "c2")
	keeps := func(what string) {
		t.Helper()
		if got := s.spis(s.router, "c1"); got != spisA {
			t.Fatalf("%s: c1 has SPIs %s, want %s", what, got, spisA)
		}
	}

	b.DPD.Interval = 2 // this side's own affair, which charon takes for new SAs alone
	s.set(testSpec(s.router, a, b))
	s.awaitUp(s.router, "c2")
	if got := s.spis(s.router, "c2"); strings.Contains(got, spisB) && !strings.Contains(got, ";") {
		t.Fatalf("DPD changed: c2 has SPIs %s, as before", got)
	}
	s.ping("10.3.0.1")
	keeps("DPD of c2 changed")
	spisB = s.spis(s.router, "c2")
	b.ESP.PFS = "disable" // negotiated
	s.set(testSpec(s.router, a, b))
	s.awaitUp(s.router, "c2")
	if got := s.spis(s.router, "c2"); got == spisB || got == "" {
		t.Fatalf("PFS changed: c2 has SPIs %q, as before", got)
	}
	keeps("c2 changed")

	b.AdminStateUp = false
	s.set(testSpec(s.router, a, b))
	s.awaitReason(s.router, "c2", "admin_down")
	s.noPing("10.3.0.1")
	keeps("c2 admin down")
	if !strings.Contains(s.ruleset(), "10.3.0.0/24") {
		t.Error("the guard of a connection that is admin down is gone")
	}

	b.AdminStateUp = true
	s.set(testSpec(s.router, a, b))
	s.awaitUp(s.router, "c2")
	s.ping("10.3.0.1")
	s.set(testSpec(s.router, a))
	keeps("c2 removed")
	if got := s.spis(s.router, "c2"); got != "" {
		t.Errorf("c2 removed: it has SPIs %s", got)
	}
	s.noPing("10.3.0.1")
	if !strings.Contains(s.ruleset(), "10.3.0.0/24") {
		t.Error("the guard of a connection that was removed just now is gone")
	}
	s.ping("10.2.0.1")
}

func (s *site) ruleset() string {
	s.t.Helper()
	text := output(s.t, "ip", "netns", "exec", NamespaceName(s.router), "nft", "-s", "list", "ruleset")
	if testbox.KernelESP() {
		text += output(s.t, "ip", "-n", NamespaceName(s.router), "xfrm", "policy")
	}
	return text
}

func TestCharonDies(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaaa5-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	s.set(testSpec(s.router, testConnection("c1")))
	s.awaitUp(s.router, "c1")
	c := adoptCharon(folder(s.folderOf(s.router)))
	if c == nil {
		t.Fatal("no charon runs")
	}
	if err := unix.Kill(c.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s.awaitReason(s.router, "c1", "charon_died")
	s.awaitUp(s.router, "c1")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("back after %s, want 3 s", took)
	}
	s.ping("10.2.0.1")
}

func TestWhyDown(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaaa6-1111-4111-8111-111111111111", branchSwanctl("another key", netA))
	c := testConnection("c1")
	s.set(testSpec(s.router, c))
	first := s.awaitReason(s.router, "c1", "auth_failed")
	if first.Phase != "ike_auth" || first.Hint == "" || first.FirstSeen == "" {
		t.Errorf("reason: %+v", first)
	}
	change := func(code string, change func(*vpn.ConnectionSpec)) {
		t.Helper()
		changed := c
		change(&changed)
		s.set(testSpec(s.router, changed))
		s.awaitReason(s.router, "c1", code)
	}
	change("ike_proposal_mismatch", func(c *vpn.ConnectionSpec) { c.IKE.Group = "group14" })
	c.PSK = "another key"
	change("child_proposal_mismatch", func(c *vpn.ConnectionSpec) { c.ESP.Encryption = "aes-128" })
	change("ts_unacceptable", func(c *vpn.ConnectionSpec) { c.Peer = prefixes("10.9.0.0/24") })
	changed := testSpec(s.router, c)
	changed.External.Gateways = nil
	changed.Connections[0].PeerAddress = "198.51.100.9"
	s.set(changed)
	s.awaitReason(s.router, "c1", "no_route")
	c.Initiate = false
	s.set(testSpec(s.router, c))
	s.awaitReason(s.router, "c1", "not_initiated")

	// The other direction: the branch comes, and we see what is wrong with it.
	initiate := func(code string, change func(*vpn.ConnectionSpec)) {
		t.Helper()
		changed := c
		change(&changed)
		s.set(testSpec(s.router, changed))
		if err := s.branch.Initiate(t.Context(), "net"); err == nil {
			t.Fatalf("%s: initiated", code)
		}
		s.awaitReason(s.router, "c1", code)
	}
	initiate("psk_mismatch", func(c *vpn.ConnectionSpec) { c.PSK = testPSK })
	initiate("ike_proposal_mismatch", func(c *vpn.ConnectionSpec) { c.IKE.Encryption = "aes-128" })
	initiate("no_ike_config", func(c *vpn.ConnectionSpec) { c.IKE.Version = "v1" })
	initiate("identity_mismatch", func(c *vpn.ConnectionSpec) { c.PeerID = "branch.example.com" })
	initiate("child_proposal_mismatch", func(c *vpn.ConnectionSpec) { c.ESP.Auth = "sha512" })
	initiate("ts_unacceptable", func(c *vpn.ConnectionSpec) { c.Peer = prefixes("10.9.0.0/24") })
}

func TestRemoveLeavesNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const router = "aaaaaaa7-1111-4111-8111-111111111111"
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	f := newFixture(t, runDir)
	spec := testSpec(router, testConnection("c1"))
	f.set(spec)
	c := adoptCharon(folder(f.folderOf(router)))
	if c == nil {
		t.Fatal("no charon runs")
	}
	spec.Removed = true
	for range 2 {
		f.set(spec)
	}
	if isCharonOf(c.pid, folder(f.folderOf(router))) {
		t.Error("charon runs")
	}
	if entries, err := os.ReadDir(runDir); err != nil || len(entries) != 0 {
		t.Errorf("files are left: %v, %v", entries, err)
	}
	links, err := whole(f.host.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.Contains(l.Attrs().Name, "aaaaaaa7") {
			t.Errorf("link %s is left", l.Attrs().Name)
		}
	}
	if _, err := os.Stat("/run/netns/" + NamespaceName(router)); err == nil {
		t.Error("the namespace is left")
	}
	if err := f.Remove(context.Background(), "aaaaaaaf-never-there"); err != nil {
		t.Error(err)
	}
}
