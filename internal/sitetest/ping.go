package sitetest

import (
	"context"
	"testing"
	"time"

	"culvert/internal/lab"
)

// Ping sends packets both ways through the tunnel; none may be lost.
func (c *Tunnel) Ping() {
	c.Site.T.Helper()
	c.PingTo(c.Remote)
}

func (c *Tunnel) PingTo(remote string) {
	c.Site.T.Helper()
	for _, p := range []struct {
		Host     *lab.Host
		From, To string
	}{{c.Site.HQ, HQHost, remote}, {c.Branch.Host, remote, HQHost}} {
		got, err := p.Host.Ping(c.Site.T.Context(), Addr(p.From), Addr(p.To), 5, 5*time.Millisecond)
		if err != nil || got.Lost() > 0 {
			c.Site.T.Fatalf("ping %s from %s: %v, %v", p.To, p.From, got, err)
		}
	}
}

// NoPing checks that nothing gets through from the head office.
func (c *Tunnel) NoPing(remote string) {
	c.Site.T.Helper()
	got, err := c.Site.HQ.Ping(c.Site.T.Context(), Addr(HQHost), Addr(remote), 3, 5*time.Millisecond)
	if err != nil || got.Received > 0 {
		c.Site.T.Errorf("ping %s: %v, %v; want no answer", remote, got, err)
	}
}

// Pinging is a series of pings in the background.
type Pinging struct {
	T      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	result lab.PingResult
	err    error
}

// PingOn pings the branch from the head office until stop.
func (c *Tunnel) PingOn(interval time.Duration) *Pinging {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pinging{T: c.Site.T, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.result, p.err = c.Site.HQ.Ping(ctx, Addr(HQHost), Addr(c.Remote), 0, interval)
	}()
	c.Site.T.Cleanup(func() { p.End() })
	return p
}

func (p *Pinging) End() {
	p.cancel()
	<-p.done
}

// Stop ends the series and answers what it came to.
func (p *Pinging) Stop() lab.PingResult {
	p.T.Helper()
	p.End()
	if p.err != nil {
		p.T.Fatal(p.err)
	}
	return p.result
}

// StopWithoutLoss ends the series, which must have sent at least so many packets and lost none.
func (p *Pinging) StopWithoutLoss(what string, least int) {
	p.T.Helper()
	got := p.Stop()
	if got.Lost() > 0 || got.Sent < least {
		p.T.Errorf("ping while %s: %s; want at least %d sent and none lost", what, got, least)
	}
	p.T.Logf("ping while %s: %s", what, got)
}
