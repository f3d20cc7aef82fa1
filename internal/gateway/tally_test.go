package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"culvert/internal/vpn"
)

// The sums over rekeys: the old SA shows less than before, goes, and the new one begins at 0.
func TestTallyOverARekey(t *testing.T) {
	var got tally
	sa := func(key string, in, out uint64) reading {
		return reading{key: key, usage: usage{BytesIn: 100 * in, PacketsIn: in, BytesOut: 100 * out, PacketsOut: out}}
	}
	for _, step := range []struct {
		name string
		list []reading
		in   uint64
		out  uint64
	}{
		{"first", []reading{sa("1", 3, 5)}, 3, 5},
		{"more", []reading{sa("1", 4, 9)}, 4, 9},
		{"the same", []reading{sa("1", 4, 9)}, 4, 9},
		{"rekeyed: the old one shows no bytes out", []reading{sa("1", 6, 0), sa("2", 1, 2)}, 7, 11},
		{"the old one went", []reading{sa("2", 2, 4)}, 8, 13},
		{"it comes back, as after a list that left it out", []reading{sa("1", 6, 9), sa("2", 2, 4)}, 8, 13},
		{"another charon counts its SAs from 1 again, with other SPIs", []reading{sa("1/other", 1, 1)}, 9, 14},
	} {
		got.add(step.list)
		got.forget(step.list)
		if got.In.Packets != step.in || got.Out.Packets != step.out || got.In.Bytes != 100*step.in || got.Out.Bytes != 100*step.out {
			t.Errorf("%s: in %+v out %+v, want %d and %d packets", step.name, got.In, got.Out, step.in, step.out)
		}
	}
	for range forgetAfter {
		got.forget([]reading{sa("2", 0, 0)})
	}
	if _, ok := got.SAs["1/other"]; !ok || len(got.SAs) != 2 {
		t.Errorf("after %d lists without it: %v", forgetAfter, got.SAs)
	}
	if got.forget([]reading{sa("2", 0, 0)}); len(got.SAs) != 1 {
		t.Errorf("an SA that is gone for good is remembered: %v", got.SAs)
	}
}

// Whatever charon shows, sums never go backwards, and without losses of what it shows they are exact.
func TestTallyNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum tally
		var want, next uint64
		live := map[string]uint64{}
		for range rapid.IntRange(1, 40).Draw(t, "lists") {
			if rapid.IntRange(0, 4).Draw(t, "rekey") == 0 || len(live) == 0 {
				next++
				live[string(rune('a'+next))] = 0
			}
			var list []reading
			for key := range live {
				more := rapid.Uint64Range(0, 9).Draw(t, "more")
				live[key] += more
				want += more
				shown := live[key]
				if rapid.IntRange(0, 9).Draw(t, "shows nothing") == 0 {
					shown = 0
				}
				list = append(list, reading{key: key, usage: usage{PacketsOut: shown}})
			}
			before := sum.Out.Packets
			sum.add(list)
			if sum.Out.Packets < before {
				t.Fatalf("%d after %d", sum.Out.Packets, before)
			}
		}
		var last []reading
		for key, n := range live {
			last = append(last, reading{key: key, usage: usage{PacketsOut: n}})
		}
		if sum.add(last); sum.Out.Packets != want {
			t.Fatalf("%d packets, want %d", sum.Out.Packets, want)
		}
	})
}

func TestOneWay(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type look struct {
		after   int // seconds
		in, out uint64
		want    string
	}
	for name, looks := range map[string][]look{
		"both ways":                      {{5, 10, 10, ""}, {10, 30, 30, ""}, {15, 60, 60, ""}, {20, 90, 90, ""}},
		"idle":                           {{5, 0, 0, ""}, {60, 0, 0, ""}},
		"out alone":                      {{5, 0, 5, ""}, {10, 0, 15, ""}, {15, 0, 25, vpn.TrafficOut}, {20, 0, 25, vpn.TrafficOut}, {25, 1, 26, ""}},
		"out, but few":                   {{5, 0, 3, ""}, {20, 0, 6, ""}, {60, 0, 9, ""}, {65, 0, 10, vpn.TrafficOut}},
		"out, a burst after a long rest": {{600, 0, 500, ""}, {605, 0, 500, ""}, {610, 0, 500, vpn.TrafficOut}},
		"it stopped coming back":         {{5, 10, 10, ""}, {10, 10, 20, ""}, {15, 10, 30, ""}, {20, 10, 40, vpn.TrafficOut}, {25, 10, 40, vpn.TrafficOut}, {30, 11, 40, ""}, {35, 11, 45, ""}},
		"in alone":                       {{5, 20, 0, ""}, {10, 40, 0, ""}, {15, 60, 0, vpn.TrafficIn}, {20, 60, 1, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var w watch
			w.restart(seen{})
			for _, l := range looks {
				if got := w.look(seen{l.in, l.in, l.out}, start.Add(time.Duration(l.after)*time.Second)); got != l.want {
					t.Errorf("after %d s with %d in and %d out: %q, want %q", l.after, l.in, l.out, got, l.want)
				}
			}
		})
	}
}

func TestTraffic(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	recent, old := now.Add(-time.Second), now.Add(-time.Hour)
	for _, c := range []struct {
		in, out time.Time
		want    string
	}{{time.Time{}, time.Time{}, vpn.TrafficNone}, {old, old, vpn.TrafficNone}, {recent, recent, vpn.TrafficBoth}, {recent, old, vpn.TrafficIn}, {old, recent, vpn.TrafficOut}} {
		got := (&tally{In: flow{Last: c.in}, Out: flow{Last: c.out}}).traffic(now)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("in %s, out %s: %s", c.in, c.out, diff)
		}
	}
}

// Echo requests of our own that nobody answers are no one-way traffic: a host that does not answer pings is no broken path. Nor are
// their answers, where nothing else passes.
func TestOneWayLeavesProbesAside(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		what     string
		answered bool
		in, out  uint64 // packets a look that are not the probe's
		warned   string // a word of the reason; "": none
	}{
		{"nothing else, unanswered", false, 0, 0, ""},
		{"nothing else, answered", true, 0, 0, ""},
		{"others' go out, the probe is not answered", false, 0, 2, "leave"},
		{"others' go out, the probe is answered: the way back is there", true, 0, 2, ""},
		{"others' come in, the probe is answered", true, 2, 0, "come"},
		{"others' both ways", true, 2, 2, ""},
	} {
		g := &gauge{}
		var why *vpn.Reason
		for look := range uint64(20) {
			g.probes.requests.Add(3)
			in := look * c.in
			if c.answered {
				g.probes.answers.Add(3)
				in += look * 3 // charon has not counted the newest yet
			}
			one := &measurement{readings: []reading{{key: "1", usage: usage{PacketsOut: look * (3 + c.out), PacketsIn: in}}}, since: start}
			why = g.take(one, start, start.Add(time.Duration(look)*5*time.Second))
		}
		if got := why != nil; got != (c.warned != "") || got && !strings.Contains(why.Summary, c.warned) {
			t.Errorf("%s: %+v, want %q", c.what, why, c.warned)
		}
	}
}
