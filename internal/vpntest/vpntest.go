// Package vpntest is a whole server in the test's process: a real store, real identity, the real HTTP surface on a loopback
// port, and clients that have logged in. Nothing of the server is replaced but its clock and its ids. Nothing but tests and
// benchmarks may import it.
package vpntest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/resource"
	"culvert/internal/server"
)

// Options are what tests choose. The zero value is SQLite, and a clock that stands still until it is advanced.
type Options struct {
	Database string               // postgres://…, an empty database; "" is SQLite in a folder of the test's own
	RealTime bool                 // the system's clock and random ids instead of the test's
	Set      func(*server.Config) // the last word on the configuration
}

// Server runs until the test ends. It fails the test if one of its secrets came into its log, or if an answer was not as the
// OpenAPI document says.
type Server struct {
	*server.Server
	URL        string // http://127.0.0.1:port
	Home, Away string // ids of two projects
	Clock      *Clock
	// Base is the store revision before the test's first request.
	Base int64

	users   map[string]user
	mu      sync.Mutex // guards clients
	clients map[string]*client.Client
	log     *journal
}

// Clock stands still until it is advanced.
type Clock struct{ now atomic.Int64 }

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) { c.now.Add(int64(d)) }

// Now is the clock's time, UTC.
func (c *Clock) Now() time.Time { return time.Unix(0, c.now.Load()).UTC() }

// Start opens a server, serves it, runs its own work in the background, and makes the users of As.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{Clock: &Clock{}, clients: map[string]*client.Client{}, log: &journal{}}
	s.Clock.now.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	var ids atomic.Int64
	c := server.Config{Data: t.TempDir(), Database: o.Database, Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if !o.RealTime {
		c.Now = s.Clock.Now
		c.NewID = func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", ids.Add(1)) }
	}
	if o.Set != nil {
		o.Set(&c)
	}
	t.Cleanup(func() { s.log.check(t) })
	var err error
	if s.Server, err = server.Open(t.Context(), c); err != nil {
		t.Fatalf("server: %v", err)
	}
	s.Secret(s.AgentToken)
	s.serve(t)
	s.populate(t)
	ids.Store(0)
	s.Base = s.Rev(t)
	return s
}

// serve listens and runs until the test ends; then everything is closed in the opposite order.
func (s *Server) serve(t testing.TB) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	web := httptest.NewUnstartedServer(Checked(t, s.Handler))
	web.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	web.Start()
	s.URL = web.URL
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		web.Close()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// Rev is the store's newest revision.
func (s *Server) Rev(t testing.TB) (rev int64) {
	t.Helper()
	err := s.Store.View(t.Context(), func(r resource.Reader) (err error) {
		rev, err = r.Rev(t.Context())
		return err
	})
	if err != nil {
		t.Fatalf("revision: %v", err)
	}
	return rev
}

// Settle waits until the deadline of everything that is pending runs, so that advancing the clock means something.
func (s *Server) Settle(t testing.TB) {
	t.Helper()
	rev := s.Rev(t)
	for end := time.Now().Add(20 * time.Second); s.VPN.Watched() < rev; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the server watches up to revision %d, not yet %d", s.VPN.Watched(), rev)
		}
	}
}

// Secret names a text that must never be logged.
func (s *Server) Secret(text string) { s.log.secret(text) }

// Log is what the server has logged, JSON lines.
func (s *Server) Log() string { return s.log.String() }
