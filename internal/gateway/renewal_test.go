package gateway

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/internal/vici"
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

// TestEndedAttemptSaysNothing changes a connection while its attempt is not answered, which ends that attempt: when the peer
// would have been given up, the tunnel that was made since is no dead peer's. Its next loss has no cause, and is not parked.
func TestEndedAttemptSaysNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4e4ea106-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	drop := func(rules ...string) {
		if err := s.branch.Filter(t.Context(), rules, nil); err != nil {
			t.Fatal(err)
		}
	}
	drop("udp dport 500 drop")
	c := testConnection("c1")
	c.DPD = vpn.DPDSpec{Action: actionClear, Interval: 1, Timeout: 3}
	s.set(testSpec(s.router, c))
	attempt := time.Now()
	log := func() string {
		text, err := os.ReadFile(folder(s.folderOf(s.router)).log())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(log(), "retransmit 1 of request"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the attempt is not repeated:\n%s", log())
		}
	}
	drop()
	c.ESP.Lifetime = 3000
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	r := s.find(s.router)
	cause := func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.conns["c1"].cause.Code
	}
	for end := attempt.Add(firstPatience + time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got := cause(); isDead(got) {
			t.Fatalf("a tunnel that stands would be lost for %s", got)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := vici.Dial(ctx, folder(s.folderOf(s.router)).socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := s.spis(s.router, "c1")
	if _, err := conn.Call(ctx, "terminate", vici.NewMessage().Set("ike", "c1").Set("force", "yes").Set("timeout", "-1")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s.spis(s.router, "c1") == before || s.spis(s.router, "c1") == ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the tunnel is not made again after a loss without a cause")
		}
	}
	s.awaitUp(s.router, "c1")
}
