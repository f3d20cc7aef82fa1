package gateway

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/vpn"
)

// upWith is a tunnel that stands and, with a code, is warned of.
func upWith(code string) func(vpn.ConnectionReport) bool {
	return func(c vpn.ConnectionReport) bool {
		return c.State == vpn.StateUp && (code == "" && c.Reason == nil || c.Reason != nil && c.Reason.Code == code)
	}
}

// A probe is set without touching the tunnel, and packets of all sizes pass.
func TestProbe(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4ea17407-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), quickly)
	c := testConnection("c1")
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	before, writes := s.settle(s.router, "c1"), s.Writes()
	for _, mtu := range []int{1400, 1300} {
		c.MTU, c.ProbeAddress = mtu, netip.MustParseAddr("10.2.0.1")
		s.set(testSpec(s.router, c))
		got := s.measured("c1", "probed", 10*time.Second, func(st vpn.Statistics) bool {
			return st.Probe != nil && st.Probe.Received >= 3 && st.Probe.LargestSeen == mtu
		}).Probe
		if got.Address != "10.2.0.1" || got.Source != "10.1.0.1" || got.LargeSize != mtu || got.Loss != 0 || got.RTT == nil || *got.RTT <= 0 || got.AnsweredAt == nil {
			t.Errorf("statistics: %+v", got)
		}
	}
	s.await(s.router, "c1", "up without a reason", time.Second, upWith(""))
	c.ProbeAddress = netip.Addr{}
	s.set(testSpec(s.router, c))
	s.measured("c1", "not probed", 5*time.Second, func(st vpn.Statistics) bool { return st.Probe == nil })
	if s.Writes() != writes || s.spis(s.router, "c1") != before {
		t.Errorf("probes took %d VICI writes; SPIs %s, before %s", s.Writes()-writes, s.spis(s.router, "c1"), before)
	}
}

// The branch's outer link loses what is larger than its path takes, and nobody says so: the hint names an mtu that passes,
// and with it the reason goes.
func TestMTUBlackHole(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4ea17404-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), quickly)
	c := testConnection("c1")
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	s.answers("10.2.0.1")
	before := s.settle(s.router, "c1")
	c.ProbeAddress = netip.MustParseAddr("10.2.0.1")
	s.set(testSpec(s.router, c))
	s.measured("c1", "probed", 5*time.Second, func(st vpn.Statistics) bool { return st.Probe != nil && st.Probe.LargestSeen == c.MTU })

	const outer = 1300 // of an outer packet, in bytes
	if err := s.branch.Filter(t.Context(), []string{"ip length > " + strconv.Itoa(outer) + " drop"}, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	hole := s.await(s.router, "c1", "warned of", 15*time.Second, upWith("mtu_black_hole")).Reason
	t.Logf("black hole said after %s: %s; ours: %s; theirs: %s; hint: %s", time.Since(began), hole.Summary, hole.Ours, hole.Theirs, hole.Hint)
	found, err := strconv.Atoi(strings.TrimPrefix(hole.Hint, "set mtu of the connection to "))
	if err != nil || found < outer-100 || found >= outer {
		t.Fatalf("hint: %s (%v)", hole.Hint, err)
	}
	if !s.passes(found) || s.passes(found+17) { // a cipher block more
		t.Errorf("%d bytes pass: %v, %d: %v", found, s.passes(found), found+17, s.passes(found+17))
	}
	again := s.await(s.router, "c1", "warned of", time.Second, upWith("mtu_black_hole")).Reason
	if again.Theirs != hole.Theirs || again.FirstSeen != hole.FirstSeen {
		t.Errorf("the same, said otherwise: %+v, before %+v", again, hole)
	}

	c.MTU = found
	s.set(testSpec(s.router, c))
	s.await(s.router, "c1", "up without a reason", 10*time.Second, upWith(""))
	got := s.measured("c1", "probed with the new mtu", 5*time.Second, func(st vpn.Statistics) bool { return st.Probe != nil && st.Probe.LargestSeen == found })
	if got.Probe.LargeSize != found {
		t.Errorf("statistics: %+v", got.Probe)
	}
	if s.spis(s.router, "c1") != before {
		t.Error("another mtu took other SAs")
	}
}

// passes tells whether a packet of so many bytes is answered, with a socket of the test's own.
func (s *site) passes(size int) bool {
	s.t.Helper()
	ns, err := openNamespace(NamespaceName(s.router))
	if err != nil {
		s.t.Fatal(err)
	}
	defer ns.Close()
	e, err := openEcho(ns, netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer e.close()
	if err := e.send(1, size); err != nil {
		s.t.Fatal(err)
	}
	seq, err := e.receive(time.Now().Add(500 * time.Millisecond))
	return err == nil && seq == 1
}

// An address that does not answer is a warning, until it does; and the probe ends with its tunnel.
func TestProbeLost(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4ea17405-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), quickly)
	c := testConnection("c1")
	c.ProbeAddress = netip.MustParseAddr("10.2.0.1")
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	s.measured("c1", "probed", 5*time.Second, func(st vpn.Statistics) bool { return st.Probe != nil && st.Probe.Received >= 2 })
	if err := s.branch.Filter(t.Context(), []string{"icmp type echo-request drop"}, nil); err != nil {
		t.Fatal(err)
	}
	lost := s.await(s.router, "c1", "warned of", 15*time.Second, upWith("probe_lost")).Reason
	if lost.Ours != "echo requests from 10.1.0.1 to 10.2.0.1" || lost.Theirs != "no answer" || lost.Hint == "" {
		t.Errorf("reason: %+v", lost)
	}
	got := s.measured("c1", "lossy", 5*time.Second, func(st vpn.Statistics) bool { return st.Probe != nil && st.Probe.Loss > 0 })
	if got.Probe.Received >= got.Probe.Sent || got.Probe.Loss >= 1 {
		t.Errorf("statistics: %+v", got.Probe)
	}
	if err := s.branch.Filter(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	s.await(s.router, "c1", "up without a reason", 5*time.Second, upWith(""))
	c.AdminStateUp = false
	s.set(testSpec(s.router, c))
	s.measured("c1", "not probed", 5*time.Second, func(st vpn.Statistics) bool { return st.Probe == nil && st.EstablishedAt == nil && len(st.SAs) == 0 })
}

func TestProbeIPv6(t *testing.T) {
	t.Parallel()
	const router = "4ea17406-1111-4111-8111-111111111111"
	needRoot(t)
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	c := testConnection("c1")
	c.Local, c.Peer, c.ProbeAddress = prefixes("2001:db8:1::/64"), prefixes("2001:db8:2::/64"), netip.MustParseAddr("2001:db8:2::1")
	spec := testSpec(router, c)
	spec.Internal = nil // so that an address on lo stands in
	b := startBranch(t, lab.Config{Name: "b-4ea17406", Bridge: BridgeName(spec.External.Network), Address: prefixes("192.0.2.2/24"),
		LAN: addrs("2001:db8:2::1"), RunDir: tempDir(t), Swanctl: branchSwanctl(testPSK, child("net", "2001:db8:2::/64", "2001:db8:1::/64"))})
	f := newFixture(t, runDir, quickly)
	f.set(spec)
	f.awaitUp(router, "c1")
	got := f.measured("c1", "probed", 5*time.Second, func(st vpn.Statistics) bool {
		return st.Probe != nil && st.Probe.Received >= 2 && st.Probe.LargestSeen == c.MTU
	})
	if got.Probe.Source != "2001:db8:1::1" {
		t.Errorf("probed from %s", got.Probe.Source)
	}
	if err := b.Filter(t.Context(), []string{"ip length > 1440 drop"}, nil); err != nil {
		t.Fatal(err)
	}
	hole := f.await(router, "c1", "warned of", 15*time.Second, upWith("mtu_black_hole")).Reason
	t.Logf("IPv6: %s; %s; %s", hole.Ours, hole.Theirs, hole.Hint)
	if err := b.Filter(t.Context(), []string{"ip length > 1200 drop"}, nil); err != nil {
		t.Fatal(err)
	}
	f.await(router, "c1", "told that IPv6 needs more", 15*time.Second, func(c vpn.ConnectionReport) bool {
		return upWith("mtu_black_hole")(c) && strings.HasPrefix(c.Reason.Hint, "IPv6 needs 1280 bytes")
	})
}
