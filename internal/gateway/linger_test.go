package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/internal/vpn"
)

// TestLinger: what a Spec has no longer stays guarded for a while, then no more; a pair that comes back meanwhile stays.
func TestLinger(t *testing.T) {
	t.Parallel()
	const linger = 3 * time.Second
	s := newSite(t, "aaaaafa1-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), func(c *Config) { c.Linger = linger })
	a, b := testConnection("c1"), testConnection("c2")
	b.PeerAddress, b.PeerID, b.Initiate, b.Peer = "192.0.2.3", "192.0.2.3", false, prefixes("10.3.0.0/24", "10.4.0.0/24")
	s.set(testSpec(s.router, a, b))
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")

	less := b
	less.Peer = b.Peer[:1]
	begun := time.Now()
	s.set(testSpec(s.router, less))
	s.guarded("10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24")
	s.noPing("10.2.0.1")
	s.set(testSpec(s.router, a, less))
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")
	s.awaitUnguarded("10.4.0.0/24")
	if after := time.Since(begun); after < linger {
		t.Errorf("the guard of a network that an edit took away went after %s, want %s", after, linger)
	}
	s.guarded("10.2.0.0/24", "10.3.0.0/24") // that of the pair that came back did not go with it
	s.ping("10.2.0.1")

	s.set(testSpec(s.router))
	s.guarded("10.2.0.0/24", "10.3.0.0/24")
	s.awaitUnguarded("10.2.0.0/24")
	s.awaitUnguarded("10.3.0.0/24")
}

// guarded checks that the guard has rules for these networks.
func (s *site) guarded(networks ...string) {
	s.t.Helper()
	for _, n := range networks {
		if text := s.ruleset(); !strings.Contains(text, n) {
			s.t.Fatalf("the guard has no rule for %s:\n%s", n, text)
		}
	}
}

func (s *site) awaitUnguarded(network string) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); strings.Contains(s.ruleset(), network); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the guard still has rules for %s:\n%s", network, s.ruleset())
		}
	}
}

// TestLingering holds any sequence of Specs against what each pair went through: it is guarded while a Spec has it, and from
// then on until its time is over.
func TestLingering(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const linger = 30
		var l lingering
		start := time.Unix(1e9, 0)
		last := map[string]int{} // when a pair was last in a Spec
		for now := 0; now < 200; now += rapid.IntRange(1, 15).Draw(t, "pause") {
			var spec vpn.Spec
			for i := range 4 {
				if rapid.Bool().Draw(t, "there") {
					c := vpn.ConnectionSpec{Local: prefixes("10.1.0.0/24", "2001:db8:1::/64"), Peer: prefixes(fmt.Sprintf("10.%d.0.0/16", 10+i)), MTU: 1400}
					spec.Connections = append(spec.Connections, c)
				}
			}
			l.leave(spec)
			l.count(start.Add(time.Duration(now+linger) * time.Second))
			for p := range pairsOf(spec) {
				last[p.peer.String()] = now
			}
			l.drop(start.Add(time.Duration(now) * time.Second))
			held := pairsOf(l.with(spec))
			for peer, at := range last {
				if _, got := held[pair{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix(peer)}]; !got && now-at < linger {
					t.Fatalf("at %d: %s is not held, and was in a Spec at %d", now, peer, at)
				}
			}
			for p := range held {
				if _, known := last[p.peer.String()]; !known {
					t.Fatalf("at %d: %v is held and was in no Spec", now, p)
				}
			}
			if next := l.next(); len(l.gone) > 0 && (!next.After(start.Add(time.Duration(now)*time.Second)) || next.After(start.Add(time.Duration(now+linger)*time.Second))) {
				t.Fatalf("at %d: the next goes at %d", now, next.Unix()-start.Unix())
			}
		}
	})
}

// TestLingeringIsBounded edits a large Spec again and again.
func TestLingeringIsBounded(t *testing.T) {
	var l lingering
	for i := range 50 {
		c := vpn.ConnectionSpec{Local: prefixes("10.0.0.0/24")}
		for j := range 100 {
			c.Peer = append(c.Peer, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(i), byte(j), 0}), 24))
		}
		l.leave(vpn.Spec{Connections: []vpn.ConnectionSpec{c}})
		l.count(time.Unix(int64(i), 0))
	}
	if len(l.gone) != maxLingering || l.gone[0].until.Unix() != 50-maxLingering/100 {
		t.Errorf("%d pairs linger, the oldest until %d; want the newest %d", len(l.gone), l.gone[0].until.Unix(), maxLingering)
	}
}
