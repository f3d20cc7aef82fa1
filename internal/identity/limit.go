package identity

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many logins may fail. Logins that succeed cost nothing here.
const (
	userBurst    = 10
	userEvery    = 6 * time.Second // one more failure for a user each
	sourceBurst  = 100
	sourceEvery  = time.Second
	maxBuckets   = 20_000
	sourcePrefix = "from "
	userPrefix   = "user "
)

// failures counts failed logins per user name and per source address.
type failures struct {
	now     func() time.Time
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, buckets: map[string]*rate.Limiter{}}
}

// wait is how long no login is tried for this user and source, 0 when one may be.
func (f *failures) wait(user, source string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.left(userPrefix+user), f.left(sourcePrefix+source))
}

func (f *failures) left(key string) time.Duration {
	l := f.buckets[key]
	if l == nil {
		return 0
	}
	missing := 1 - l.TokensAt(f.now())
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(l.Limit()) * float64(time.Second))
}

// failed counts one failure.
func (f *failures) failed(user, source string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.take(userPrefix+user, rate.Every(userEvery), userBurst)
	f.take(sourcePrefix+source, rate.Every(sourceEvery), sourceBurst)
}

func (f *failures) take(key string, limit rate.Limit, burst int) {
	l := f.buckets[key]
	if l == nil {
		if len(f.buckets) >= maxBuckets {
			f.sweep()
		}
		l = rate.NewLimiter(limit, burst)
		f.buckets[key] = l
	}
	l.AllowN(f.now(), 1)
}

// sweep forgets full buckets, which say nothing, and if there are none then any: memory stays bounded.
func (f *failures) sweep() {
	now := f.now()
	for k, l := range f.buckets {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(f.buckets, k)
		}
	}
	for k := range f.buckets {
		if len(f.buckets) < maxBuckets {
			return
		}
		delete(f.buckets, k)
	}
}
