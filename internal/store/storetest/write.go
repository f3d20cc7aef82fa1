package storetest

import (
	"context"
	"errors"
	"fmt"

	"culvert/internal/resource"
)

func (s *suite) roundTrip() {
	full := resource.Row{ID: "a 1", Kind: "thing", ProjectID: "p|ü", Shared: true, Intent: 7, CreatedAt: "2026-01-01 00:00:00.000001",
		Uniq: "k {\n", Doc: []byte(`{"b": 1,  "a":"ü\\u0000 <"}`), Sealed: []byte{0, 255, '{'}}
	bare := row("b", "{}")
	rev := s.insert(full, bare)
	for _, want := range []*resource.Row{&full, &bare} {
		want.Rev = rev
		got, err := s.get("thing", want.ID)
		s.must(err)
		s.equal(got, *want)
	}
	all, err := s.find(resource.Query{Kind: "thing"})
	s.must(err)
	s.equal(all, []resource.Row{bare, full})
	_, err = s.get("other", "b")
	s.is(err, resource.ErrNotFound)
	_, err = s.get("thing", "nope")
	s.is(err, resource.ErrNotFound)
	s.is(s.try(func(t resource.Tx) error { return t.Insert(s.ctx, bare) }), resource.ErrDuplicate)
}

func (s *suite) update() {
	s.insert(row("a", `{"v":1}`))
	next := resource.Row{ID: "a", Kind: "thing", ProjectID: "q", Shared: true, Intent: 3, CreatedAt: "ignored", Uniq: "u",
		Doc: []byte(`{"v":2}`), Sealed: []byte("s")}
	next.Rev = s.change(func(t resource.Tx) error { return t.Update(s.ctx, next) })
	next.CreatedAt = row("", "").CreatedAt
	got, err := s.get("thing", "a")
	s.must(err)
	s.equal(got, next)
	other := next
	other.Kind = "other"
	s.is(s.try(func(t resource.Tx) error { return t.Update(s.ctx, other) }), resource.ErrNotFound)
	s.is(s.try(func(t resource.Tx) error { return t.Delete(s.ctx, "other", "a") }), resource.ErrNotFound)
	s.change(func(t resource.Tx) error { return t.Delete(s.ctx, "thing", "a") })
	_, err = s.get("thing", "a")
	s.is(err, resource.ErrNotFound)
	s.is(s.try(func(t resource.Tx) error { return t.Delete(s.ctx, "thing", "a") }), resource.ErrNotFound)
}

func (s *suite) refs() {
	user := row("user", "{}")
	user.Refs = []string{"x", "x", "y"}
	s.is(s.try(func(t resource.Tx) error { return t.Insert(s.ctx, user) }), resource.ErrNoRef)
	s.insert(row("x", "{}"), row("y", "{}"), row("z", "{}"), user)
	other := row("other", "{}")
	other.Kind, other.Refs = "a", []string{"x"}
	s.insert(other)
	s.equal(s.users("x"), []resource.Ref{{Kind: "a", ID: "other"}, {Kind: "thing", ID: "user"}})
	s.equal(s.users("z"), []resource.Ref(nil))
	s.is(s.delete("y"), resource.ErrInUse)
	user.Refs = nil // keeps them
	s.change(func(t resource.Tx) error { return t.Update(s.ctx, user) })
	s.is(s.delete("y"), resource.ErrInUse)
	user.Refs = []string{"z"}
	s.change(func(t resource.Tx) error { return t.Update(s.ctx, user) })
	s.must(s.delete("y"))
	s.is(s.delete("z"), resource.ErrInUse)
	user.Refs = []string{"y"} // gone
	s.is(s.try(func(t resource.Tx) error { return t.Update(s.ctx, user) }), resource.ErrNoRef)
	user.Refs = []string{}
	s.change(func(t resource.Tx) error { return t.Update(s.ctx, user) })
	s.must(s.delete("z"))
	s.must(s.delete("user"))
	s.equal(s.users("x"), []resource.Ref{{Kind: "a", ID: "other"}})
}

func (s *suite) delete(id string) error {
	return s.try(func(t resource.Tx) error { return t.Delete(s.ctx, "thing", id) })
}

func (s *suite) users(id string) (users []resource.Ref) {
	s.Helper()
	s.must(s.store.View(s.ctx, func(r resource.Reader) (err error) {
		users, err = r.Users(s.ctx, id)
		return err
	}))
	return users
}

func (s *suite) uniq() {
	a, b := row("a", "{}"), row("b", "{}")
	a.Uniq, b.Uniq = "same", "same"
	s.insert(a, row("c", "{}"), row("d", "{}")) // "" is not compared
	s.is(s.try(func(t resource.Tx) error { return t.Insert(s.ctx, b) }), resource.ErrDuplicate)
	other := b
	other.Kind = "other"
	s.insert(other) // unique within the kind
	b.ID = "c"
	s.is(s.try(func(t resource.Tx) error { return t.Update(s.ctx, b) }), resource.ErrDuplicate)
	s.must(s.delete("a"))
	s.change(func(t resource.Tx) error { return t.Update(s.ctx, b) })
}

func (s *suite) revisions() {
	s.equal(s.rev(), int64(0))
	nothing := func(t resource.Tx) error {
		if _, err := t.Get(s.ctx, "thing", "r1"); !errors.Is(err, resource.ErrNotFound) {
			return fmt.Errorf("get: %v", err)
		}
		return nil
	}
	for want := int64(1); want <= 5; want++ {
		s.equal(s.change(nothing), want-1)
		s.equal(s.rev(), want-1)
		got := s.change(func(t resource.Tx) error {
			before, err := t.Rev(s.ctx)
			s.must(err)
			s.equal([]int64{before, t.Next()}, []int64{want - 1, want})
			if err := t.Insert(s.ctx, row(fmt.Sprintf("x%d", want), "{}")); err != nil {
				return err
			}
			after, err := t.Rev(s.ctx)
			s.equal(after, want)
			return err
		})
		s.equal(got, want)
		s.equal(s.rev(), want)
	}
	s.equal(s.ids(resource.Query{Kind: "thing", After: 3}), []string{"x4", "x5"})
	s.must(s.delete("x1"))
	s.equal(s.rev(), int64(6)) // a deletion is a change
}

func (s *suite) rollback() {
	mine := errors.New("mine")
	_, err := s.store.Change(s.ctx, func(t resource.Tx) error {
		s.must(t.Insert(s.ctx, row("a", "{}")))
		return mine
	})
	if err != mine { // as it is, not wrapped
		s.Fatalf("error %v, want the function's own", err)
	}
	func() {
		defer func() { s.equal(recover(), "boom") }()
		_, _ = s.store.Change(s.ctx, func(t resource.Tx) error {
			s.must(t.Insert(s.ctx, row("a", "{}")))
			panic("boom")
		})
	}()
	swallowed := s.try(func(t resource.Tx) error {
		s.must(t.Insert(s.ctx, row("a", "{}")))
		s.is(t.Insert(s.ctx, row("a", "{}")), resource.ErrDuplicate)
		return nil // the failed write may not be committed around
	})
	s.is(swallowed, resource.ErrDuplicate)
	s.equal(s.ids(resource.Query{Kind: "thing"}), []string{})
	s.equal(s.rev(), int64(0))
	s.equal(s.insert(row("a", "{}")), int64(1))
}

// badText: what one engine could not hold is refused by both, and asked for, it is not found.
func (s *suite) badText() {
	for _, doc := range []string{"", "1", "[]", `{"a":`, "{\"a\":\"\xff\"}", `{"a":"\u0000"}`, `{"a":"\\\u0000"}`} {
		if s.try(func(t resource.Tx) error { return t.Insert(s.ctx, row("a", doc)) }) == nil {
			s.Errorf("document %q was taken", doc)
		}
	}
	s.insert(row("a", `{"name":"n"}`))
	for _, bad := range []string{"a\x00", "\xff", "\x00"} {
		if s.try(func(t resource.Tx) error { return t.Insert(s.ctx, row(bad, "{}")) }) == nil {
			s.Errorf("id %q was taken", bad)
		}
		_, err := s.get("thing", bad)
		s.is(err, resource.ErrNotFound)
		s.is(s.delete(bad), resource.ErrNotFound)
		s.equal(s.ids(resource.Query{Kind: "thing", ProjectID: bad}), []string{})
		s.equal(s.ids(resource.Query{Kind: "thing", Filters: []resource.Filter{{Column: text("name"), Values: []string{bad}}}}), []string{})
		_, err = s.find(resource.Query{Kind: "thing", Marker: bad})
		s.is(err, resource.ErrNotFound)
		s.equal(s.users(bad), []resource.Ref(nil))
		user := row("b", "{}")
		user.Refs = []string{bad}
		s.is(s.try(func(t resource.Tx) error { return t.Insert(s.ctx, user) }), resource.ErrNoRef)
	}
}

func (s *suite) snapshot() {
	s.insert(row("a", "{}"))
	s.must(s.store.View(s.ctx, func(r resource.Reader) error {
		before, err := r.Rev(s.ctx)
		s.must(err)
		s.insert(row("b", "{}"))
		if _, err := r.Get(s.ctx, "thing", "b"); !errors.Is(err, resource.ErrNotFound) {
			s.Errorf("a snapshot saw a later row: %v", err)
		}
		after, err := r.Rev(s.ctx)
		s.equal(after, before)
		return err
	}))
	_, err := s.get("thing", "b")
	s.must(err)
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(s.ctx)
	_, err := s.store.Change(ctx, func(t resource.Tx) error {
		if err := t.Insert(ctx, row("a", "{}")); err != nil {
			return err
		}
		cancel()
		return nil
	})
	s.is(err, context.Canceled)
	s.is(s.store.View(ctx, func(r resource.Reader) error { _, err := r.Rev(ctx); return err }), context.Canceled)
	s.equal(s.rev(), int64(0))
	s.insert(row("a", "{}"))
}
