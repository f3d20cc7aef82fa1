package storetest

import (
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"culvert/internal/resource"
)

func event(row, id, created, typ string) resource.Event {
	return resource.Event{Row: row, ID: id, CreatedAt: created, Type: typ, Doc: []byte(`{"id":"` + id + `","ü":"<"}`)}
}

// note notes events, and answers which of them were new.
func (s *suite) note(keep int, events ...resource.Event) (fresh []bool) {
	s.Helper()
	s.change(func(t resource.Tx) error {
		fresh = nil
		for _, e := range events {
			f, err := t.Note(s.ctx, e, keep)
			if err != nil {
				return err
			}
			fresh = append(fresh, f)
		}
		return nil
	})
	return fresh
}

func (s *suite) history(q resource.EventQuery) (out []resource.Event, err error) {
	err = s.store.View(s.ctx, func(r resource.Reader) error {
		return r.Events(s.ctx, q, func(e *resource.Event) error {
			c := *e
			c.Doc = slices.Clone(e.Doc)
			out = append(out, c)
			return nil
		})
	})
	return out, err
}

func (s *suite) eventIDs(q resource.EventQuery) []string {
	s.Helper()
	list, err := s.history(q)
	s.must(err)
	ids := []string{}
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

// events: noted once, kept apart by row, bounded, gone with their row.
func (s *suite) events() {
	s.insert(row("a", "{}"), row("b", "{}"))
	rev := s.rev()
	first, second := event("a", "1", "2026-01-01 00:00:00.000002", "up"), event("a", "2", "2026-01-01 00:00:00.000001", "down")
	s.equal(s.note(9, first, second, event("b", "1", "2026-01-01 00:00:00.000003", "up"), first), []bool{true, true, true, false})
	s.equal(s.rev(), rev+1) // an event is a change
	got, err := s.history(resource.EventQuery{Row: "a"})
	s.must(err)
	s.equal(got, []resource.Event{first, second})
	s.equal(s.eventIDs(resource.EventQuery{Row: "a", Types: []string{"down", "other"}}), []string{"2"})
	s.equal(s.eventIDs(resource.EventQuery{Row: "nobody"}), []string{})
	_, err = s.history(resource.EventQuery{Row: "b", Marker: "2"})
	s.is(err, resource.ErrNotFound)
	s.is(s.try(func(t resource.Tx) error { _, err := t.Note(s.ctx, event("nobody", "1", "", "up"), 9); return err }), resource.ErrNoRef)
	bad := event("a", "3", "", "up")
	bad.Doc = []byte(`{"x":"\u0000"}`)
	if err := s.try(func(t resource.Tx) error { _, err := t.Note(s.ctx, bad, 9); return err }); err == nil {
		s.Error("a document with U+0000 was taken")
	}
	s.equal(s.note(2, event("a", "4", "2026-01-01 00:00:00.000000", "up"), event("a", "1", "2026-01-01 00:00:00.000009", "again")), []bool{true, true})
	s.equal(s.eventIDs(resource.EventQuery{Row: "a", Oldest: true}), []string{"4", "1"}) // what came last stays
	mine := errors.New("mine")
	s.is(s.try(func(t resource.Tx) error {
		if _, err := t.Note(s.ctx, event("a", "5", "", "up"), 9); err != nil {
			return err
		}
		return mine
	}), mine)
	s.equal(s.eventIDs(resource.EventQuery{Row: "a", Oldest: true}), []string{"4", "1"})
	s.must(s.delete("a"))
	s.equal(s.eventIDs(resource.EventQuery{Row: "a"}), []string{})
	s.insert(row("a", "{}"))
	s.equal(s.eventIDs(resource.EventQuery{Row: "a"}), []string{})
	s.equal(s.eventIDs(resource.EventQuery{Row: "b"}), []string{"1"})
}

// eventPages: keyset pages of events, forward and in reverse, are equal slices of the sorted whole.
func (s *suite) eventPages() {
	set := 0
	rapid.Check(s.T, func(t *rapid.T) {
		set++
		id := fmt.Sprintf("set%d", set)
		s.insert(row(id, "{}"))
		var all []resource.Event
		for i := range rapid.IntRange(1, 12).Draw(t, "events") {
			all = append(all, event(id, fmt.Sprint(i), fmt.Sprintf("2026-01-01 00:00:00.%06d", rapid.IntRange(0, 3).Draw(t, "at")),
				rapid.SampledFrom([]string{"up", "down", "Up"}).Draw(t, "type")))
		}
		s.note(100, all...)
		for range 5 {
			s.eventPage(t, id, all)
		}
	})
}

func (s *suite) eventPage(t *rapid.T, id string, all []resource.Event) {
	q := resource.EventQuery{Row: id, Oldest: rapid.Bool().Draw(t, "oldest"), Reverse: rapid.Bool().Draw(t, "reverse"), Limit: rapid.IntRange(0, 5).Draw(t, "limit")}
	q.Types = rapid.SliceOfN(rapid.SampledFrom([]string{"up", "down", "x"}), 0, 2).Draw(t, "types")
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b resource.Event) int {
		if a.CreatedAt < b.CreatedAt {
			return -1
		} else if a.CreatedAt > b.CreatedAt {
			return 1
		}
		return 0
	})
	if !q.Oldest {
		slices.Reverse(sorted)
	}
	if at := rapid.IntRange(-1, len(sorted)-1).Draw(t, "marker"); at >= 0 {
		q.Marker = sorted[at].ID
		if q.Reverse {
			sorted = sorted[:at]
		} else {
			sorted = sorted[at+1:]
		}
	}
	want := []string{}
	for _, e := range sorted {
		if len(q.Types) == 0 || slices.Contains(q.Types, e.Type) {
			want = append(want, e.ID)
		}
	}
	if q.Limit > 0 && q.Reverse {
		want = want[max(0, len(want)-q.Limit):]
	} else if q.Limit > 0 {
		want = want[:min(len(want), q.Limit)]
	}
	if got := s.eventIDs(q); !slices.Equal(got, want) {
		t.Fatalf("%+v:\ngot  %q\nwant %q", q, got, want)
	}
}
