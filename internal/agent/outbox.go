package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"culvert/internal/vpn"
)

// outbox holds what is still to be said. A newer report takes the place of an older one on the same router, but for the
// connections that only the older one speaks of: however long the server is away, no more is kept than one state of each.
type outbox struct {
	mu     sync.Mutex
	seq    int64
	queue  map[string][]entry // not yet stored by the server; by router, oldest first
	said   map[string][]entry // the newest of every router, stored or not
	wake   chan struct{}
	notify chan struct{} // the server is back: do not wait any longer
}

type entry struct {
	seq    int64
	report vpn.Report
}

func newOutbox() outbox {
	return outbox{queue: map[string][]entry{}, said: map[string][]entry{}, wake: make(chan struct{}, 1), notify: make(chan struct{}, 1)}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// add queues a report.
func (o *outbox) add(r vpn.Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	e := entry{o.seq, r}
	o.queue[r.Router] = append(older(o.queue[r.Router], r), e)
	o.said[r.Router] = append(older(o.said[r.Router], r), e)
	signal(o.wake)
}

// older is what still holds of the entries beside a newer report.
func older(entries []entry, newer vpn.Report) []entry {
	return without(entries, func(id string) bool {
		return slices.ContainsFunc(newer.Connections, func(c vpn.ConnectionReport) bool { return c.ID == id })
	})
}

// without drops connections, and entries that have none then. It changes none of the entries: they may be on their way.
func without(entries []entry, drop func(id string) bool) []entry {
	var out []entry
	for _, e := range entries {
		e.report.Connections = slices.DeleteFunc(slices.Clone(e.report.Connections), func(c vpn.ConnectionReport) bool { return drop(c.ID) })
		if len(e.report.Connections) > 0 {
			out = append(out, e)
		}
	}
	return out
}

// prune forgets what was said of connections that a router no longer has; its newest report stays.
func (o *outbox) prune(s vpn.Spec) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.said[s.Router]); n > 1 {
		old, newest := o.said[s.Router][:n-1], o.said[s.Router][n-1]
		o.said[s.Router] = append(without(old, func(id string) bool {
			return !slices.ContainsFunc(s.Connections, func(c vpn.ConnectionSpec) bool { return c.ID == id })
		}), newest)
	}
}

// last queues the last report of a router that was removed.
func (o *outbox) last(r vpn.Report) {
	o.forget(r.Router)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seq++
	o.queue[r.Router] = []entry{{o.seq, r}}
	signal(o.wake)
}

// forget drops all of a router.
func (o *outbox) forget(router string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.queue, router)
	delete(o.said, router)
}

// again queues the newest of every named router once more: a server that was away may have taken its gateways for gone.
// The entries get new numbers, or the end of a call in progress would drop them.
func (o *outbox) again(named map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for router, entries := range o.said {
		if !named[router] {
			delete(o.said, router)
			continue
		}
		for i := range entries {
			o.seq++
			entries[i].seq = o.seq
		}
		o.queue[router] = slices.Clone(entries)
	}
	signal(o.wake)
	signal(o.notify)
}

// maxBatch bounds one call of Server.Report.
const maxBatch = 100

// batch is the oldest of the queue, and the number of its last entry.
func (o *outbox) batch() (reports []vpn.Report, upTo int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []entry
	for _, entries := range o.queue {
		all = append(all, entries...)
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
	for _, e := range all[:min(len(all), maxBatch)] {
		reports, upTo = append(reports, e.report), e.seq
	}
	return reports, upTo
}

// done drops what the server has stored.
func (o *outbox) done(upTo int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for router, entries := range o.queue {
		entries = slices.DeleteFunc(entries, func(e entry) bool { return e.seq <= upTo })
		if o.queue[router] = entries; len(entries) == 0 {
			delete(o.queue, router)
		}
	}
}

// collect takes what the gateway saw.
func (a *Agent) collect(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r, ok := <-a.Gateway.Reports():
			if !ok {
				return
			}
			a.reports.add(r)
		}
	}
}

// eventDelay is how long an event waits for others and for a report to go with, so that a tunnel that comes up is one change
// in the server's store and not three.
const eventDelay = 250 * time.Millisecond

// maxEvents bounds the events of one call.
const maxEvents = 500

// parcel is one call of Server.Report, and how far the queues are empty after it.
type parcel struct {
	vpn.Batch
	reports, events int64
}

// pack waits until there is something to tell: a report goes at once, with all events so far; an event alone a little
// later. False is the end of ctx. more says that events may be left from the last time.
func (a *Agent) pack(ctx context.Context, more bool) (p parcel, ok bool) {
	var due <-chan time.Time
	for ctx.Err() == nil {
		if p.Reports, p.reports = a.reports.batch(); len(p.Reports) > 0 || more {
			p.Events, p.events = a.Gateway.Events(a.told.upTo.Load(), maxEvents)
		}
		if len(p.Reports)+len(p.Events) > 0 {
			return p, true
		}
		more = false
		select {
		case <-ctx.Done():
		case <-a.reports.wake:
		case <-a.Gateway.Noted():
			if due == nil {
				due = time.After(eventDelay)
			}
		case <-due:
			due, more = nil, true
		}
	}
	return p, false
}

// done notes what the server has, or never will have.
func (a *Agent) done(p parcel) {
	a.reports.done(p.reports)
	a.told.reach(p.events, len(p.Events))
}

// send tells the server whenever there is something to tell. Of many events at once settle tells the rest.
func (a *Agent) send(ctx context.Context) {
	wait := backoff{Pace: a.Reconnect}
	last := "" // failure, since the last success
	more := true
	for {
		p, ok := a.pack(ctx, more)
		if !ok {
			return
		}
		err := a.Server.Report(ctx, p.Batch)
		if err == nil || errors.Is(err, ErrRejected) {
			a.done(p)
			wait.reset()
		}
		more = err != nil
		if err == nil {
			last = ""
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		a.Log.Log(ctx, level(err, last), "reports were not taken", "reports", len(p.Reports), "events", len(p.Events), "error", err)
		last = err.Error()
		if !errors.Is(err, ErrRejected) {
			pause(ctx, wait.next(), a.reports.notify)
		}
	}
}
