package gateway

import (
	"testing"
	"time"

	"culvert/internal/vpn"
)

// An attempt that the peer refuses is no IKE_SA that ended.
func TestRefusedAttemptEndsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4e4ea104-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	if err := s.branch.Load(t.Context(), "connections {\n}\n"); err != nil { // as a peer that has started and not read its configuration
		t.Fatal(err)
	}
	s.set(testSpec(s.router, testConnection("c1")))
	s.awaitReason(s.router, "c1", "no_proposal_chosen", "no_ike_config")
	if err := s.branch.Load(t.Context(), branchSwanctl(testPSK, netA)); err != nil {
		t.Fatal(err)
	}
	s.awaitUp(s.router, "c1")
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		events, _ := s.Events(0, 100)
		types := map[string]int{}
		for _, e := range events {
			types[e.Type]++
		}
		if types[vpn.EventIKEUp] == 1 && types[vpn.EventUp] == 1 {
			if types[vpn.EventIKEDown] > 0 {
				t.Errorf("events: %v", types)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("events: %v", types)
		}
	}
}
