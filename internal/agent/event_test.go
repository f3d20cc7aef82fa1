package agent_test

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (b *board) eventIDs() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		out = append(out, e.ID)
	}
	return out
}

// Events are told in order and once, also those of before the agent began and of while the server was away.
func TestTellsEvents(t *testing.T) {
	w := newWorld(t)
	w.machine.happen("1", "2")
	w.start()
	w.until("the events of before", func() bool { return len(w.board.eventIDs()) == 2 })
	w.away.Store(true)
	w.machine.happen("3")
	calls := w.calls.Load()
	w.until("some calls in vain", func() bool { return w.calls.Load() > calls+2 })
	w.machine.happen("4")
	w.away.Store(false)
	w.until("what happened meanwhile", func() bool { return len(w.board.eventIDs()) >= 4 })
	w.machine.happen("5")
	w.until("one more", func() bool { return len(w.board.eventIDs()) >= 5 })
	if d := cmp.Diff([]string{"1", "2", "3", "4", "5"}, w.board.eventIDs()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	w.until("the gateway forgets all of them", func() bool { return w.machine.keeps() == 0 })
}

// keeps is how many events the gateway was not told to forget.
func (m *machine) keeps() (n int) {
	m.do(func() { n = len(m.seen) })
	return n
}

// What the server has taken is kept until it is on its disk, and not told again and again.
func TestForgetsWhatIsOnTheDisk(t *testing.T) {
	w := newWorld(t)
	w.board.diskFull = true
	w.start()
	w.machine.happen("1", "2")
	w.until("the server has the events", func() bool { return len(w.board.eventIDs()) == 2 })
	settled := func() (n int) {
		w.board.mu.Lock()
		defer w.board.mu.Unlock()
		return w.board.settled
	}
	w.until("it cannot keep them", func() bool { return settled() > 2 })
	if n := w.machine.keeps(); n != 2 {
		t.Errorf("the gateway keeps %d events", n)
	}
	w.machine.happen("3")
	w.until("the server has one more", func() bool { return len(w.board.eventIDs()) == 3 })
	w.board.mu.Lock()
	w.board.diskFull = false
	w.board.mu.Unlock()
	w.until("the gateway forgets all of them", func() bool { return w.machine.keeps() == 0 })
}

// A report takes along what was noted before it.
func TestEventsGoWithReports(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.until("a watch", func() bool { return w.board.watchers() == 1 })
	w.machine.happen("1")
	w.board.put(spec("a", "c"))
	w.until("the report", func() bool { return len(w.board.of("a")) > 0 })
	if d := cmp.Diff([]string{"1"}, w.board.eventIDs()); d != "" {
		t.Errorf("events at the time of the report (-want +got):\n%s", d)
	}
}

// More than one call holds.
func TestManyEvents(t *testing.T) {
	w := newWorld(t)
	for i := range 2500 {
		w.machine.happen(strconv.Itoa(i))
	}
	w.start()
	w.until("all of them", func() bool { return len(w.board.eventIDs()) == 2500 })
	w.until("the gateway forgets all of them", func() bool { return w.machine.keeps() == 0 })
}
