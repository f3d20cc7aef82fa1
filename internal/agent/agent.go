// Package agent is a gateway host's loop: it follows the server's watch, hands each router's newest Spec to the gateway, and
// sends back what the gateway saw. It knows neither Linux nor the store.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"culvert/internal/vpn"
)

// Gateway is what the loop needs of a machine.
type Gateway interface {
	// Set makes the Spec true, whatever was there before. Calls for one router never overlap. An error with a method
	// Hint() string says what the operator can do, one with Step() string what was being done: both are for tenants to read,
	// the error's text for the log alone.
	Set(ctx context.Context, s vpn.Spec) error
	// Remove takes everything of a router away; it is no error when nothing is there.
	Remove(ctx context.Context, router string) error
	// Reports are read until the channel is closed or Run ends. Every Spec that was made true is to be reported, also one
	// that changed nothing: the server waits for its revision. A Set that fails is reported by the Agent.
	Reports() <-chan vpn.Report
	// Events are the oldest of what the gateway saw happen after the one with a number, 0 for all, and was not told to forget
	// yet, at most so many; upTo is the number of the last. What is noted before a report is given out is among them when it
	// is. Noted has an element when there may be some.
	Events(after int64, most int) (events []vpn.Seen, upTo int64)
	Noted() <-chan struct{}
	// Forget says that the server has the events up to this one on its disk.
	Forget(upTo int64)
	// Statistics are what the tunnels carry, the newest of every connection.
	Statistics() []vpn.Statistics
	// Routers are those of which anything is on the machine.
	Routers() ([]string, error)
}

// Line is one line of a watch; one of its fields is set.
type Line struct {
	Spec   *vpn.Spec `json:"spec"`
	Synced *int64    `json:"synced"` // every Spec of this revision was sent
	Rev    *int64    `json:"rev"`    // a sign of life
}

// Server is the other end.
type Server interface {
	// Watch calls each for every line, in their order, until an error of its own or of each, which it returns.
	Watch(ctx context.Context, after int64, each func(Line) error) error
	// Report returns when the server has stored the batch, a durable one on its disk. ErrRejected says that it never will.
	Report(ctx context.Context, b vpn.Batch) error
	// Count tells what tunnels carry; the newest of a connection replaces what was told before.
	Count(ctx context.Context, list []vpn.Statistics) error
}

// ErrRejected is a report that the server does not understand: sending it again is of no use.
var ErrRejected = errors.New("rejected by the server")

// Config is what an Agent needs. Server, Gateway and Log are required.
type Config struct {
	Server  Server
	Gateway Gateway
	Log     *slog.Logger
	// Reconnect paces watches and reports while the server is away; zero: 100 ms to 5 s.
	Reconnect Pace
	// Retry paces a Set or Remove that fails; zero: 1 s to 30 s.
	Retry Pace
	// Pulse is the time between two looks at what the tunnels carry; 0: 5 s.
	Pulse time.Duration
}

// Pace is a wait that doubles from Min to Max with every failure.
type Pace struct{ Min, Max time.Duration }

// Agent is one gateway host's loop.
type Agent struct {
	Config
	reports outbox
	told    told

	mu      sync.Mutex
	workers map[string]*worker // routers with work to do or in progress
	running sync.WaitGroup
}

// New returns an Agent that does nothing before Run.
func New(c Config) (*Agent, error) {
	if c.Server == nil || c.Gateway == nil || c.Log == nil {
		return nil, errors.New("agent: Server, Gateway and Log must be set")
	}
	if c.Reconnect == (Pace{}) {
		c.Reconnect = Pace{100 * time.Millisecond, 5 * time.Second}
	}
	if c.Retry == (Pace{}) {
		c.Retry = Pace{time.Second, 30 * time.Second}
	}
	if c.Pulse <= 0 {
		c.Pulse = defaultPulse
	}
	return &Agent{Config: c, workers: map[string]*worker{}, reports: newOutbox(), told: newTold()}, nil
}

// Run works until ctx ends, and returns when everything that it began has ended. It takes no tunnel down, and returns nil.
// It may be called once.
func (a *Agent) Run(ctx context.Context) error {
	a.running.Go(func() { a.collect(ctx) })
	a.running.Go(func() { a.send(ctx) })
	a.running.Go(func() { a.settle(ctx) })
	a.running.Go(func() { a.count(ctx) })
	a.follow(ctx)
	a.running.Wait()
	return nil
}

// follow keeps a watch open. Each one begins with every Spec: what the server says then is the whole truth.
func (a *Agent) follow(ctx context.Context) {
	wait := backoff{Pace: a.Reconnect}
	last := "" // failure, since the last line came
	for ctx.Err() == nil {
		f := &following{a: a, ctx: ctx, named: map[string]bool{}, wait: &wait}
		err := a.Server.Watch(ctx, 0, f.line)
		if ctx.Err() != nil {
			return
		}
		if f.heard {
			last = ""
		}
		if errors.Is(err, ErrToken) {
			a.Log.Log(ctx, level(err, last), err.Error()+"; trying again until it takes it")
		} else {
			a.Log.Log(ctx, level(err, last), "the watch ended; connecting again until it stands", "error", err)
		}
		last = err.Error()
		pause(ctx, wait.next(), nil)
	}
}

// level is how loud a failure is to be logged; the same one again is no news.
func level(err error, last string) slog.Level {
	switch {
	case err.Error() == last:
		return slog.LevelDebug
	case errors.Is(err, ErrToken):
		return slog.LevelError
	}
	return slog.LevelWarn
}

// following is one watch.
type following struct {
	a      *Agent
	ctx    context.Context
	named  map[string]bool // routers that the server named before it was synced
	synced bool
	heard  bool // a line came
	wait   *backoff
}

func (f *following) line(l Line) error {
	f.heard = true
	switch {
	case l.Spec != nil:
		f.named[l.Spec.Router] = true
		f.a.post(f.ctx, *l.Spec, false)
	case l.Synced != nil && !f.synced:
		f.synced = true
		return f.sync(*l.Synced)
	}
	return nil
}

// sync removes what the server no longer knows of, and says again what it may have missed.
func (f *following) sync(rev int64) error {
	there, err := f.a.Gateway.Routers()
	if err != nil {
		return fmt.Errorf("list the routers on this machine: %w", err)
	}
	for _, router := range append(there, f.a.busy()...) {
		if !f.named[router] {
			f.a.post(f.ctx, vpn.Spec{Router: router, Rev: rev, Removed: true}, true)
		}
	}
	f.a.reports.again(f.named)
	f.wait.reset()
	f.a.Log.Info("synced with the server", "rev", rev, "routers", len(f.named))
	return nil
}

// backoff is a Pace on its way.
type backoff struct {
	Pace
	cur time.Duration
}

// next is the time to wait after one more failure: between a half of the pace and the whole, so that agents whose server
// comes back do not arrive together.
func (b *backoff) next() time.Duration {
	b.cur = min(max(2*b.cur, b.Min), b.Max)
	return b.cur/2 + rand.N(b.cur/2+1)
}

func (b *backoff) reset() { b.cur = 0 }

// pause waits for d, for a wake or for the end of ctx.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}
