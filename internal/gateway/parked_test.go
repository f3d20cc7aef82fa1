package gateway

import (
	"testing"
	"time"

	"culvert/internal/vpn"
)

// TestParkedStaysParked has a gateway end while connections are parked by the dpd actions hold and clear: the next one does
// not initiate them either, and gives the same reason; what ended the parking ends it then, too.
func TestParkedStaysParked(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4e4ea103-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA, netB))
	hold, clear := testConnection("c1"), testConnection("c2")
	hold.DPD, clear.DPD = vpn.DPDSpec{Action: actionHold, Interval: 1, Timeout: 2}, vpn.DPDSpec{Action: actionClear, Interval: 1, Timeout: 2}
	clear.Peer = prefixes("10.3.0.0/24")
	spec := testSpec(s.router, hold, clear)
	s.set(spec)
	for _, id := range []string{"c1", "c2"} {
		s.awaitUp(s.router, id)
		s.settle(s.router, id)
	}
	if err := s.branch.KillCharon(); err != nil {
		t.Fatal(err)
	}
	before := map[string]vpn.Reason{}
	for _, id := range []string{"c1", "c2"} {
		before[id] = *s.await(s.router, id, "down for a silent peer", 15*time.Second, silentPeer).Reason
	}
	s.awaitParked(2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	next := newFixture(t, s.runDir)
	next.set(spec)
	for id, was := range before {
		if is := *next.await(s.router, id, "down for a silent peer", 5*time.Second, silentPeer).Reason; is.Code != was.Code || is.FirstSeen != was.FirstSeen || is.Hint != was.Hint {
			t.Errorf("%s is down for %+v, before the restart for %+v", id, is, was)
		}
	}
	next.stays(2*time.Second, func() bool { return next.Writes() == 0 })

	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	s.noPing("10.2.0.1") // meets the guard while no gateway runs
	s.noPing("10.3.0.1")
	third := newFixture(t, s.runDir)
	third.set(spec)
	third.initiates(s.router, "c1")
	third.stays(time.Second, func() bool { return !third.wanted(s.router, "c2") })
	spec.Connections[1].DPD.Action = "restart"
	third.set(spec)
	third.initiates(s.router, "c2")
	if err := s.branch.StartCharon(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, lan := range map[string]string{"c1": "10.2.0.1", "c2": "10.3.0.1"} {
		third.awaitUp(s.router, id)
		s.ping(lan)
	}
	s.awaitParked(0)
}

func silentPeer(c vpn.ConnectionReport) bool {
	return c.State == vpn.StateDown && c.Reason != nil && isDead(c.Reason.Code)
}

// awaitParked waits until so many connections are noted as parked.
func (s *site) awaitParked(n int) {
	s.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err := readLoaded(folder(s.folderOf(s.router)))
		if err != nil {
			s.t.Fatal(err)
		}
		if len(l.Parked) == n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("noted as parked: %v, want %d", l.Parked, n)
		}
	}
}

// stays fails where something is not so for all of a time.
func (f *fixture) stays(long time.Duration, so func() bool) {
	f.t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !so() {
			f.t.Fatal("a parked connection is initiated")
		}
	}
}

// wanted tells whether a connection is to be initiated.
func (f *fixture) wanted(router, id string) bool {
	r := f.find(router)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[id].try.wanted
}

func (f *fixture) initiates(router, id string) {
	f.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !f.wanted(router, id); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("connection %s is not initiated", id)
		}
	}
}
