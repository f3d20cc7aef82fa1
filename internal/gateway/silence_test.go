package gateway

import (
	"testing"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// The lines are charon's own (5.9.8).
func TestSilence(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := silence{}
	line := func(id, msg string, after time.Duration) {
		s.note(vici.NewMessage().Set("ikesa-name", "c"+id).Set("ikesa-uniqueid", id).Set("msg", msg), start.Add(after))
	}
	line("1", "sending DPD request", 0)
	line("1", "generating INFORMATIONAL request 7 [ ]", 0)
	if len(s) != 0 {
		t.Errorf("a request that was just sent is silence: %v", s)
	}
	line("1", "retransmit 1 of request with message ID 7", time.Second)
	line("1", "retransmit 2 of request with message ID 7", 2500*time.Millisecond)
	line("2", "retransmit 4 of request with message ID 0", 8125*time.Millisecond)
	line("3", "sending retransmit 1 of request message ID 0, seq 1", time.Second)
	line("4", "received retransmit of request with ID 3, retransmitting response", time.Second)
	for id, repeats := range map[string]int{"1": 2, "2": 4, "3": 1} {
		if r := s[id]; r.connection != "c"+id || !r.sent.Equal(start) || r.repeats != repeats {
			t.Errorf("IKE_SA %s: %+v, want sent at %s, repeated %d times", id, r, start, repeats)
		}
	}
	line("2", "parsed IKE_SA_INIT response 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) ]", 9*time.Second)
	line("1", "parsed INFORMATIONAL request 2 [ ]", 9*time.Second)
	if _, waits := s["2"]; waits || len(s) != 2 {
		t.Errorf("after an answer: %v", s)
	}
	line("1", "retransmit 1 of request with message ID 8", 21*time.Second)
	if r := s["1"]; !r.sent.Equal(start.Add(20 * time.Second)) {
		t.Errorf("the next request: %+v", r)
	}
}

// charon repeats for longer than any dpd.timeout may be.
func TestRepeated(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 0, 1: time.Second, 2: 2500 * time.Millisecond, 4: 8125 * time.Millisecond} {
		if got := repeated(n); got != want {
			t.Errorf("repetition %d comes after %s, want %s", n, got, want)
		}
	}
	if repeated(3) >= firstPatience || firstPatience >= repeated(4) { // what was just sent may be answered
		t.Errorf("a first exchange is given up after %s, want that between %s and %s", firstPatience, repeated(3), repeated(4))
	}
	if got := repeated(repeatTries + 1); got < 86400*time.Second {
		t.Errorf("charon gives up after %s, before the longest dpd.timeout", got)
	}
}

func TestPatience(t *testing.T) {
	for _, tt := range []struct {
		what        string
		established bool
		version     string
		dpd         vpn.DPDSpec
		want        time.Duration
	}{
		{"first exchange", false, "v2", vpn.DPDSpec{Action: "hold", Interval: 30, Timeout: 120}, firstPatience},
		{"dpd.timeout", true, "v2", vpn.DPDSpec{Action: "hold", Interval: 30, Timeout: 120}, 120 * time.Second},
		{"IKEv1", true, "v1", vpn.DPDSpec{Action: "hold", Interval: 30, Timeout: 120}, firstPatience},
		{"no DPD", true, "v2", vpn.DPDSpec{Action: "disabled", Interval: 30, Timeout: 5}, plainPatience},
	} {
		c := &connection{established: tt.established, spec: vpn.ConnectionSpec{IKE: vpn.IKESpec{Version: tt.version}, DPD: tt.dpd}}
		if got := c.patience(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}

// The dpd action follows from the peer's silence, whatever explains it best.
func TestDeadPeerForAnyReason(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for action, parked := range map[string]bool{"hold": true, "clear": true, "restart": false, "restart-by-peer": false, "disabled": false} {
		spec := testConnection("c1")
		spec.DPD.Action = action
		cfg, err := configure(spec, Userland, marker("salt"))
		if err != nil {
			t.Fatal(err)
		}
		c := &connection{spec: spec, cfg: cfg, loaded: true}
		up := []ikeSA{{id: "1", state: "ESTABLISHED", children: []childSA{{name: cfg.children[0], state: "INSTALLED"}}}}
		c.see(up, up, now, 0)
		c.note(finding{certain: true, Reason: reason("peer_not_listening", "theirs", "liveness", "nobody there", "")}, now)
		c.note(finding{certain: true, generic: true, Reason: peerDead()}, now.Add(time.Second))
		c.see(nil, nil, now.Add(2*time.Second), 0)
		if c.parked != parked || c.try.wanted == parked || !c.deadPeer() || c.reason == nil {
			t.Errorf("%s: parked %t, to be initiated %t, reason %+v", action, c.parked, c.try.wanted, c.reason)
		}
		c.see(up, up, now.Add(3*time.Second), 0)
		c.note(finding{certain: true, Reason: peerDeleted.Reason}, now.Add(4*time.Second))
		c.see(nil, nil, now.Add(4*time.Second), 0)
		if c.parked || !c.try.wanted || c.deadPeer() {
			t.Errorf("%s: after a DELETE of the peer: parked %t", action, c.parked)
		}
	}
}
