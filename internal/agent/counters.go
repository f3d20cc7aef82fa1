package agent

import (
	"context"
	"reflect"
	"time"

	"culvert/internal/vpn"
)

const (
	defaultPulse = 5 * time.Second
	// countAgain is after how many pulses what has not changed is sent again: the server keeps it in memory alone.
	countAgain = 12
	// maxCounted bounds one call of Server.Count.
	maxCounted = 500
)

// counted is what was sent last of each connection.
type counted struct {
	last map[string]vpn.Statistics
	age  int // pulses since all of it was sent
}

// count sends what the tunnels carry, once a pulse and the newest alone: what the server does not take is forgotten, since
// the next one says more.
func (a *Agent) count(ctx context.Context) {
	tick := time.NewTicker(a.Pulse)
	defer tick.Stop()
	c := counted{}
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := a.sendCounted(ctx, &c)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			last = ""
			continue
		}
		c = counted{}
		a.Log.Log(ctx, level(err, last), "statistics were not taken", "error", err)
		last = err.Error()
	}
}

func (a *Agent) sendCounted(ctx context.Context, c *counted) error {
	for news := c.news(a.Gateway.Statistics()); len(news) > 0; {
		n := min(len(news), maxCounted)
		if err := a.Server.Count(ctx, news[:n]); err != nil {
			return err
		}
		news = news[n:]
	}
	return nil
}

// news answers what is otherwise than it was sent last, and remembers all. That something was measured again with the same
// result can wait.
func (c *counted) news(now []vpn.Statistics) (out []vpn.Statistics) {
	c.age++
	whole := c.last == nil || c.age >= countAgain
	if whole {
		c.age = 0
	}
	next := make(map[string]vpn.Statistics, len(now))
	for _, s := range now {
		before, known := c.last[s.Connection]
		before.MeasuredAt = s.MeasuredAt
		if whole || !known || !reflect.DeepEqual(before, s) {
			out = append(out, s)
		}
		next[s.Connection] = s
	}
	c.last = next
	return out
}
