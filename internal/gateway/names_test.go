package gateway

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"culvert/internal/vpn"
)

// hosts is a resolver of a test's own: what it does not know takes until the look-up's limit.
type hosts struct {
	mu    sync.Mutex
	known map[string][]netip.Addr
}

func (h *hosts) set(name string, a ...netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[name] = a
}

func (h *hosts) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	h.mu.Lock()
	a, ok := h.known[name]
	h.mu.Unlock()
	if ok && a == nil {
		return nil, errors.New("no such host")
	}
	if ok {
		return append([]netip.Addr{}, a...), nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A peer whose name cannot be resolved holds up nobody, and comes up once its name resolves; a restart needs no resolver.
func TestPeerByName(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaabc7-7777-4777-8777-777777777777", branchSwanctl(testPSK, netA, netB))
	resolver := &hosts{known: map[string][]netip.Addr{"gone.example.net": nil}}
	s.names.lookup = resolver.lookup
	silent, gone, late := testConnection("silent"), testConnection("gone"), testConnection("late")
	silent.PeerAddress, gone.PeerAddress, late.PeerAddress = "silent.example.net", "gone.example.net", "late.example.net"
	silent.Peer, gone.Peer = prefixes("10.8.0.0/24"), prefixes("10.9.0.0/24")
	late.Peer = prefixes("10.3.0.0/24")
	start := time.Now()
	spec := testSpec(s.router, testConnection("c1"), silent, gone, late)
	s.set(spec)
	s.awaitUp(s.router, "c1")
	if took := time.Since(start); took > lookUpLimit {
		t.Errorf("the good connection waited %s for the others' names", took)
	}
	s.awaitReason(s.router, "silent", "peer_resolving", "peer_unresolved")
	if why := s.awaitReason(s.router, "gone", "peer_unresolved"); why.Phase != "resolve" || why.Hint == "" {
		t.Errorf("%+v", why)
	}
	resolver.set("late.example.net", netip.MustParseAddr("192.0.2.2"))
	s.awaitUp(s.router, "late")
	s.ping("10.3.0.1")

	spis := s.spis(s.router, "late")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := newFixture(t, s.runDir)
	next.names.lookup = (&hosts{}).lookup // none that answers
	next.set(spec)
	next.awaitUp(s.router, "late")
	if got := next.spis(s.router, "late"); got != spis || next.Writes() != 0 {
		t.Errorf("a restart without a resolver: %d writes, SPIs %s, want none and %s", next.Writes(), got, spis)
	}
}

// A peer that moves is found at its new address before a minute is over: an attempt that failed has its name looked up again.
func TestPeerMoves(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaabc8-8888-4888-8888-888888888888", branchSwanctl(testPSK, netA))
	resolver := &hosts{known: map[string][]netip.Addr{"moves.example.net": {netip.MustParseAddr("192.0.2.9")}}}
	s.names.lookup = resolver.lookup
	c := testConnection("c1")
	c.PeerAddress = "moves.example.net"
	s.set(testSpec(s.router, c))
	s.awaitReason(s.router, "c1", "peer_unreachable")
	resolver.set("moves.example.net", netip.MustParseAddr("192.0.2.2"))
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")
}

// However often a peer fails, its name is looked up once in 5 s at most, and once a minute when it does not.
func TestPaceOfLookUps(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	n := newNames(func() time.Time { return now })
	n.lookup = (&hosts{known: map[string][]netip.Addr{"a": {netip.MustParseAddr("192.0.2.2")}, "b": {netip.MustParseAddr("192.0.2.3")}}}).lookup
	n.known["a"], n.known["b"] = &resolution{}, &resolution{}
	asked := map[string]int{}
	failed := map[string]time.Time{"a": {}, "b": {}}
	for start := now; now.Sub(start) < time.Minute; now = now.Add(time.Second) {
		failed["a"] = now
		n.use(failed)
		for _, name := range n.due() {
			asked[name]++
			n.resolve(t.Context(), name)
		}
	}
	if asked["a"] != 12 || asked["b"] != 1 {
		t.Errorf("look-ups in a minute: %v, want 12 of a peer that fails all the time, 1 of one that does not", asked)
	}
	n.use(map[string]time.Time{"b": {}})
	if n.known["a"] != nil || n.known["b"] == nil {
		t.Errorf("known: %v, want b alone", n.known)
	}
}

func TestAddressOfAName(t *testing.T) {
	a, b, six := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3"), netip.MustParseAddr("2001:db8::2")
	c := vpn.ConnectionSpec{LocalAddress: netip.MustParseAddr("192.0.2.1"), PeerAddress: "peer.example.net"}
	for _, x := range []struct {
		what  string
		known *resolution
		using netip.Addr
		keep  bool
		want  netip.Addr
		code  string
	}{
		{what: "never looked up", code: "peer_resolving"},
		{what: "never looked up, in use before a restart", using: a, want: a},
		{what: "failed", known: &resolution{err: errors.New("x")}, code: "peer_unresolved"},
		{what: "failed, in use", known: &resolution{err: errors.New("x")}, using: a, want: a},
		{what: "another family alone", known: &resolution{addrs: []netip.Addr{six}}, code: "peer_unresolved"},
		{what: "the first that fits", known: &resolution{addrs: []netip.Addr{six, a, b}}, want: a},
		{what: "the one in use stays", known: &resolution{addrs: []netip.Addr{a, b}}, using: b, want: b},
		{what: "the one in use has gone", known: &resolution{addrs: []netip.Addr{a}}, using: b, want: a},
		{what: "the one in use has gone, but carries a tunnel", known: &resolution{addrs: []netip.Addr{a}}, using: b, keep: true, want: b},
	} {
		n := newNames(time.Now)
		if x.known != nil {
			n.known[c.PeerAddress] = x.known
		}
		got, why := n.address(c, x.using, x.keep)
		code := ""
		if why != nil {
			code = why.Code
		}
		if got != x.want || code != x.code {
			t.Errorf("%s: %s %s, want %s %s", x.what, got, code, x.want, x.code)
		}
	}
}

// A name that leads to the gateway itself, or to no single host, is as good as none.
func TestNamesLeadToOtherSites(t *testing.T) {
	n := newNames(time.Now)
	n.lookup = (&hosts{known: map[string][]netip.Addr{
		"bad.example.net": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:127.0.0.1"),
			netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("fe80::1")},
		"mixed.example.net": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.2")},
	}}).lookup
	for name, want := range map[string]netip.Addr{"bad.example.net": {}, "mixed.example.net": netip.MustParseAddr("192.0.2.2")} {
		n.known[name] = &resolution{}
		n.resolve(t.Context(), name)
		got, why := n.address(vpn.ConnectionSpec{LocalAddress: netip.MustParseAddr("192.0.2.1"), PeerAddress: name}, netip.Addr{}, false)
		if got != want || (why == nil) != want.IsValid() {
			t.Errorf("%s: %s %+v, want %s", name, got, why, want)
		}
	}
}
