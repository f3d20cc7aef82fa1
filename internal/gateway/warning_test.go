package gateway

import (
	"testing"
	"time"

	"culvert/internal/vpn"
)

// Warnings stand on a connection that is up, the gravest first, and go with it.
func TestWarnings(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	installed := []ikeSA{{id: "1", state: "ESTABLISHED", children: []childSA{{name: "c1", state: "INSTALLED"}}}}
	spec := testConnection("c1")
	cfg, err := configure(spec, Userland, marker("salt"))
	if err != nil {
		t.Fatal(err)
	}
	c := &connection{spec: spec, cfg: cfg, loaded: true}
	c.waiting(start)
	expect := func(what, code, state string) {
		t.Helper()
		r := c.report()
		got := ""
		if r.Reason != nil {
			got = r.Reason.Code
		}
		if got != code || r.State != state {
			t.Errorf("%s: %s with %q, want %s with %q", what, r.State, got, state, code)
		}
	}
	c.see(installed, installed, start, 0)
	expect("up", "", vpn.StateUp)
	c.warn(reason("ts_narrowed", "theirs", "child", "less", ""), start)
	expect("one", "ts_narrowed", vpn.StateUp)
	c.warn(reason("one_way_traffic", "path", "liveness", "nothing comes back", ""), start)
	expect("a graver one", "one_way_traffic", vpn.StateUp)
	c.warn(reason("one_way_traffic", "path", "liveness", "still nothing", ""), start.Add(time.Second))
	if c.reason.FirstSeen == c.reason.LastSeen || c.reason.Summary != "still nothing" || len(c.warnings) != 2 {
		t.Errorf("said again: %+v of %d", c.reason, len(c.warnings))
	}
	c.see(installed, installed, start, 0)
	expect("seen again", "one_way_traffic", vpn.StateUp)
	c.clearWarning("one_way_traffic")
	expect("one taken back", "ts_narrowed", vpn.StateUp)
	c.see(nil, nil, start, 0)
	expect("down", "sa_lost", vpn.StateDown)
	c.see(installed, installed, start, 0)
	expect("up again", "", vpn.StateUp)
}
