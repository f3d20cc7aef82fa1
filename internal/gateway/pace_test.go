package gateway

import (
	"fmt"
	"testing"
	"time"

	"culvert/internal/vpn"
)

func TestDuePaces(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	conns := map[string]*connection{}
	for i := range 20 {
		c := &connection{spec: testConnection(fmt.Sprint("c", i)), try: attempt{wanted: true, next: now}}
		c.spec.PeerAddress = fmt.Sprintf("192.0.2.%d", i%2)
		c.spec.PeerID = fmt.Sprintf("peer-%d", i)
		conns[c.spec.ID] = c
	}
	begin := func() (started int) {
		start, _, _ := due(conns, now)
		for _, c := range start {
			c.try.started = now
		}
		return len(start)
	}
	if n := begin(); n != 2*maxInFlight {
		t.Fatalf("%d initiations at once to two addresses, want %d", n, 2*maxInFlight)
	}
	if n := begin(); n != 0 {
		t.Fatalf("%d more while all are in flight", n)
	}
	for _, c := range conns {
		if c.try.inFlight() {
			c.try.fail(now, 0.5)
			break
		}
	}
	if n := begin(); n != 1 {
		t.Fatalf("%d after one failed, want 1", n)
	}
	_, overdue, _ := due(conns, now.Add(attemptLimit))
	if len(overdue) != 2*maxInFlight {
		t.Errorf("%d attempts have run out, want %d", len(overdue), 2*maxInFlight)
	}
}

func TestDueGreetsOnce(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	conns := map[string]*connection{}
	for _, id := range []string{"a", "b", "c"} { // the same two gateways
		conns[id] = &connection{spec: testConnection(id), try: attempt{wanted: true}}
	}
	first, _, _ := due(conns, now)
	if len(first) != 1 {
		t.Fatalf("%d first initiations between two gateways, want 1", len(first))
	}
	first[0].try.started = now
	if more, _, _ := due(conns, now); len(more) != 0 {
		t.Fatalf("%d more before the first is established", len(more))
	}
	first[0].established, first[0].state = true, vpn.StateUp
	first[0].try = attempt{}
	if rest, _, _ := due(conns, now); len(rest) != 2 {
		t.Errorf("%d after the first, want 2", len(rest))
	}
}

func TestBackoff(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var a attempt
	var got []time.Duration
	for range 8 {
		a.fail(now, 0.5)
		got = append(got, a.next.Sub(now))
	}
	want := []time.Duration{1, 2, 4, 8, 16, 30, 30, 30}
	for i := range want {
		if got[i] != want[i]*time.Second {
			t.Errorf("pause %d is %s, want %ds", i, got[i], want[i])
		}
	}
	a.fail(now, 0)
	low := a.next.Sub(now)
	a.fail(now, 1)
	if low != 24*time.Second || a.next.Sub(now) != 36*time.Second {
		t.Errorf("jitter: %s to %s, want 24s to 36s", low, a.next.Sub(now))
	}
}

func TestPublisherCoalesces(t *testing.T) {
	p := newPublisher()
	for rev := range int64(100) {
		p.post(vpn.Report{Router: "a", Rev: rev})
		p.post(vpn.Report{Router: "b", Rev: rev})
	}
	last := map[string]int64{"a": -1, "b": -1}
	for n := 0; last["a"] != 99 || last["b"] != 99; n++ {
		r := <-p.out
		if r.Rev <= last[r.Router] {
			t.Fatalf("router %s: revision %d after %d", r.Router, r.Rev, last[r.Router])
		}
		if last[r.Router] = r.Rev; n > 10 {
			t.Fatal("a slow reader gets every report")
		}
	}
	close(p.stop)
	if _, open := <-p.out; open {
		t.Error("a report after the newest")
	}
}

// A Set may find that the SAs of an earlier configuration must end first while the session is about to initiate.
func TestDueAfterTheOutdated(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	spec := testConnection("c1")
	spec.IKE.Version, spec.IKE.Encryption = "v1", "aes-128"
	cfg, err := configure(spec, Userland, marker("salt"))
	if err != nil {
		t.Fatal(err)
	}
	c := &connection{spec: spec, cfg: cfg, loaded: true, state: vpn.StateUp}
	sas := []ikeSA{{id: "1", state: "ESTABLISHED", children: []childSA{{name: "c1-of-before", state: "INSTALLED"}}}}
	c.see(sas, sas, now, 0)
	if !c.outdated || !c.try.wanted {
		t.Fatalf("SAs of an earlier configuration: to be ended %t, wanted %t", c.outdated, c.try.wanted)
	}
	r := newRouter(&Gateway{}, "r")
	r.conns["c1"] = c
	if start, _, _ := due(r.conns, now); len(start) != 0 {
		t.Error("it is initiated before its old SAs have ended")
	}
	if len(r.outdated()) != 1 {
		t.Fatal("no SAs are to be ended")
	}
	if start, _, _ := due(r.conns, now); len(start) != 1 {
		t.Error("it is not initiated after its old SAs have ended")
	}
}
