package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/crud"
	"culvert/internal/keystone"
	"culvert/internal/resource"
	"culvert/internal/server"
	"culvert/internal/vpn"
	"culvert/internal/vpntest"
)

// A server that starts while Keystone and Neutron are away, and then do not even refuse: no change waits for them, neither a
// report does, and nothing stays PENDING (api-contract D10).
func TestStartWithoutNeutron(t *testing.T) {
	data, router, pending := filepath.Join(t.TempDir(), "data"), "", map[string]string{}
	t.Run("before", func(t *testing.T) { // the rows are as those that stand on a Neutron's router
		srv := vpntest.Start(t, vpntest.Options{Set: func(c *server.Config) { c.Data = data }})
		v := layScene(t, srv)
		service, conn := tunnel(t, srv, v)
		router, pending = v["router"], map[string]string{service: vpn.KindService, conn: vpn.KindConnection}
	})
	cloud := newSilence(t)
	s, err := server.Open(t.Context(), server.Config{Data: data, Neutron: cloud.url(), PendingDeadline: time.Second, Log: slog.New(slog.DiscardHandler),
		Keystone: keystone.Config{URL: cloud.url(), User: "culvert", Password: "x", Project: "service", Domain: "Default"}})
	if err != nil {
		t.Fatal(err)
	}
	cloud.silent.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	defer func() {
		cancel()
		cloud.end()
		if err := errors.Join(<-ran, s.Close()); err != nil {
			t.Error(err)
		}
	}()
	for begun := time.Now(); time.Since(begun) < 5*time.Second || len(pending) > 0; { // it is left alone for 2 s after a failure
		if time.Since(begun) > 15*time.Second {
			t.Fatalf("still pending: %v", pending)
		}
		change := time.Now()
		err := s.VPN.Report(t.Context(), vpn.Batch{Reports: []vpn.Report{{Router: router, Rev: 1, Ready: true}}})
		if refused := (*resource.Error)(nil); !errors.As(err, &refused) || refused.Code != 503 {
			t.Fatalf("a report on a router that is not known: %v, want a 503", err)
		}
		if _, err := s.Resources.Change(t.Context(), func(*crud.Op) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(change); took > 2*time.Second {
			t.Fatalf("a report and a change took %s", took)
		}
		settled(t, s, pending)
		time.Sleep(20 * time.Millisecond)
	}
}

// settled takes out of pending what is not PENDING_* any more.
func settled(t *testing.T, s *server.Server, pending map[string]string) {
	t.Helper()
	err := s.Store.View(t.Context(), func(r resource.Reader) error {
		for id, kind := range pending {
			row, err := r.Get(t.Context(), kind, id)
			if err != nil {
				return err
			}
			var doc client.Object
			if err := json.Unmarshal(row.Doc, &doc); err != nil {
				return err
			}
			if !slices.Contains([]string{vpn.PendingCreate, vpn.PendingUpdate}, doc["status"].(string)) {
				delete(pending, id)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// silence is a host that hangs up at once, or later takes every connection and says nothing.
type silence struct {
	ln     net.Listener
	silent atomic.Bool
	mu     sync.Mutex
	held   []net.Conn
}

func newSilence(t *testing.T) *silence {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silence{ln: ln}
	t.Cleanup(s.end)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if !s.silent.Load() {
				_ = c.Close()
				continue
			}
			s.mu.Lock()
			s.held = append(s.held, c)
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *silence) url() string { return "http://" + s.ln.Addr().String() }

// end hangs up on everybody.
func (s *silence) end() {
	_ = s.ln.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.held {
		_ = c.Close()
	}
}
