package dataplane

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/sitetest"
	"culvert/internal/vici"
)

// points is a fleet whose agent is killed at chosen writes.
type points struct {
	*fleet
	a      *apart
	cutter *cutter
	edit   pointEdit

	times        int
	most         []string // the writes of the whole edit
	kills, again int
	sent, lost   int // pings of the others
	right        time.Duration
}

// TestKilledAtEveryWrite ends the agent by SIGKILL at each VICI write of an edit in turn: before charon has it, and when
// charon has done it and nobody knows. The next agent is killed at its first write. What the one after it makes of that is
// what the API says, no matter where it was; the other connections keep their SAs, lose no packet and are not written about;
// and one more agent writes nothing.
func TestKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	table := make([]*points, len(pointEdits))
	t.Run("edits", func(t *testing.T) {
		for i, e := range pointEdits {
			t.Run(e.kind, func(t *testing.T) {
				t.Parallel()
				p := newPoints(t, e)
				p.killAll()
				table[i] = p
			})
		}
	})
	if t.Failed() {
		return
	}
	text := newTable("edit", "its VICI writes", "kills", "and of the next agent", "pings of the others", "lost", "as the API says after")
	for _, p := range table {
		if p != nil {
			text.row(p.edit.kind, strings.Join(p.most, ", "), p.kills, p.again, p.sent, p.lost, p.right.Round(time.Millisecond))
		}
	}
	t.Logf("SIGKILL of the agent at every VICI write of an edit, before charon has it and before its answer:\n%s", text)
}

func newPoints(t *testing.T, e pointEdit) *points {
	t.Helper()
	a := newApart(t)
	a.startAgent()
	a.LayService()
	a.AwaitService("ACTIVE", "")
	a.StartHQ(sitetest.BridgeOf(a.LAN))
	p := &points{fleet: newFleet(a.Site, 4, 2), a: a, edit: e}
	sitetest.Poll(t, 15*time.Second, "all members are settled", func() bool { return len(p.settled(p.members)) == len(p.members) })
	a.endAgent(syscall.SIGKILL)
	p.cutter = interpose(t, p.RouterFile("charon.vici"))
	a.startAgent()
	if e.prepare != nil {
		e.prepare(p.fleet, p.members[0])
	}
	p.await("before the first")
	return p
}

// killAll makes the edit again and again, and kills at the next write each time, until it comes to an end.
func (p *points) killAll() {
	for _, after := range []bool{false, true} {
		for n := 1; p.kill(n, after); n++ {
			if n > 40 {
				p.T.Fatalf("%s: no end of writes: %v", p.edit.kind, p.most)
			}
		}
	}
	if p.kills != 2*len(p.most) {
		p.T.Errorf("%s has the writes %v and was killed %d times", p.edit.kind, p.most, p.kills)
	}
	p.cutter.arm(0, false)
	p.a.endAgent(syscall.SIGKILL)
	p.a.startAgent()
	p.await("a restart without an edit")
	if writes := p.cutter.disarm(); len(writes) > 0 {
		p.T.Errorf("%s: without an edit the gateway writes %v", p.edit.kind, writes)
	}
}

// kill makes the edit and kills the agent at the n-th write. It answers whether there was one.
func (p *points) kill(n int, after bool) (met bool) {
	p.times++
	m, e, number := p.members[0], p.edit, p.times
	what := fmt.Sprintf("%s, killed at write %d, done: %t", e.kind, n, after)
	concerned := []*member{m}
	if e.concerned != nil {
		concerned = e.concerned(m)
	}
	others := p.others(concerned)
	spis, sent, log := p.spis(), p.pings.settledOf(others), p.logSize()
	if e.agree != nil {
		e.agree(p.fleet, m, number)
	}
	cut := p.cutter.arm(n, after)
	e.call(p.fleet, m, number)
	if met = p.awaitCut(cut, n, what); met {
		p.a.endAgent(syscall.SIGKILL)
		p.kills++
	}
	if writes := p.cutter.disarm(); len(writes) > len(p.most) {
		p.most = writes
	}
	if e.meanwhile != nil {
		e.meanwhile(p.fleet, m, number)
	}
	if met {
		p.killNext(after, what)
		p.a.startAgent()
	}
	start := time.Now()
	p.await(what)
	if met {
		p.right = max(p.right, time.Since(start))
	}
	p.unharmed(what, others, spis, sent, log)
	if e.undo != nil {
		e.undo(p.fleet, m, number)
		p.await(what + ", undone")
	}
	return met
}

// killNext starts an agent that is killed too, at the first write of what it makes of the first one's, if there is one.
func (p *points) killNext(after bool, what string) {
	p.T.Helper()
	cut := p.cutter.arm(1, !after)
	p.a.launchAgent()
	if p.awaitCut(cut, 1, what+", and the next agent at its first write") {
		p.again++
	}
	p.a.endAgent(syscall.SIGKILL)
	p.cutter.disarm()
}

// awaitCut waits for the write that is held back, or until the edit is over without it.
func (p *points) awaitCut(cut <-chan struct{}, n int, what string) (met bool) {
	p.T.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		select {
		case <-cut:
			return true
		default:
		}
		wrong := p.wrong()
		if wrong == "" && len(p.cutter.writes()) < n {
			return false
		}
		if time.Now().After(deadline) {
			p.T.Fatalf("%s: neither the write nor an end within 20 s; writes: %v\n%s", what, p.cutter.writes(), wrong)
		}
	}
}

// await waits until everything is as the API says.
func (p *points) await(what string) {
	p.T.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		wrong := p.wrong()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			p.T.Fatalf("%s: 20 s later:\n%sthe router's charon:\n%s", what, wrong, sitetest.Tail(p.CharonLog(), 60))
		}
	}
}

// wrong says what is not as the API says: charon is to have its connections, their keys and one CHILD_SA for each, of the
// present configuration, and nothing else; and each passes packets and is ACTIVE.
func (p *points) wrong() (out string) {
	p.T.Helper()
	start := time.Now()
	statuses := p.statuses()
	want := slices.Sorted(maps.Keys(statuses))
	has := p.charonHas()
	for _, part := range []struct {
		what string
		have []string
	}{{"connections", has.conns}, {"keys", has.keys}, {"IKE_SAs", has.ikes}, {"CHILD_SAs", has.children}, {"connections, undoubted,", p.undoubted()}} {
		if !slices.Equal(part.have, want) {
			out += fmt.Sprintf("charon has the %s %v, the API %v\n", part.what, part.have, want)
		}
	}
	for _, m := range p.members {
		if m.id != "" && statuses[m.id] != "ACTIVE" {
			out += fmt.Sprintf("member %d %s is %s\n", m.n, m.id, statuses[m.id])
		}
		if m.id != "" && !slices.Contains(has.names, has.configured[m.id]) {
			out += fmt.Sprintf("member %d %s: charon is to make %s, and has %v\n", m.n, m.id, has.configured[m.id], has.names)
		}
	}
	if out != "" {
		return out
	}
	for _, m := range p.members {
		if m.id != "" && !p.pings.answersWithin(m.n, start, 200*time.Millisecond) {
			out += fmt.Sprintf("member %d %s does not answer\n", m.n, m.id)
		}
	}
	return out
}

// undoubted are the connections that the gateway has noted as they are in charon; one that it doubts has a mark.
func (p *points) undoubted() (ids []string) {
	p.T.Helper()
	var note struct {
		Conns map[string]struct{ Config string }
	}
	text, err := os.ReadFile(p.RouterFile("loaded.json"))
	if err == nil {
		err = json.Unmarshal(text, &note)
	}
	if err != nil {
		p.T.Fatal(err)
	}
	for id, c := range note.Conns {
		if c.Config == "" {
			id += "?"
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// charonState is what a charon has: ids of connections, sorted, and names of CHILD_SAs.
type charonState struct {
	conns, keys, ikes, children []string
	names                       []string          // of the CHILD_SAs in use
	configured                  map[string]string // name of the CHILD_SA that a connection is to have
}

func (p *points) charonHas() (s charonState) {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(p.T.Context(), 5*time.Second)
	defer cancel()
	conn, err := vici.Dial(ctx, p.cutter.behind)
	if err != nil {
		p.T.Fatal(err)
	}
	defer conn.Close()
	s.configured = map[string]string{}
	err = conn.Stream(ctx, "list-conns", "list-conn", nil, func(m *vici.Message) error {
		for id, c := range m.Sections() {
			s.conns = append(s.conns, id)
			for name := range c.Section("children").Sections() {
				s.configured[id] = name
			}
		}
		return nil
	})
	if err == nil {
		err = conn.Stream(ctx, "list-sas", "list-sa", nil, func(m *vici.Message) error {
			for id, sa := range m.Sections() {
				s.ikes = append(s.ikes, id)
				for _, child := range sa.Section("child-sas").Sections() {
					if child.Get("state") != "DELETED" { // replaced, and kept for what the peer may still send through it
						s.children, s.names = append(s.children, id), append(s.names, child.Get("name"))
					}
				}
			}
			return nil
		})
	}
	if err != nil {
		p.T.Fatal(err)
	}
	keys, err := conn.Call(ctx, "get-shared", nil)
	if err != nil {
		p.T.Fatal(err)
	}
	s.keys = keys.List("keys")
	for _, list := range [][]string{s.conns, s.keys, s.ikes, s.children} {
		slices.Sort(list)
	}
	return s
}

// unharmed fails where a kill has done anything to the others.
func (p *points) unharmed(what string, others []*member, spis map[string][]string, sent []int, log int64) {
	p.T.Helper()
	now, then := p.spis(), p.pings.settledOf(others)
	for _, m := range others {
		if !slices.Equal(now[m.id], spis[m.id]) {
			p.T.Errorf("%s: member %d has the SPIs %v, before %v", what, m.n, now[m.id], spis[m.id])
		}
		p.sent += then[m.n] - sent[m.n]
		if lost := p.pings.lost(m.n, sent[m.n], then[m.n]); lost > 0 {
			p.lost += lost
			p.T.Errorf("%s: member %d lost %d pings", what, m.n, lost)
		}
		for _, line := range p.writes(log) {
			if strings.Contains(line, m.id) {
				p.T.Errorf("%s: a VICI write about member %d: %s", what, m.n, line)
			}
		}
	}
}
