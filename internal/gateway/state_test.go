package gateway

import (
	"testing"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// TestListOlderThanEvent has an SA come, or go, between the moment when a list was made and that when it is taken in: what the
// session has heard meanwhile counts, for no other event would follow.
func TestListOlderThanEvent(t *testing.T) {
	p := newTold(t, testConnection("c1"))
	c, s := p.conns["c1"], &session{}
	event := vici.NewMessage().Set("up", "yes").SetSection("c1", vici.NewMessage().Set("uniqueid", "1").Set("state", "ESTABLISHED").
		SetSection("child-sas", vici.NewMessage().SetSection("1", vici.NewMessage().Set("name", c.cfg.children[0]).Set("state", "INSTALLED"))))
	with, without := map[string][]ikeSA{}, map[string][]ikeSA{}
	readSAs(with, event)
	expect := func(what, state string) {
		t.Helper()
		if c.state != state {
			t.Errorf("%s: %s, want %s", what, c.state, state)
		}
	}

	before := p.sighted()
	if !p.seeInstalled("c1", event) {
		t.Fatal("the event says nothing")
	}
	p.seeAll(s, without, before)
	expect("up, and an older list without it", vpn.StateUp)
	before = p.sighted()
	p.see("c1", without)
	p.seeAll(s, with, before)
	expect("down, and an older list with it", vpn.StateDown)
	p.seeAll(s, with, p.sighted())
	expect("a newer list with it", vpn.StateUp)
	p.seeAll(s, without, p.sighted())
	expect("a newer list without it", vpn.StateDown)
}

// TestHalfMade: with IKEv1 one end may have a CHILD_SA that the other dropped while it was made; the lines are those of
// strongSwan 5.9.8.
func TestHalfMade(t *testing.T) {
	const told, missed = "<c1|1> received UNSUPPORTED_CRITICAL_PAYLOAD error notify", "<c1|1> sa payload missing"
	for _, tt := range []struct {
		what, version, line string
		up, redo            bool
	}{
		{"the peer says so", "v1", told, true, true},
		{"the peer says so, and another pair is missing", "v1", told, false, true},
		{"we have noticed", "v1", missed, false, true},
		{"a repeated message", "v1", missed, true, false},
		{"IKEv2 has no Quick Mode", "v2", told, true, false},
	} {
		spec := testConnection("c1")
		spec.IKE.Version = tt.version
		p := newTold(t, spec)
		c := p.conns["c1"]
		if p.up("c1"); !tt.up {
			c.down(vpn.StateDown, connecting(), p.now)
		}
		c.settle()
		p.hear(tt.line)
		if redo := len(p.restarts) == 1; redo != tt.redo || redo == (c.state == vpn.StateUp) || redo == c.loaded || redo && c.try.wanted {
			t.Errorf("%s: to be set up anew: %v, want %v; %s, loaded %v, wanted %v", tt.what, p.restarts, tt.redo, c.state, c.loaded, c.try.wanted)
		}
		if !tt.redo {
			continue
		}
		p.restarted("c1")
		start, _, _ := due(p.conns, p.now)
		if later, _, _ := due(p.conns, p.now.Add(firstBackoff*2)); len(start) != 0 || len(later) != 1 {
			t.Errorf("%s: initiated again at once: %d, later: %d", tt.what, len(start), len(later))
		}
	}
}
