package dataplane

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// victims are the processes that a kill run may end, by name: each ends with SIGKILL and is started again.
type victims map[string]victim

type victim struct{ kill, start func() }

// killTally is what came of the kills of one kind.
type killTally struct {
	times, edits, pings, lost, spis, writes int
	right                                   time.Duration // the longest until all statuses were right
}

// TestKills ends server and agent by SIGKILL at random moments of random edits, with pings running: connections that are
// not being edited lose no packet, keep their SAs and are not written about to charon; the statuses are right within 2 s.
func TestKills(t *testing.T) {
	t.Parallel()
	kills := 8
	if soak() {
		kills = 100
	}
	t.Run("one process", func(t *testing.T) {
		t.Parallel()
		s := sitetest.NewSite(t)
		killRun(t, newFleet(s, 8, 3), kills, victims{
			"server with its gateway": {func() { s.End(syscall.SIGKILL) }, func() { s.Start(); s.AwaitOutput("synced with the server", 10*time.Second) }},
		})
	})
	t.Run("apart", func(t *testing.T) {
		t.Parallel()
		a := newApart(t)
		a.startAgent()
		a.LayService()
		a.AwaitService("ACTIVE", "")
		a.StartHQ(sitetest.BridgeOf(a.LAN))
		killRun(t, newFleet(a.Site, 8, 3), kills, victims{
			"agent":            {func() { a.endAgent(syscall.SIGKILL) }, a.startAgent},
			"server":           {func() { a.End(syscall.SIGKILL) }, a.Start},
			"agent and server": {func() { a.endAgent(syscall.SIGKILL); a.End(syscall.SIGKILL) }, func() { a.Start(); a.startAgent() }},
		})
	})
}

func killRun(t *testing.T, f *fleet, kills int, list victims) {
	tallies := map[string]*killTally{}
	checks(t, kills, func(r *rapid.T) {
		who := rapid.SampledFrom(slices.Sorted(keys(list))).Draw(r, "who")
		if tallies[who] == nil {
			tallies[who] = &killTally{}
		}
		f.kill(r, list[who], who, tallies[who])
		if t.Failed() {
			r.FailNow()
		}
	})
	table := newTable("SIGKILL of", "times", "during an edit", "pings of the others", "lost", "SAs changed", "VICI writes", "statuses right after")
	for _, who := range slices.Sorted(keys(tallies)) {
		n := tallies[who]
		table.row(who, n.times, n.edits, n.pings, n.lost, n.spis, n.writes, n.right.Round(time.Millisecond))
	}
	t.Logf("kills; those of the others are connections that are not being edited:\n%s", table)
}

// kill makes an edit, or none, and ends a victim somewhere in it.
func (f *fleet) kill(r *rapid.T, v victim, who string, n *killTally) {
	var c change
	what := "no edit"
	if rapid.IntRange(0, 3).Draw(r, "edit") > 0 {
		what = rapid.SampledFrom(slices.Sorted(keys(changeKinds))).Draw(r, "kind")
		c = changeKinds[what](r, f, f.members[rapid.IntRange(0, len(f.members)-1).Draw(r, "member")])
		n.edits++
	}
	what = who + " killed, " + what
	defer func() {
		if f.T.Failed() {
			f.T.Logf("%s", what)
		}
	}()
	concerned := slices.Clone(c.members)
	others := f.others(concerned)
	sitetest.Poll(f.T, 15*time.Second, "all members are settled", func() bool { return len(f.settled(f.members)) == len(f.members) })
	before, log := f.stand(), f.logSize()
	if c.agree != nil {
		c.agree()
	}
	requests := f.requests(c)
	edited := make(chan struct{})
	go func() {
		defer close(edited)
		for _, q := range requests { // they may meet a dead server: they are made again
			_, _, _ = f.API.Do(f.T.Context(), "PUT", q.path, q.body())
		}
	}()
	time.Sleep(time.Duration(rapid.IntRange(0, 60).Draw(r, "ms after the edit")) * time.Millisecond)
	v.kill()
	<-edited
	time.Sleep(time.Duration(rapid.IntRange(0, 200).Draw(r, "ms dead")) * time.Millisecond)
	v.start()
	ready := time.Now()
	f.awaitActive(2*time.Second, others)
	n.right = max(n.right, time.Since(ready))
	for _, q := range requests {
		f.Call("PUT", q.path, q.body())
	}
	f.awaitActive(20*time.Second, f.members)
	f.account(what, others, len(concerned) > 0, before, log, n)
}

// account looks at what a kill has done to the others.
func (f *fleet) account(what string, others []*member, edited bool, before standing, log int64, n *killTally) {
	f.T.Helper()
	f.kept(what, others, before)
	now, sent := f.spis(), f.pings.settled()
	n.times++
	for _, m := range others {
		n.pings += sent[m.n] - before.sent[m.n]
		n.lost += f.pings.lost(m.n, before.sent[m.n], sent[m.n])
		if !slices.Equal(now[m.id], before.spis[m.id]) {
			n.spis++
		}
	}
	for _, line := range f.writes(log) {
		about := func(m *member) bool { return strings.Contains(line, m.id) }
		if !edited || slices.ContainsFunc(others, about) {
			n.writes++
			f.T.Errorf("%s: a VICI write about a connection that is not edited: %s", what, line)
		}
	}
}

// requests are those of a change; none for no change.
func (f *fleet) requests(c change) []request {
	if c.requests == nil {
		return nil
	}
	return c.requests()
}

func (f *fleet) logSize() int64 {
	f.T.Helper()
	info, err := os.Stat(f.RouterFile("charon.log"))
	if err != nil {
		f.T.Fatal(err)
	}
	return info.Size()
}

// writes are the lines of charon's log, from there on, that a VICI command which changes something leaves.
func (f *fleet) writes(from int64) (out []string) {
	f.T.Helper()
	text := f.CharonLog()
	for line := range strings.Lines(text[min(int64(len(text)), from):]) {
		for _, sign := range []string{"added vici", "updated vici", "replaced vici", "removed vici", "loaded IKE shared key", "unloaded", "vici initiate", "vici terminate", "vici rekey"} {
			if strings.Contains(line, sign) {
				out = append(out, strings.TrimSpace(line))
			}
		}
	}
	return out
}

// TestCharonKilled ends charon by SIGKILL under pings: the tunnels are back within 3 s, and the timeline says why they were
// gone.
func TestCharonKilled(t *testing.T) {
	t.Parallel()
	f := newFleet(sitetest.NewSite(t), 8, 3)
	table := newTable("kill", "all 8 tunnels answer again after", "ACTIVE after")
	for n := range 3 {
		pid := f.CharonPID()
		start := time.Now()
		f.KillCharon()
		sitetest.Poll(t, 5*time.Second, "another charon", func() bool { return f.CharonPID() != pid })
		another := time.Now()
		sitetest.Poll(t, 10*time.Second, "all branches answer again", func() bool { return f.pings.answerSince(another) })
		back := time.Since(start)
		f.awaitActive(10*time.Second, f.members)
		if active := time.Since(start); back > 3*time.Second || active > 3*time.Second {
			t.Errorf("the tunnels answer after %s and are ACTIVE after %s; want 3 s", back, active)
		} else {
			table.row(n+1, back.Round(time.Millisecond), active.Round(time.Millisecond))
		}
		for _, m := range f.members {
			f.toldOf(m, "charon_died", n+1)
		}
	}
	t.Logf("SIGKILL of charon:\n%s", table)
}

// toldOf waits until a connection's timeline tells so often of a reason.
func (f *fleet) toldOf(m *member, code string, times int) {
	f.T.Helper()
	sitetest.Poll(f.T, 5*time.Second, fmt.Sprintf("the timeline of member %d tells %d times of %s", m.n, times, code), func() bool {
		found := 0
		for _, e := range f.Call("GET", m.path()+"/events?limit=200", nil)["events"].([]any) {
			if why, ok := e.(client.Object)["status_reason"].(client.Object); ok && why["code"] == code {
				found++
			}
		}
		return found >= times
	})
}
