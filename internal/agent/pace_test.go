package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"culvert/internal/agent"
	"culvert/internal/vpn"
)

// deaf is a server that takes nothing, and notes when it was asked.
type deaf struct {
	watches, reports []time.Time
	first            *vpn.Spec // sent before the watch breaks
}

func (d *deaf) Watch(_ context.Context, _ int64, each func(agent.Line) error) error {
	d.watches = append(d.watches, time.Now())
	if d.first != nil {
		rev := d.first.Rev
		if err := errors.Join(each(agent.Line{Spec: d.first}), each(agent.Line{Synced: &rev})); err != nil {
			return err
		}
	}
	return errors.New("broken")
}

func (d *deaf) Report(context.Context, vpn.Batch) error {
	d.reports = append(d.reports, time.Now())
	return errors.New("broken")
}

func (d *deaf) Count(context.Context, []vpn.Statistics) error { return errors.New("broken") }

func gaps(at []time.Time) (out []time.Duration) {
	for i := 1; i < len(at); i++ {
		out = append(out, at[i].Sub(at[i-1]))
	}
	return out
}

// within says that each wait is between a half of the pace and the whole.
func within(t *testing.T, what string, got []time.Duration, min, max time.Duration) {
	t.Helper()
	if len(got) < 3 {
		t.Fatalf("%s: only %d waits", what, len(got))
	}
	for i, g := range got {
		if g < min/2 || g > min {
			t.Errorf("%s: wait %d was %v, want %v to %v", what, i, g, min/2, min)
		}
		if min *= 2; min > max {
			min = max
		}
	}
}

func run(t *testing.T, s agent.Server, m *machine, d time.Duration) {
	t.Helper()
	a, err := agent.New(agent.Config{Server: s, Gateway: m, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
}

// While the server is away, watches and reports are tried from every 100 ms to every 5 s.
func TestPaceOfReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m := &deaf{}, newMachine()
		m.reports <- vpn.Report{Router: "a"}
		run(t, d, m, 2*time.Minute)
		within(t, "watch", gaps(d.watches), 100*time.Millisecond, 5*time.Second)
		within(t, "report", gaps(d.reports), 100*time.Millisecond, 5*time.Second)
	})
}

// timed is a machine that fails and notes when it was asked.
type timed struct {
	*machine
	at []time.Time
}

func (m *timed) Set(ctx context.Context, s vpn.Spec) error {
	m.at = append(m.at, time.Now())
	return m.machine.Set(ctx, s)
}

// steady sends one Spec and then stays.
type steady struct{ deaf }

func (s *steady) Watch(ctx context.Context, _ int64, each func(agent.Line) error) error {
	rev := s.first.Rev
	if err := errors.Join(each(agent.Line{Spec: s.first}), each(agent.Line{Synced: &rev})); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// A Spec that fails is tried again from every second to every 30 s.
func TestPaceOfRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &timed{machine: newMachine()}
		m.fail["a"] = 1 << 30
		a, err := agent.New(agent.Config{Server: &steady{deaf{first: &vpn.Spec{Router: "a", Rev: 7}}}, Gateway: m, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
		within(t, "set", gaps(m.at), time.Second, 30*time.Second)
	})
}

// A watch that was synced begins the pace anew.
func TestSyncedResetsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{first: &vpn.Spec{Router: "a", Rev: 7}}
		run(t, d, newMachine(), 10*time.Second)
		for i, g := range gaps(d.watches) {
			if g > 100*time.Millisecond {
				t.Fatalf("wait %d was %v", i, g)
			}
		}
	})
}
