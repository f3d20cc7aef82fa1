package identity_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"culvert/internal/identity"
	"culvert/internal/keyring"
	"culvert/internal/store"
	"culvert/internal/store/pgtest"
)

// cheap keeps the tests short; the cost of the real parameters is a benchmark.
var cheap = identity.Argon{Time: 1, Memory: 64, Threads: 1}

// clock is a time that moves only when a test says so.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a bootstrapped identity on a real store.
type world struct {
	testing.TB
	ctx   context.Context
	clock *clock
	cfg   identity.Config
	*identity.Service
	first *identity.FirstAdmin
	admin *identity.Token
}

// newEmpty is a world before its first start.
func newEmpty(t testing.TB) *world {
	t.Helper()
	return newEmptyOn(t, "")
}

// newEmptyOn is one on the database at url; "" is SQLite.
func newEmptyOn(t testing.TB, url string) *world {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{URL: url, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ring, err := keyring.Open(filepath.Join(t.TempDir(), "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, ctx: ctx, clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	w.cfg = identity.Config{Store: s, Sealer: ring, Now: w.clock.Now, Argon: cheap}
	w.Service = w.server()
	return w
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newEmpty(t).fill()
}

// eachEngine runs a test in a world on SQLite and in one on PostgreSQL.
func eachEngine(t *testing.T, test func(w *world)) {
	t.Run("sqlite", func(t *testing.T) { test(newWorld(t)) })
	t.Run("postgres", func(t *testing.T) { test(newEmptyOn(t, pgtest.Start(t)).fill()) })
}

func (w *world) fill() *world {
	w.Helper()
	var err error
	if w.first, err = w.Bootstrap(w.ctx); err != nil || w.first == nil {
		w.Fatalf("bootstrap: %v, %v", w.first, err)
	}
	_, w.admin = w.login(w.adminLogin())
	return w
}

// server is one more server on the same store.
func (w *world) server() *identity.Service {
	w.Helper()
	s, err := identity.New(w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) adminLogin() identity.Login {
	return identity.Login{Methods: []string{"password"}, User: identity.NameRef{ID: w.first.UserID}, Password: w.first.Password,
		Scope: identity.Scope{Project: &identity.NameRef{ID: w.first.ProjectID}}, Source: "192.0.2.1"}
}

func (w *world) login(l identity.Login) (string, *identity.Token) {
	w.Helper()
	text, t, err := w.Login(w.ctx, l)
	if err != nil {
		w.Fatalf("login: %v", err)
	}
	return text, t
}

func (w *world) project(name string) *identity.Project {
	w.Helper()
	p, err := w.CreateProject(w.ctx, w.admin, map[string]any{"name": name})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) user(name, password string) *identity.User {
	w.Helper()
	u, err := w.CreateUser(w.ctx, w.admin, map[string]any{"name": name, "password": password})
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) roleID(name string) string {
	w.Helper()
	all, err := w.Roles(w.ctx, w.admin, identity.Filter{Name: name})
	if err != nil || len(all) != 1 {
		w.Fatalf("role %s: %v, %v", name, all, err)
	}
	return all[0].ID
}

func (w *world) give(u *identity.User, role string, t identity.Target) {
	w.Helper()
	if err := w.Grant(w.ctx, w.admin, t, u.ID, w.roleID(role)); err != nil {
		w.Fatal(err)
	}
}

func on(p *identity.Project) identity.Target { return identity.Target{ProjectID: p.ID} }

func (w *world) as(u *identity.User, password string, s identity.Scope) identity.Login {
	return identity.Login{Methods: []string{"password"}, User: identity.NameRef{ID: u.ID}, Password: password, Scope: s, Source: "192.0.2.7"}
}

func scoped(p *identity.Project) identity.Scope {
	return identity.Scope{Project: &identity.NameRef{ID: p.ID}}
}

// must fails unless nothing went wrong.
func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// code is the status that a user would see; 200 without an error.
func code(err error) int {
	var e *identity.Error
	switch {
	case err == nil:
		return 200
	case errors.As(err, &e):
		return e.Code
	}
	return 500
}

func (w *world) wantCode(what string, err error, want int) {
	w.Helper()
	if code(err) != want {
		w.Errorf("%s: %d (%v), want %d", what, code(err), err, want)
	}
}
