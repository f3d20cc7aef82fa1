package storetest

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"culvert/internal/resource"
)

// soon waits until ch is closed.
func (s *suite) soon(ch <-chan struct{}) {
	s.Helper()
	select {
	case <-ch:
	case <-time.After(waitLimit):
		s.Fatal("nobody was woken")
	}
}

// await waits as a watcher does until a revision after rev is visible in st.
func (s *suite) await(st resource.Store, rev int64) error {
	for deadline := time.After(waitLimit); ; {
		wake := st.Changed(rev)
		var now int64
		err := st.View(s.ctx, func(r resource.Reader) (err error) {
			now, err = r.Rev(s.ctx)
			return err
		})
		if err != nil || now > rev {
			return err
		}
		select {
		case <-wake:
		case <-deadline:
			return fmt.Errorf("revision %d was not seen to pass", rev)
		}
	}
}

func (s *suite) changed() {
	before := s.store.Changed(0)
	rev := s.insert(row("a", "{}"))
	s.soon(before)
	s.soon(s.store.Changed(rev - 1)) // already there
	s.must(s.try(func(resource.Tx) error { return nil }))
	next := s.store.Changed(rev)
	s.must(s.delete("a"))
	s.soon(next)
	st, err := s.fresh()
	s.must(err)
	waiting := st.Changed(rev + 100)
	s.must(st.Close())
	s.soon(waiting)
}

// settled: a change that only settles commits, and keeps what was observed.
func (s *suite) settled() {
	_, err := s.store.Observe(s.ctx, func(t resource.Tx) error { return t.Insert(s.ctx, row("a", "{}")) })
	s.must(err)
	before := s.rev()
	rev, err := s.store.Change(s.ctx, func(t resource.Tx) error { t.Settle(); return nil })
	s.must(err)
	if rev != before+1 || s.rev() != rev {
		s.Errorf("revision %d, then %d after %d", rev, s.rev(), before)
	}
}

// servers: what one server writes wakes another one.
func (s *suite) servers() {
	other := s.open()
	for i := range 3 {
		rev := s.rev()
		done := make(chan error, 1)
		go func() { done <- s.await(other, rev) }()
		s.insert(row(fmt.Sprintf("a%d", i), "{}"))
		s.must(<-done)
	}
}

// concurrent: increments from two servers at once; none is lost, every revision is one increment, and a watcher never
// sees a revision before an earlier one.
func (s *suite) concurrent() {
	const workers, each = 4, 15
	stores := []resource.Store{s.store, s.open()}
	start := s.insert(row("counter", `{"n":0}`))
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int64]bool{}
	for w := range workers {
		wg.Go(func() {
			run := stores[w%2].Change
			if w/2 == 1 { // the two are serialised among each other
				run = stores[w%2].Observe
			}
			for range each {
				rev, err := run(s.ctx, s.increment)
				if err != nil {
					s.Errorf("change: %v", err)
					return
				}
				mu.Lock()
				seen[rev] = true
				mu.Unlock()
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	for ended := false; !ended; {
		select {
		case <-finished:
			ended = true
		default:
		}
		s.consistent(start)
	}
	r, err := s.get("thing", "counter")
	s.must(err)
	s.equal(string(r.Doc), fmt.Sprintf(`{"n":%d}`, workers*each))
	s.equal(r.Rev, start+workers*each)
	s.equal(len(seen), workers*each)
}

// increment adds one to the counter's document.
func (s *suite) increment(t resource.Tx) error {
	r, err := t.Get(s.ctx, "thing", "counter")
	if err != nil {
		return err
	}
	n, err := count(r.Doc)
	if err != nil {
		return err
	}
	r.Doc = fmt.Appendf(nil, `{"n":%d}`, n+1)
	return t.Update(s.ctx, r)
}

func count(doc []byte) (int64, error) {
	return strconv.ParseInt(string(doc[len(`{"n":`):len(doc)-1]), 10, 64)
}

// consistent checks that one snapshot has the newest revision, the row's and the counter in step.
func (s *suite) consistent(start int64) {
	s.Helper()
	s.must(s.store.View(s.ctx, func(r resource.Reader) error {
		rev, err := r.Rev(s.ctx)
		if err != nil {
			return err
		}
		row, err := r.Get(s.ctx, "thing", "counter")
		if err != nil {
			return err
		}
		n, err := count(row.Doc)
		s.equal([]int64{row.Rev, n}, []int64{rev, rev - start})
		return err
	}))
}

func (s *suite) reopen() {
	st, err := s.fresh()
	s.must(err)
	first := row("a", `{"v":1}`)
	first.Rev, err = st.Change(s.ctx, func(t resource.Tx) error { return t.Insert(s.ctx, first) })
	s.must(err)
	s.must(st.Close())
	s.store = s.open()
	got, err := s.get("thing", "a")
	s.must(err)
	s.equal(got, first)
	s.soon(s.store.Changed(first.Rev - 1))
	s.equal(s.insert(row("b", "{}")), first.Rev+1)
}
