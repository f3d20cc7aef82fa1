package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"culvert/internal/vpn"
)

// settleDelay is how long events that the server has taken wait for others to be put on its disk with.
const settleDelay = time.Second

// told says how far the server was told of events. It takes them without waiting for its disk, as it must not keep a status
// waiting; so the gateway keeps them until it was told once more, by a call that does wait (resource.Store's Observe and Change).
type told struct {
	upTo atomic.Int64
	wake chan struct{} // one slot: something was told
	many chan struct{} // one slot: a call was full
}

func newTold() told { return told{wake: make(chan struct{}, 1), many: make(chan struct{}, 1)} }

// reach notes that the server has everything up to n, out of the latest call with so many events.
func (t *told) reach(n int64, events int) {
	for old := t.upTo.Load(); n > old && !t.upTo.CompareAndSwap(old, n); old = t.upTo.Load() {
	}
	if events > 0 {
		signal(t.wake)
	}
	if events >= maxEvents {
		signal(t.many)
	}
}

// settle has the server put events on its disk, and the gateway forget them then. A backlog goes this way alone.
func (a *Agent) settle(ctx context.Context) {
	wait := backoff{Pace: a.Reconnect}
	last := "" // failure, since the last success
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-a.told.wake:
		}
		pause(ctx, settleDelay, a.told.many)
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = a.settleSome(ctx); err == nil {
				wait.reset()
				last = ""
			} else if ctx.Err() == nil {
				a.Log.Log(ctx, level(err, last), "events are not yet on the server's disk", "error", err)
				last = err.Error()
				pause(ctx, wait.next(), nil)
			}
		}
	}
}

// settleSome settles what one call holds. It leaves what the server has not been told of yet, unless that is much: it waits for
// a report to go with. more says that there may be more to settle.
func (a *Agent) settleSome(ctx context.Context) (more bool, err error) {
	events, upTo := a.Gateway.Events(0, maxEvents)
	if early := upTo - a.told.upTo.Load(); early > 0 && len(events) < maxEvents {
		early = min(early, int64(len(events)))
		events, upTo = events[:int64(len(events))-early], upTo-early
	}
	if len(events) == 0 {
		return false, nil
	}
	err = a.Server.Report(ctx, vpn.Batch{Events: events, Durable: true})
	if err != nil && !errors.Is(err, ErrRejected) {
		return true, err
	}
	a.told.reach(upTo, 0)
	a.Gateway.Forget(upTo)
	return len(events) == maxEvents, err
}
