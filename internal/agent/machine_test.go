package agent_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"culvert/internal/vpn"
)

// machine is a gateway host in memory, which keeps the contract of agent.Gateway: it reports every Spec that it made true.
type machine struct {
	reports chan vpn.Report

	mu      sync.Mutex
	specs   map[string]vpn.Spec // what stands
	calls   []string            // "set a 3", in order of their begin
	fail    map[string]int      // Sets and Removes of a router that are still to fail
	failure error               // of them; nil: one with a key in it
	hold    map[string]chan struct{}
	inside  map[string]bool
	broken  error // a rule of the contract that the agent broke
	seen    []vpn.Seen
	told    int64 // events that the agent told it to forget
	noted   chan struct{}
	carried []vpn.Statistics
}

func (m *machine) Statistics() []vpn.Statistics {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.carried
}

// measure sets what the tunnels carry.
func (m *machine) measure(list []vpn.Statistics) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.carried = list
}

func newMachine() *machine {
	return &machine{reports: make(chan vpn.Report, 100), specs: map[string]vpn.Spec{}, fail: map[string]int{},
		hold: map[string]chan struct{}{}, inside: map[string]bool{}, noted: make(chan struct{}, 1)}
}

func (m *machine) enter(ctx context.Context, call, router string) error {
	m.mu.Lock()
	if m.inside[router] {
		m.broken = errors.New("two calls for one router at a time")
	}
	m.inside[router] = true
	m.calls = append(m.calls, call)
	hold := m.hold[router]
	m.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside[router] = false
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if m.fail[router] > 0 {
		m.fail[router]--
		if m.failure != nil {
			return m.failure
		}
		return errors.New("charon said no to hunter2-secret\nin two lines")
	}
	return nil
}

func (m *machine) Set(ctx context.Context, s vpn.Spec) error {
	if err := m.enter(ctx, "set "+s.Router, s.Router); err != nil {
		return err
	}
	m.mu.Lock()
	m.specs[s.Router] = s
	m.mu.Unlock()
	r := vpn.Report{Router: s.Router, Rev: s.Rev, Ready: true}
	for _, c := range s.Connections {
		if c.ID == "quiet" { // its state is not known yet
			continue
		}
		r.Connections = append(r.Connections, vpn.ConnectionReport{ID: c.ID, State: vpn.StateUp})
	}
	select {
	case m.reports <- r:
	case <-ctx.Done():
	}
	return nil
}

func (m *machine) Remove(ctx context.Context, router string) error {
	if err := m.enter(ctx, "remove "+router, router); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.specs, router)
	return nil
}

func (m *machine) Reports() <-chan vpn.Report { return m.reports }

// happen notes events.
func (m *machine) happen(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		m.seen = append(m.seen, vpn.Seen{Event: vpn.Event{ID: id}})
	}
	select {
	case m.noted <- struct{}{}:
	default:
	}
}

func (m *machine) Events(after int64, most int) ([]vpn.Seen, int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := min(max(0, after-m.told), int64(len(m.seen)))
	to := min(from+int64(most), int64(len(m.seen)))
	return slices.Clone(m.seen[from:to]), m.told + to
}

func (m *machine) Noted() <-chan struct{} { return m.noted }

func (m *machine) Forget(upTo int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if upTo <= m.told {
		return
	}
	m.seen, m.told = m.seen[upTo-m.told:], upTo
}

func (m *machine) Routers() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.specs)), nil
}

// stands is the revision of the Spec that stands for each router.
func (m *machine) stands() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]int64{}
	for r, s := range m.specs {
		out[r] = s.Rev
	}
	return out
}

func (m *machine) do(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}

// board is the server's side in memory: api.Gateways for the tests over HTTP.
type board struct {
	mu       sync.Mutex
	rev      int64
	specs    map[string]vpn.Spec
	changed  chan struct{}
	lost     chan struct{}
	reports  []vpn.Report
	events   []vpn.Seen
	settled  int  // durable batches that were asked for
	diskFull bool // they fail
	attached int
	counted  []vpn.Statistics
}

func newBoard() *board {
	return &board{specs: map[string]vpn.Spec{}, changed: make(chan struct{}), lost: make(chan struct{})}
}

// put writes a Spec under the next revision, which it returns.
func (b *board) put(s vpn.Spec) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rev++
	s.Rev = b.rev
	b.specs[s.Router] = s
	close(b.changed)
	b.changed = make(chan struct{})
	return b.rev
}

// drop forgets a router without a word.
func (b *board) drop(router string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.specs, router)
}

func (b *board) Specs(_ context.Context, after int64) ([]vpn.Spec, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []vpn.Spec
	for _, r := range slices.Sorted(maps.Keys(b.specs)) {
		if s := b.specs[r]; s.Rev > after {
			out = append(out, s)
		}
	}
	return out, b.rev, nil
}

func (b *board) Changed(rev int64) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rev > rev {
		done := make(chan struct{})
		close(done)
		return done
	}
	return b.changed
}

func (b *board) Lost() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// lose forgets what it was told.
func (b *board) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports = nil
	close(b.lost)
	b.lost = make(chan struct{})
}

func (b *board) Count(_ context.Context, list []vpn.Statistics) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counted = append(b.counted, list...)
	return nil
}

func (b *board) Report(_ context.Context, batch vpn.Batch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if batch.Durable {
		if b.settled++; b.diskFull {
			return errors.New("the disk is full")
		}
	}
	b.reports = append(b.reports, batch.Reports...)
	for _, e := range batch.Events {
		if !slices.ContainsFunc(b.events, func(known vpn.Seen) bool { return known.ID == e.ID }) {
			b.events = append(b.events, e)
		}
	}
	return nil
}

func (b *board) Attach() func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attached++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.attached--
	}
}

// of are the reports on a router so far.
func (b *board) of(router string) []vpn.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []vpn.Report
	for _, r := range b.reports {
		if r.Router == router {
			out = append(out, r)
		}
	}
	return out
}

func (b *board) watchers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.attached
}
