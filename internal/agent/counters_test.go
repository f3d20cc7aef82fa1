package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/agent"
	"culvert/internal/vpn"
)

// ledger is a server that notes what it was told to count, and may refuse.
type ledger struct {
	deaf
	calls  []string // at which second what came
	start  time.Time
	broken bool
}

func (l *ledger) Watch(ctx context.Context, _ int64, _ func(agent.Line) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func (l *ledger) Count(_ context.Context, list []vpn.Statistics) error {
	var ids []string
	for _, s := range list {
		ids = append(ids, fmt.Sprintf("%s %d", s.Connection, s.PacketsIn))
	}
	l.calls = append(l.calls, fmt.Sprintf("%.0fs: %s", time.Since(l.start).Seconds(), strings.Join(ids, ", ")))
	if l.broken {
		return errors.New("broken")
	}
	return nil
}

// What the tunnels carry is sent once a pulse, where it has changed; all of it each minute, and after a failure.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, l := newMachine(), &ledger{start: time.Now()}
		at := func(text string) *string { return &text }
		ctx, cancel := context.WithCancel(t.Context())
		a, err := agent.New(agent.Config{Server: l, Gateway: m, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		step := func(list ...vpn.Statistics) {
			m.measure(list)
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		step()
		step(vpn.Statistics{Connection: "a", PacketsIn: 1, MeasuredAt: at("1")}, vpn.Statistics{Connection: "b"})
		step(vpn.Statistics{Connection: "a", PacketsIn: 1, MeasuredAt: at("2")}, vpn.Statistics{Connection: "b"})
		step(vpn.Statistics{Connection: "a", PacketsIn: 2, MeasuredAt: at("3")}, vpn.Statistics{Connection: "b"})
		l.broken = true
		step(vpn.Statistics{Connection: "a", PacketsIn: 3}, vpn.Statistics{Connection: "b"})
		l.broken = false
		step(vpn.Statistics{Connection: "a", PacketsIn: 3}, vpn.Statistics{Connection: "b"})
		for range 13 {
			step(vpn.Statistics{Connection: "b"})
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		got := strings.Join(l.calls, "\n")
		want := "10s: a 1, b 0\n20s: a 2\n25s: a 3\n30s: a 3, b 0\n90s: b 0"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// What tunnels carry crosses HTTP whole.
func TestCountersOverHTTP(t *testing.T) {
	w := newWorld(t)
	at, rtt := "2026-01-02 03:04:05.000000", 1.5
	want := []vpn.Statistics{{Connection: "a", MeasuredAt: &at, PacketsIn: 1 << 60, Traffic: vpn.TrafficIn, SAs: []vpn.IKESA{{Version: "v2", EstablishedAt: &at,
		Children: []vpn.ChildSA{{SPIIn: "c4a1f2d9", LocalTS: []string{"10.1.0.0/24"}}}}}, Probe: &vpn.Probe{Sent: 2, Loss: 0.5, RTT: &rtt}}}
	if err := w.client.Count(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, w.board.counted); diff != "" {
		t.Error(diff)
	}
}
