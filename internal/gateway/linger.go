package gateway

import (
	"net/netip"
	"slices"
	"time"

	"culvert/internal/vpn"
)

// A connection that is replaced by DELETE and POST, as Terraform does it, is for a moment none at all, and its two networks go
// on talking. So the guard holds pairs of selectors that the Spec has no longer for a while, then lets them go.

const (
	defaultLinger = 30 * time.Second
	maxLingering  = 1000 // pairs; the oldest go first
)

// pair is one of a connection's selectors on either side.
type pair struct{ local, peer netip.Prefix }

// lingering is what the guard holds beyond the Spec. An agent that starts knows of none.
type lingering struct {
	last map[pair]int // the pairs of the last Spec, with their mtu
	gone []departed   // in the order in which they went
}

type departed struct {
	pair
	mtu   int
	until time.Time // zero: its SAs may still be there
}

// leave takes in what a Spec has no longer, and what it has again.
func (l *lingering) leave(spec vpn.Spec) {
	now := pairsOf(spec)
	for p, mtu := range l.last {
		if _, there := now[p]; !there {
			l.gone = append(l.gone, departed{pair: p, mtu: mtu})
		}
	}
	l.last = now
	l.gone = slices.DeleteFunc(l.gone, func(d departed) bool { _, there := now[d.pair]; return there })
	l.gone = l.gone[max(0, len(l.gone)-maxLingering):]
}

// count begins the time of those whose SAs are gone.
func (l *lingering) count(until time.Time) {
	for i := range l.gone {
		if l.gone[i].until.IsZero() {
			l.gone[i].until = until
		}
	}
}

// drop lets those go whose time is over, and answers whether there were any.
func (l *lingering) drop(now time.Time) bool {
	before := len(l.gone)
	l.gone = slices.DeleteFunc(l.gone, func(d departed) bool { return !d.until.IsZero() && !now.Before(d.until) })
	return len(l.gone) < before
}

// next answers when the first goes; zero: none is about to.
func (l *lingering) next() (first time.Time) {
	for _, d := range l.gone {
		if !d.until.IsZero() && (first.IsZero() || d.until.Before(first)) {
			first = d.until
		}
	}
	return first
}

// with answers the Spec as the guard is to see it.
func (l *lingering) with(spec vpn.Spec) vpn.Spec {
	spec.Connections = slices.Clone(spec.Connections)
	for _, d := range l.gone {
		spec.Connections = append(spec.Connections, vpn.ConnectionSpec{Local: []netip.Prefix{d.local}, Peer: []netip.Prefix{d.peer}, MTU: d.mtu})
	}
	return spec
}

// release takes away the rules that the guard has held long enough. Where the last Spec could not be applied, what is there
// may still be needed: then the next that can be takes them away. It needs op.
func (r *router) release(spec vpn.Spec) {
	r.linger.drop(r.g.now())
	r.mu.Lock()
	ready := r.ready
	r.mu.Unlock()
	if !ready {
		return
	}
	ns, err := r.enter(spec)
	if err == nil {
		_, err = r.setGuard(ns, spec, true)
		r.leave(ns)
	}
	if err != nil {
		r.g.log.Warn("take rules out of the guard", "router", r.id, "err", err)
	}
}

func pairsOf(spec vpn.Spec) map[pair]int {
	out := map[pair]int{}
	for _, c := range spec.Connections {
		for _, local := range c.Local {
			for _, peer := range c.Peer {
				if local.Addr().Is4() == peer.Addr().Is4() {
					out[pair{local, peer}] = c.MTU
				}
			}
		}
	}
	return out
}
