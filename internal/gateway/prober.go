package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"culvert/internal/vpn"
)

// probeTarget is what one connection's active probe is about.
type probeTarget struct{ from, to netip.Addr }

// prober is the active probe of a connection that is up: a small echo request each pulse, and every other time one as large
// as the tunnel should carry. It needs the tunnel's own answers only, so it finds what counters cannot: nothing that answers,
// and packets that are too large for the path and vanish.
type prober struct {
	r      *router
	id     string
	target probeTarget
	pulse  time.Duration
	cancel context.CancelFunc
	done   chan struct{}

	seq    uint16                // the loop's own, as all before mu
	sent   map[uint16]probedEcho // unanswered
	warned map[string]bool
	count  *echoes

	mu       sync.Mutex
	window   []outcome // of small ones, oldest first
	answered time.Time
	large    int // bytes of the large ones
	largest  int // that was answered, since the large ones have this size
}

type probedEcho struct {
	size int
	at   time.Time
}

// outcome is what became of one request; a zero trip: no answer.
type outcome struct{ trip time.Duration }

const (
	probeWindow = 20              // small ones that loss and round trip are of
	probeWait   = 2 * time.Second // for an answer
	probeLostAt = 3               // small ones in a row without an answer are a fault
)

func startProber(ctx context.Context, r *router, id string, target probeTarget, pulse time.Duration, count *echoes) *prober {
	p := &prober{r: r, id: id, target: target, pulse: pulse, done: make(chan struct{}), sent: map[uint16]probedEcho{}, warned: map[string]bool{}, count: count}
	ctx, p.cancel = context.WithCancel(ctx)
	go func() {
		defer close(p.done)
		p.run(ctx)
	}()
	return p
}

// stop ends it and takes back what it warned of.
func (p *prober) stop() {
	p.cancel()
	<-p.done
	p.clear(probeLost)
	p.clear(mtuBlackHole)
}

func (p *prober) warn(why vpn.Reason) {
	p.warned[why.Code] = true
	p.r.warn(p.id, why)
}

func (p *prober) clear(code string) {
	if p.warned[code] {
		delete(p.warned, code)
		p.r.clearWarning(p.id, code)
	}
}

func (p *prober) run(ctx context.Context) {
	var e *echo
	tick := time.NewTicker(p.pulse)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		if e == nil {
			if e = p.open(); e != nil {
				defer context.AfterFunc(ctx, e.close)() // wakes who waits for an answer
				defer e.close()
			}
		}
		if e != nil {
			p.beat(ctx, e, n%2 == 0)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (p *prober) open() *echo {
	ns, err := p.r.openNamespace()
	if err == nil {
		defer ns.Close()
		var e *echo
		if e, err = openEcho(ns, p.target.from, p.target.to); err == nil {
			return e
		}
	}
	p.r.g.log.Debug("probe", "router", p.r.id, "connection", p.id, "err", err)
	return nil
}

// beat is one pulse.
func (p *prober) beat(ctx context.Context, e *echo, withLarge bool) {
	small := e.smallest()
	trip := p.ask(ctx, e, small)[small]
	if ctx.Err() != nil {
		return
	}
	p.note(trip)
	size, changed := p.size(e)
	if trip == 0 || size <= small || !withLarge && !changed {
		return
	}
	if p.ask(ctx, e, size)[size] > 0 {
		p.passed(size)
		p.clear(mtuBlackHole)
		return
	}
	found := p.search(ctx, e, small, size, trip)
	if ctx.Err() != nil {
		return
	}
	if found == size || found == 0 { // lost by chance, or the tunnel passes nothing any more
		p.clear(mtuBlackHole)
		return
	}
	p.passed(found)
	p.warn(p.blackHole(size, found))
}

// size answers how large a packet should pass, and whether that is news.
func (p *prober) size(e *echo) (size int, changed bool) {
	size = p.r.mtuOf(p.id)
	if way, err := e.mtu(); err == nil { // a packet that the kernel refuses is told to whoever sends it, and no black hole
		size = min(size, way)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if changed = p.large != size; changed {
		p.large, p.largest = size, 0
	}
	return size, changed
}

func (p *prober) passed(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.largest = max(p.largest, size)
}

// ask sends requests of these sizes and waits for their answers: trips by size, 0 for those without one.
func (p *prober) ask(ctx context.Context, e *echo, sizes ...int) map[int]time.Duration {
	return p.askWithin(ctx, e, probeWait, sizes...)
}

func (p *prober) askWithin(ctx context.Context, e *echo, wait time.Duration, sizes ...int) map[int]time.Duration {
	trips := map[int]time.Duration{}
	clear(p.sent)
	for _, size := range sizes {
		p.seq++
		p.sent[p.seq] = probedEcho{size, time.Now()}
		if err := e.send(p.seq, size); err != nil {
			delete(p.sent, p.seq) // as lost
			continue
		}
		p.count.requests.Add(1)
	}
	for until := time.Now().Add(wait); len(p.sent) > 0 && ctx.Err() == nil; {
		seq, err := e.receive(until)
		if err != nil {
			break
		}
		p.count.answers.Add(1) // a late one too
		if s, ok := p.sent[seq]; ok {
			delete(p.sent, seq)
			trips[s.size] = max(time.Since(s.at), 1)
		}
	}
	return trips
}

// note takes in what became of a small one, and warns or takes it back.
func (p *prober) note(trip time.Duration) {
	p.mu.Lock()
	if p.window = append(p.window, outcome{trip}); len(p.window) > probeWindow {
		p.window = p.window[1:]
	}
	if trip > 0 {
		p.answered = p.r.g.now()
	}
	lost := 0
	for i := len(p.window) - 1; i >= 0 && p.window[i].trip == 0; i-- {
		lost++
	}
	p.mu.Unlock()
	switch {
	case lost == 0:
		p.clear(probeLost)
	case lost >= probeLostAt:
		p.warn(p.unanswered())
	}
}

const (
	probeLost    = "probe_lost"
	mtuBlackHole = "mtu_black_hole"
)

func (p *prober) unanswered() vpn.Reason {
	r := reason(probeLost, "unknown", "liveness", "the tunnel stands, and probe_address does not answer through it",
		"see whether probe_address is a host that answers pings, and what the peer's firewall lets pass; set probe_address to another address, or to null for no probe")
	r.Ours = fmt.Sprintf("echo requests from %s to %s", p.target.from, p.target.to)
	r.Theirs = "no answer"
	return r
}

// leastMTU6 is that of IPv6 (RFC 8200 section 5); the API takes no smaller one for it.
const leastMTU6 = 1280

func (p *prober) blackHole(size, found int) vpn.Reason {
	r := reason(mtuBlackHole, "path", "liveness", "small packets pass through the tunnel; large ones vanish, and nobody says that they are too large",
		fmt.Sprintf("set mtu of the connection to %d", found))
	r.Ours = fmt.Sprintf("mtu %d; a packet of %d bytes got no answer", p.r.mtuOf(p.id), size)
	r.Theirs = fmt.Sprintf("the largest packet that was answered has %d bytes", found)
	if p.target.to.Is6() && found < leastMTU6 {
		r.Hint = fmt.Sprintf("IPv6 needs %d bytes: let the path to the peer carry larger packets", leastMTU6)
	}
	return r
}

// statistics are those of the window.
func (p *prober) statistics() *vpn.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := &vpn.Probe{Address: p.target.to.String(), Source: p.target.from.String(), Sent: len(p.window), AnsweredAt: moment(p.answered),
		LargeSize: p.large, LargestSeen: p.largest}
	var sum, least, most time.Duration
	for _, one := range p.window {
		if one.trip == 0 {
			continue
		}
		if out.Received++; out.Received == 1 || one.trip < least {
			least = one.trip
		}
		most, sum = max(most, one.trip), sum+one.trip
	}
	if out.Sent > 0 {
		out.Loss = float64(out.Sent-out.Received) / float64(out.Sent)
	}
	if out.Received > 0 {
		out.RTT, out.RTTMin, out.RTTMax = milliseconds(sum/time.Duration(out.Received)), milliseconds(least), milliseconds(most)
	}
	return out
}

func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Microseconds()) / 1000
	return &ms
}
