package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"culvert/internal/resource"
	"culvert/internal/store/pgtest"
)

// TestDatabaseCrash: a crash of PostgreSQL takes back what was only observed. No later change may then get a revision that
// somebody has seen of what was lost: watchers would take it for old news, and caches of identity would never hear of it.
func TestDatabaseCrash(t *testing.T) {
	cluster := pgtest.StartCluster(t)
	url := cluster.Database(t)
	cluster.Hoard(t)
	watcher, writer := openURL(t, url), openURL(t, url)
	for i := range 3 {
		insertInto(t, writer.Change, fmt.Sprintf("kept%d", i))
		var seen int64
		for j := range 5 {
			seen = insertInto(t, watcher.Observe, fmt.Sprintf("lost%d-%d", i, j))
		}
		wake, lost := watcher.Changed(seen), watcher.Lost()
		cluster.Crash(t)
		select {
		case <-lost:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody was told that observations may be lost")
		}
		awaitRow(t, writer, fmt.Sprintf("kept%d", i), true)
		awaitRow(t, writer, fmt.Sprintf("lost%d-4", i), false) // or nothing is shown
		if rev := insertInto(t, writer.Change, fmt.Sprintf("later%d", i)); rev <= seen {
			t.Errorf("a change after the crash has revision %d, an earlier one that is lost had %d", rev, seen)
		}
		awaitRevision(t, watcher, wake, seen)
	}
}

func insertInto(t *testing.T, run func(context.Context, func(resource.Tx) error) (int64, error), id string) int64 {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		rev, err := run(t.Context(), func(tx resource.Tx) error {
			return tx.Insert(t.Context(), resource.Row{ID: id, Kind: "k", Doc: []byte("{}")})
		})
		if err == nil {
			return rev
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// awaitRow looks for a row until the database answers.
func awaitRow(t *testing.T, s *Store, id string, there bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := s.View(t.Context(), func(r resource.Reader) error {
			_, err := r.Get(t.Context(), "k", id)
			return err
		})
		if err == nil || errors.Is(err, resource.ErrNotFound) {
			if (err == nil) != there {
				t.Fatalf("%s is there: %v, want %v", id, err == nil, there)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
