// Package storetest is what every engine of package store must do, as tests. It knows only the contract in
// resource.Store; what one engine alone promises is tested beside that engine.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/resource"
)

// waitLimit bounds every wait for something that must happen. It is shorter than the 15 s after which the PostgreSQL engine
// looks by itself, so that a notification that never comes is seen.
const waitLimit = 10 * time.Second

// Open opens the database of one test, each time as another server would.
type Open func() (resource.Store, error)

// Run runs the suite. fresh makes an empty database for a test.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	tests := []struct {
		name string
		fn   func(*suite)
	}{
		{"RoundTrip", (*suite).roundTrip}, {"Update", (*suite).update}, {"Refs", (*suite).refs}, {"Uniq", (*suite).uniq},
		{"Revisions", (*suite).revisions}, {"Rollback", (*suite).rollback}, {"BadText", (*suite).badText},
		{"Snapshot", (*suite).snapshot}, {"Filters", (*suite).filters}, {"Scope", (*suite).scope}, {"Order", (*suite).order},
		{"Bytes", (*suite).bytes}, {"Marker", (*suite).marker}, {"Callback", (*suite).callback},
		{"Pages", (*suite).pages}, {"Changed", (*suite).changed}, {"Settled", (*suite).settled}, {"Concurrent", (*suite).concurrent},
		{"Servers", (*suite).servers}, {"Reopen", (*suite).reopen}, {"Cancelled", (*suite).cancelled},
		{"Events", (*suite).events}, {"EventPages", (*suite).eventPages},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, ctx: t.Context(), fresh: fresh(t)}
			s.store = s.open()
			test.fn(s)
		})
	}
}

// suite is one test with its database.
type suite struct {
	*testing.T
	ctx   context.Context
	fresh Open
	store resource.Store
}

// open opens the database once more, until the test ends.
func (s *suite) open() resource.Store {
	s.Helper()
	st, err := s.fresh()
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	s.Cleanup(func() {
		if err := st.Close(); err != nil {
			s.Errorf("close: %v", err)
		}
	})
	return st
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("error %v, want %v", err, want)
	}
}

func (s *suite) equal(got, want any) {
	s.Helper()
	if d := cmp.Diff(want, got); d != "" {
		s.Fatalf("-want +got:\n%s", d)
	}
}

// change runs fn in a Change that must succeed.
func (s *suite) change(fn func(resource.Tx) error) int64 {
	s.Helper()
	rev, err := s.store.Change(s.ctx, fn)
	s.must(err)
	return rev
}

func (s *suite) insert(rows ...resource.Row) int64 {
	s.Helper()
	return s.change(func(t resource.Tx) error {
		for _, r := range rows {
			if err := t.Insert(s.ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// try runs fn in a Change and returns its error.
func (s *suite) try(fn func(resource.Tx) error) error {
	_, err := s.store.Change(s.ctx, fn)
	return err
}

func (s *suite) get(kind, id string) (row resource.Row, err error) {
	err = s.store.View(s.ctx, func(r resource.Reader) error {
		row, err = r.Get(s.ctx, kind, id)
		return err
	})
	return row, err
}

// find returns copies of the rows that q names.
func (s *suite) find(q resource.Query) (rows []resource.Row, err error) {
	err = s.store.View(s.ctx, func(r resource.Reader) error {
		return r.Find(s.ctx, q, func(row *resource.Row) error {
			c := *row
			c.Doc, c.Sealed = append([]byte(nil), row.Doc...), append([]byte(nil), row.Sealed...)
			rows = append(rows, c)
			return nil
		})
	})
	return rows, err
}

// ids returns the ids that q names, and checks that Count agrees.
func (s *suite) ids(q resource.Query) []string {
	s.Helper()
	rows, err := s.find(q)
	s.must(err)
	ids := []string{}
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	if q.Limit == 0 && q.Marker == "" {
		s.must(s.store.View(s.ctx, func(r resource.Reader) error {
			n, err := r.Count(s.ctx, q)
			if err == nil && n != int64(len(ids)) {
				s.Errorf("Count %d, Find %d", n, len(ids))
			}
			return err
		}))
	}
	return ids
}

func (s *suite) rev() (rev int64) {
	s.Helper()
	s.must(s.store.View(s.ctx, func(r resource.Reader) (err error) {
		rev, err = r.Rev(s.ctx)
		return err
	}))
	return rev
}

// row is a small valid row of kind "thing".
func row(id, doc string) resource.Row {
	return resource.Row{ID: id, Kind: "thing", ProjectID: "p", CreatedAt: "2026-01-01 00:00:00.000000", Doc: []byte(doc)}
}

func rows(n int) []resource.Row {
	out := make([]resource.Row, n)
	for i := range out {
		out[i] = row(fmt.Sprintf("r%04d", i), "{}")
	}
	return out
}
