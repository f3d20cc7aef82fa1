package gateway

import (
	"strings"
	"testing"
	"time"
)

// The routes to the peer's networks have the connection's mtu, a change of it is no affair of the SAs, and rekeying keeps it.
func TestRouteMTU(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaac3-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	c := testConnection("c1")
	c.MTU = 1300
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	routes := func(want string, there bool) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			got := output(t, "ip", "-n", NamespaceName(s.router), "route", "show", "table", "220")
			if strings.Contains(got, "10.2.0.0/24") && strings.Contains(got, want) == there {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("charon's routes: %s; %q wanted: %t", got, want, there)
			}
		}
	}
	routes("mtu lock 1300", true)
	spis, writes := s.settle(s.router, "c1"), s.Writes()
	routes("mtu lock 1300", true)
	c.MTU = 1280
	s.set(testSpec(s.router, c))
	routes("mtu lock 1280", true)
	c.MTU = 1500
	s.set(testSpec(s.router, c))
	routes("mtu", false)
	if now := s.spis(s.router, "c1"); now != spis || s.Writes() != writes {
		t.Errorf("another mtu: %d VICI writes, SPIs %s, before %s", s.Writes()-writes, now, spis)
	}
	s.ping("10.2.0.1")
}
