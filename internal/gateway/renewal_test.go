package gateway

import (
	"testing"
	"time"

	"culvert/internal/vpn"
)

// TestDoubtDisturbsNothing has a gateway end between noting that it is about to tell charon something and noting that it
// did: the next one tells charon all again, and no SA is made anew.
func TestDoubtDisturbsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4e4ea101-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA, netB))
	a, b := testConnection("c1"), testConnection("c2")
	b.Peer = prefixes("10.3.0.0/24")
	spec := testSpec(s.router, a, b)
	s.set(spec)
	for _, id := range []string{"c1", "c2"} {
		s.awaitUp(s.router, id)
		s.settle(s.router, id)
	}
	spis := s.spis(s.router, "c1") + s.spis(s.router, "c2")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := readLoaded(folder(s.folderOf(s.router)))
	if err != nil {
		t.Fatal(err)
	}
	all := changes{}
	for id := range l.Conns {
		all.load = append(all.load, loading{cfg: &connConfig{id: id}})
	}
	if err := l.doubt(all); err != nil {
		t.Fatal(err)
	}
	next := newFixture(t, s.runDir)
	next.set(spec)
	for _, id := range []string{"c1", "c2"} {
		next.awaitUp(s.router, id)
	}
	if writes := next.Writes(); writes != 4 { // a key and a configuration each
		t.Errorf("%d VICI writes, want 4", writes)
	}
	if now := next.spis(s.router, "c1") + next.spis(s.router, "c2"); now != spis {
		t.Errorf("SPIs %s, before %s", now, spis)
	}
	s.ping("10.2.0.1")
	s.ping("10.3.0.1")
}

// TestRefusedRenewal changes what the peer does not agree to: the old SA is not kept for that; and what is our own affair
// is no reason to lose it.
func TestRefusedRenewal(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4e4ea102-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	c := testConnection("c1")
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	changed := c
	changed.ESP.Encryption = "aes-128"
	s.set(testSpec(s.router, changed))
	s.awaitReason(s.router, "c1", "child_proposal_mismatch")
	for deadline := time.Now().Add(2 * time.Second); s.spis(s.router, "c1") != "" && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	s.noPing("10.2.0.1")
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")

	if err := s.branch.Load(t.Context(), branchSwanctl("another key", netA)); err != nil {
		t.Fatal(err)
	}
	s.settle(s.router, "c1")
	spis := s.spis(s.router, "c1")
	c.DPD.Interval = 3 // takes a new IKE_SA, which the branch's key prevents
	s.set(testSpec(s.router, c))
	s.await(s.router, "c1", "up", 5*time.Second, func(r vpn.ConnectionReport) bool { return r.State == vpn.StateUp })
	if now := s.spis(s.router, "c1"); now != spis {
		t.Errorf("the peer would not renew: SPIs %s, before %s", now, spis)
	}
	s.ping("10.2.0.1")
}
