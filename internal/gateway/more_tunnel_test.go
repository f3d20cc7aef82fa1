package gateway

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/lab"
	"culvert/internal/vpn"
)

// TestTunnelIKEv1 has two networks behind the branch: with IKEv1 that is two CHILD_SAs, and up is both.
func TestTunnelIKEv1(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaab1-1111-4111-8111-111111111111", strings.Replace(branchSwanctl(testPSK, netA), "version = 2", "version = 1", 1))
	c := testConnection("c1")
	c.IKE.Version, c.Peer = "v1", prefixes("10.2.0.0/24", "10.3.0.0/24")
	s.set(testSpec(s.router, c))
	s.awaitReason(s.router, "c1", "ts_unacceptable") // the branch knows only one of the two
	s.ping("10.2.0.1")
	if err := s.branch.Load(t.Context(), strings.Replace(branchSwanctl(testPSK, netA, netB), "version = 2", "version = 1", 1)); err != nil {
		t.Fatal(err)
	}
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")
	s.ping("10.3.0.1")
	c.PSK = "wrong"
	s.set(testSpec(s.router, c))
	s.awaitReason(s.router, "c1", "psk_mismatch")
}

func TestTunnelIPv6(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const router = "aaaaaab2-1111-4111-8111-111111111111"
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	spec := testSpec(router, testConnection("c1"))
	spec.External.Addresses, spec.External.Gateways = prefixes("2001:db8::1/64"), nil
	spec.Internal[0].Addresses = prefixes("2001:db8:1::1/64")
	c := &spec.Connections[0]
	c.LocalAddress, c.LocalID, c.PeerAddress, c.PeerID = netip.MustParseAddr("2001:db8::1"), "@west.example.com", "2001:db8::2", "east@example.com"
	c.Local, c.Peer = prefixes("2001:db8:1::/64"), prefixes("2001:db8:2::/64")
	swanctl := strings.NewReplacer("192.0.2.2", "2001:db8::2", "192.0.2.1", "2001:db8::1",
		"local {", "local {\n      id = east@example.com", "remote {", "remote {\n      id = west.example.com").
		Replace(branchSwanctl(testPSK, child("net", "2001:db8:2::/64", "2001:db8:1::/64")))
	branch := startBranch(t, lab.Config{Name: "b-aaaaaab2", Bridge: BridgeName(spec.External.Network), Address: prefixes("2001:db8::2/64"),
		LAN: addrs("2001:db8:2::1"), RunDir: tempDir(t), Swanctl: swanctl})
	host := startHost(t, lab.HostConfig{Name: "h-aaaaaab2", Bridge: BridgeName(spec.Internal[0].Network), Address: prefixes("2001:db8:1::10/64"), Gateway: addrs("2001:db8:1::1")})
	f := newFixture(t, runDir)
	f.set(spec)
	f.awaitUp(router, "c1")
	for _, h := range []*lab.Host{host, branch.Host} {
		from, to := addrs("2001:db8:1::10")[0], addrs("2001:db8:2::1")[0]
		if h == branch.Host {
			from, to = to, from
		}
		if got, err := h.Ping(t.Context(), from, to, 3, 5*time.Millisecond); err != nil || got.Received != 3 {
			t.Errorf("ping %s from %s: %v, %v", to, from, got, err)
		}
	}
}

// TestNoPlaintext puts somebody on the outer network who would answer for the branch's networks, were he asked in clear.
func TestNoPlaintext(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaab3-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), func(c *Config) { c.Linger = 5 * time.Second })
	startHost(t, lab.HostConfig{
		Name: "x-aaaaaab3", Bridge: BridgeName(testSpec(s.router).External.Network),
		Address: prefixes("192.0.2.254/24", "10.2.0.1/32", "203.0.113.5/32"), Gateway: addrs("192.0.2.1"),
	})
	inClear := func(what string, to string, want int) {
		t.Helper()
		got, err := s.host.Ping(t.Context(), addrs("10.1.0.10")[0], addrs(to)[0], 5, 2*time.Millisecond)
		if err != nil || got.Received != want {
			t.Fatalf("%s: ping %s in clear: %v, %v, want %d answers", what, to, got, err, want)
		}
	}
	s.set(testSpec(s.router))
	inClear("no connection", "10.2.0.1", 5) // so it would be answered
	c := testConnection("c1")
	c.AdminStateUp = false
	s.set(testSpec(s.router, c))
	inClear("admin down", "10.2.0.1", 0)
	inClear("admin down", "203.0.113.5", 5) // others' traffic is no affair of the guard
	c.AdminStateUp, c.Initiate = true, false
	s.set(testSpec(s.router, c))
	inClear("not up yet", "10.2.0.1", 0)
	charon := adoptCharon(folder(s.folderOf(s.router)))
	if charon == nil {
		t.Fatal("no charon runs")
	}
	if err := unix.Kill(charon.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	inClear("charon killed", "10.2.0.1", 0)
	s.set(testSpec(s.router))
	inClear("connection deleted", "10.2.0.1", 0)
	s.set(testSpec(s.router, c))
	inClear("created again", "10.2.0.1", 0)
	s.set(testSpec(s.router))
	inClear("deleted again", "10.2.0.1", 0)
	s.awaitUnguarded("10.2.0.0/24")
	inClear("deleted some time ago", "10.2.0.1", 5)
}

// TestNoPacketLost sets, adopts and changes a sibling under a running ping.
func TestNoPacketLost(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaab4-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA, netB))
	a, b := testConnection("c1"), testConnection("c2")
	b.Peer = prefixes("10.3.0.0/24")
	s.set(testSpec(s.router, a))
	s.awaitUp(s.router, "c1")
	result := make(chan lab.PingResult, 1)
	go func() {
		got, err := s.host.Ping(t.Context(), addrs("10.1.0.10")[0], addrs("10.2.0.1")[0], 150, 10*time.Millisecond)
		if err != nil {
			t.Error(err)
		}
		result <- got
	}()
	start := time.Now()
	s.set(testSpec(s.router, a, b))
	s.awaitUp(s.router, "c2")
	t.Logf("another connection on a running router is up after %s", time.Since(start))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := newFixture(t, s.runDir)
	next.set(testSpec(s.router, a, b))
	b.ESP.PFS = "disable"
	next.set(testSpec(s.router, a, b))
	next.awaitUp(s.router, "c2")
	next.set(testSpec(s.router, a))
	next.await(s.router, "c1", "up", time.Second, func(c vpn.ConnectionReport) bool { return c.State == vpn.StateUp })
	if got := <-result; got.Lost() != 0 || got.Sent != 150 {
		t.Errorf("ping under changes: %v", got)
	}
}

// TestSiblings has two connections with the same peer, which sees one with two CHILD_SAs, and initiates them itself: it
// puts both into one IKE_SA.
func TestSiblings(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaab5-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA, netB))
	a, b := testConnection("c1"), testConnection("c2")
	b.Peer = prefixes("10.3.0.0/24")
	a.Initiate, b.Initiate = false, false
	s.set(testSpec(s.router, a, b))
	for _, child := range []string{"net", "other"} {
		if err := s.branch.Initiate(t.Context(), child); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitUp(s.router, "c1")
	s.awaitUp(s.router, "c2")
	s.ping("10.2.0.1")
	s.ping("10.3.0.1")
	next := newFixture(t, s.runDir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next.set(testSpec(s.router, a, b))
	next.awaitUp(s.router, "c1")
	next.awaitUp(s.router, "c2")
	if next.Writes() != 0 {
		t.Errorf("adopted: %d writes", next.Writes())
	}
	b.AdminStateUp = false
	next.set(testSpec(s.router, a, b))
	next.awaitReason(s.router, "c2", "admin_down")
	s.noPing("10.3.0.1")
}
