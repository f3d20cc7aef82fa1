package dataplane

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/sitetest"
)

// pingFor pings the branch from the head office so many times, and answers when it is over.
func pingFor(c *sitetest.Tunnel, count int, interval time.Duration) <-chan lab.PingResult {
	t, hq := c.Site.T, c.Site.HQ
	done := make(chan lab.PingResult, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		got, err := hq.Ping(ctx, sitetest.Addr(sitetest.HQHost), sitetest.Addr(c.Remote), count, interval)
		if err != nil {
			t.Errorf("ping %s: %v", c.Remote, err)
		}
		done <- got
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return done
}

// pingOn pings from one address to another until the test ends.
func pingOn(t *testing.T, host *lab.Host, from, to netip.Addr, interval time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := host.Ping(ctx, from, to, 0, interval); err != nil {
			t.Errorf("ping %s: %v", to, err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
}
