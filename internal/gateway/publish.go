package gateway

import (
	"sync"

	"culvert/internal/vpn"
)

// publisher hands out the latest report of each router. A slow reader misses intermediate ones, never the newest, and
// never sees an older one after a newer one.
type publisher struct {
	out  chan vpn.Report
	wake chan struct{} // one slot
	stop chan struct{}

	mu      sync.Mutex
	pending map[string]numbered
	order   []string // routers with a pending report, oldest first
	count   uint64
}

type numbered struct {
	report vpn.Report
	number uint64
}

func newPublisher() *publisher {
	p := &publisher{out: make(chan vpn.Report), wake: make(chan struct{}, 1), stop: make(chan struct{}), pending: map[string]numbered{}}
	go p.run()
	return p
}

// post replaces the router's pending report.
func (p *publisher) post(r vpn.Report) {
	p.mu.Lock()
	if _, ok := p.pending[r.Router]; !ok {
		p.order = append(p.order, r.Router)
	}
	p.count++
	p.pending[r.Router] = numbered{r, p.count}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *publisher) first() (numbered, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		return numbered{}, false
	}
	return p.pending[p.order[0]], true
}

// sent forgets a report unless a newer one of its router has come; that one then waits behind the other routers.
func (p *publisher) sent(n numbered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	router := n.report.Router
	p.order = p.order[1:]
	if p.pending[router].number == n.number {
		delete(p.pending, router)
	} else {
		p.order = append(p.order, router)
	}
}

func (p *publisher) run() {
	defer close(p.out)
	for {
		n, ok := p.first()
		out := p.out
		if !ok {
			out = nil
		}
		select {
		case out <- n.report:
			p.sent(n)
		case <-p.wake: // perhaps there is a newer one of the same router
		case <-p.stop:
			return
		}
	}
}
