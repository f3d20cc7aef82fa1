package keystone

import (
	"sync"
	"time"
)

const (
	believed = time.Minute     // how long Keystone's yes holds, unless the token ends before
	doubted  = 5 * time.Second // how long its no holds
	entries  = 10_000          // tokens that are kept at most
)

// key is a token's SHA-256: no token lies in memory longer than its request.
type key = [32]byte

type entry struct {
	verdict
	until time.Time
}

type cache struct {
	mu    sync.Mutex
	known map[key]entry
}

func newCache() *cache { return &cache{known: map[key]entry{}} }

func (c *cache) get(k key, now time.Time) (verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[k]
	return e.verdict, ok && now.Before(e.until)
}

func (c *cache) put(k key, v verdict, now time.Time) {
	until := now.Add(doubted)
	if v.valid {
		until = now.Add(believed)
		if v.expires.Before(until) {
			until = v.expires
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= entries {
		c.makeRoom(now)
	}
	c.known[k] = entry{v, until}
}

// makeRoom drops what has ended, and while that is not enough whatever comes first.
func (c *cache) makeRoom(now time.Time) {
	for k, e := range c.known {
		if !now.Before(e.until) {
			delete(c.known, k)
		}
	}
	for k := range c.known {
		if len(c.known) < entries*9/10 {
			return
		}
		delete(c.known, k)
	}
}
