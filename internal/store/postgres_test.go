package store

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/internal/resource"
	"culvert/internal/store/pgtest"
)

// TestListenAgain ends the connection on which a server listens: it comes back, and what was written by another server
// meanwhile is not missed. Pooled connections that the same happens to are replaced.
func TestListenAgain(t *testing.T) {
	ctx, url := t.Context(), pgtest.Start(t)
	listener, writer := openURL(t, url), openURL(t, url)
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(ctx) }()
	for i := range 3 {
		wake := listener.Changed(int64(i))
		const end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity" +
			" WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE $1"
		if _, err := admin.Exec(ctx, end, "%n FROM revision%"); err != nil {
			t.Fatal(err)
		}
		id := string(rune('a' + i))
		_, err := writer.Change(ctx, func(tx resource.Tx) error {
			return tx.Insert(ctx, resource.Row{ID: id, Kind: "k", Doc: []byte("{}")})
		})
		if err != nil {
			t.Fatal(err)
		}
		awaitRevision(t, listener, wake, int64(i))
	}
}

// awaitRevision waits as a watcher does: it may be woken early.
func awaitRevision(t *testing.T, s *Store, wake <-chan struct{}, rev int64) {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case <-wake:
		case <-deadline:
			t.Fatal("nobody was woken")
		}
		wake = s.Changed(rev)
		var now int64
		err := s.View(t.Context(), func(r resource.Reader) (err error) {
			now, err = r.Rev(t.Context())
			return err
		})
		if err == nil && now > rev {
			return
		}
	}
}

func openURL(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestOpenTogether: servers that start at the same time on an empty database do not trip over the migration.
func TestOpenTogether(t *testing.T) {
	url := pgtest.Start(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			s, err := Open(context.Background(), Config{URL: url})
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
