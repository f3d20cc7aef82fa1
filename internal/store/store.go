// Package store keeps resource rows in SQLite or PostgreSQL under one revision: it is the adapter behind
// resource.Store. One SQL text serves both engines; what differs (transactions, error codes, wake-ups) is in sqlite.go
// and postgres.go. Rules about resources, HTTP and secrets may not enter: a document is bytes here.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"culvert/internal/resource"
)

// Config says which database to open.
type Config struct {
	// URL is "postgres://…" (or "postgresql://…") for PostgreSQL, a path or "sqlite:PATH" for a SQLite file, "" for
	// the file culvert.db in Dir.
	URL string
	Dir string       // data folder, made if it is missing; only for the default SQLite file
	Log *slog.Logger // nil: silent
}

// Store is a resource.Store.
type Store struct {
	engine engine
	log    *slog.Logger
	hub    *hub
	writer chan struct{} // one Change at a time in this process: the others wait without holding a connection
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// attempts bounds how often a Change runs when the engine asks for it again; with backoff about two seconds.
const attempts = 10

// Open opens the database, brings its schema up to date and starts to watch it for the changes of other processes.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	e, err := openEngine(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &Store{engine: e, log: c.Log, hub: newHub(), writer: make(chan struct{}, 1)}
	if err := s.refresh(ctx); err != nil {
		return nil, errors.Join(err, e.close())
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(func() { e.watch(watch, s) })
	return s, nil
}

// CheckURL says what Open would say of Config.URL without looking for the database. A password is in no error.
func CheckURL(url string) error {
	if isPostgres(url) {
		_, err := pgxpool.ParseConfig(url)
		return err
	}
	if strings.Contains(url, "://") && !strings.HasPrefix(url, "sqlite:") {
		return errors.New("want postgres://…, sqlite:PATH, a path, or nothing")
	}
	return nil
}

func isPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

func openEngine(ctx context.Context, c Config) (engine, error) {
	if isPostgres(c.URL) {
		return openPostgres(ctx, c.URL)
	}
	return openSQLite(ctx, c)
}

// View runs fn on one consistent snapshot. fn must not begin another View while it runs: it holds a connection.
func (s *Store) View(ctx context.Context, fn func(resource.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.engine.view(ctx, func(c session) error { return fn(&reader{session: c}) })
}

// Change runs fn in one serialised transaction. Without a write in fn it returns the revision that stands. fn must not
// begin another Change.
func (s *Store) Change(ctx context.Context, fn func(resource.Tx) error) (int64, error) {
	return s.serially(ctx, s.engine.change, fn)
}

// Observe is Change without a wait for the disk.
func (s *Store) Observe(ctx context.Context, fn func(resource.Tx) error) (int64, error) {
	return s.serially(ctx, s.engine.observe, fn)
}

// transaction is an engine's change or observe.
type transaction func(ctx context.Context, fn func(session) (int64, error)) error

// serially runs one transaction after the other, and one that the engine could not serialise again.
func (s *Store) serially(ctx context.Context, run transaction, fn func(resource.Tx) error) (int64, error) {
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n := 0; ; n++ {
		rev, err := s.try(ctx, run, fn)
		if err == nil || n+1 == attempts || s.engine.classify(err) != faultRetry {
			return rev, err
		}
		if err := pause(ctx, n); err != nil {
			return 0, err
		}
	}
}

// try is one run of a transaction.
func (s *Store) try(ctx context.Context, run transaction, fn func(resource.Tx) error) (int64, error) {
	var t *tx
	err := run(ctx, func(c session) (int64, error) {
		t = &tx{reader: reader{session: c}, classify: s.engine.classify}
		if err := t.begin(ctx); err != nil {
			return 0, err
		}
		if err := fn(t); err != nil {
			return 0, err
		}
		return t.end()
	})
	if err != nil {
		return 0, err
	}
	if !t.wrote {
		return t.next - 1, nil
	}
	s.hub.advance(t.next)
	return t.next, nil
}

// pause waits before run n+1: 5 ms doubled each time up to 500 ms, with jitter so that two servers do not meet again.
func pause(ctx context.Context, n int) error {
	d := min(5*time.Millisecond<<n, 500*time.Millisecond)
	d = d/2 + rand.N(d/2)
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Changed returns a channel that is closed as soon as a revision after rev may be visible, or the store is closed.
func (s *Store) Changed(rev int64) <-chan struct{} { return s.hub.changed(rev) }

// Lost returns a channel that is closed when the database may have lost what was observed.
func (s *Store) Lost() <-chan struct{} { return s.hub.loss() }

// refresh tells the hub the newest revision in the database.
func (s *Store) refresh(ctx context.Context) error {
	var rev int64
	err := s.engine.view(ctx, func(c session) (err error) {
		rev, err = (&reader{session: c}).Rev(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the newest revision: %w", err)
	}
	s.hub.advance(rev)
	return nil
}

// Close wakes everybody who waits and closes the database. No call may run or begin.
func (s *Store) Close() error {
	s.stop()
	s.done.Wait()
	s.hub.close()
	return s.engine.close()
}
