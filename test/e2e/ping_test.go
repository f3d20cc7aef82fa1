package e2e

import (
	"context"
	"testing"
	"time"

	"culvert/internal/lab"
)

// ping sends packets both ways through the tunnel; none may be lost.
func (c *tunnel) ping() {
	c.s.t.Helper()
	c.pingTo(c.remote)
}

func (c *tunnel) pingTo(remote string) {
	c.s.t.Helper()
	for _, p := range []struct {
		host     *lab.Host
		from, to string
	}{{c.s.hq, hqHost, remote}, {c.branch.Host, remote, hqHost}} {
		got, err := p.host.Ping(c.s.t.Context(), addr(p.from), addr(p.to), 5, 5*time.Millisecond)
		if err != nil || got.Lost() > 0 {
			c.s.t.Fatalf("ping %s from %s: %v, %v", p.to, p.from, got, err)
		}
	}
}

// noPing checks that nothing gets through from the head office.
func (c *tunnel) noPing(remote string) {
	c.s.t.Helper()
	got, err := c.s.hq.Ping(c.s.t.Context(), addr(hqHost), addr(remote), 3, 5*time.Millisecond)
	if err != nil || got.Received > 0 {
		c.s.t.Errorf("ping %s: %v, %v; want no answer", remote, got, err)
	}
}

// pinging is a series of pings in the background.
type pinging struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	result lab.PingResult
	err    error
}

// pingOn pings the branch from the head office until stop.
func (c *tunnel) pingOn(interval time.Duration) *pinging {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pinging{t: c.s.t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.result, p.err = c.s.hq.Ping(ctx, addr(hqHost), addr(c.remote), 0, interval)
	}()
	c.s.t.Cleanup(func() { p.end() })
	return p
}

func (p *pinging) end() {
	p.cancel()
	<-p.done
}

// stop ends the series and answers what it came to.
func (p *pinging) stop() lab.PingResult {
	p.t.Helper()
	p.end()
	if p.err != nil {
		p.t.Fatal(p.err)
	}
	return p.result
}

// stopWithoutLoss ends the series, which must have sent at least so many packets and lost none.
func (p *pinging) stopWithoutLoss(what string, least int) {
	p.t.Helper()
	if got := p.stop(); got.Lost() > 0 || got.Sent < least {
		p.t.Errorf("ping while %s: %s; want at least %d sent and none lost", what, got, least)
	}
}
