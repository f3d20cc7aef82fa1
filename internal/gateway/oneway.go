package gateway

import (
	"fmt"
	"time"

	"culvert/internal/vpn"
)

// When packets that nobody answers are a fault: enough of them, for long enough.
const (
	oneWayPackets = 10
	oneWayAfter   = 10 * time.Second
	trafficWindow = time.Minute // of vpn.Statistics.Traffic
)

// direction watches packets of one direction that go on while the other one stands still.
type direction struct {
	from uint64    // its packets when the other direction moved last
	at   time.Time // when it first moved after that; zero: not yet
}

// seen are packets so far: all that came in, those of them that are no answers to the tunnel's own probe, and those that went out
// but for its requests. So an answer to a probe shows that packets come back, and is none that waits for a packet of ours.
type seen struct{ in, unasked, out uint64 }

// watch is what one-way traffic is found by.
type watch struct {
	out, in direction
	last    seen
	warned  string // the direction that is warned of: vpn.TrafficOut, vpn.TrafficIn or ""
}

// restart begins afresh, as for a tunnel that came up: what another one carried says nothing of it.
func (w *watch) restart(s seen) {
	*w = watch{out: direction{from: s.out}, in: direction{from: s.unasked}, last: s}
}

// look takes in the packets so far and answers which direction passes alone: vpn.TrafficOut, vpn.TrafficIn, or "". A number
// that falls counts as one that stands still: see gauge.seen.
func (w *watch) look(s seen, now time.Time) string {
	s.unasked, s.out = max(s.unasked, w.last.unasked), max(s.out, w.last.out)
	movedIn, movedUnasked, movedOut := s.in > w.last.in, s.unasked > w.last.unasked, s.out > w.last.out
	w.last = s
	w.out.look(s.out, movedOut, movedIn, now)
	w.in.look(s.unasked, movedUnasked, movedOut, now)
	switch {
	case w.warned == vpn.TrafficOut && movedIn, w.warned == vpn.TrafficIn && movedOut:
		w.warned = ""
	case w.warned != "":
	case w.out.alone(s.out, now):
		w.warned = vpn.TrafficOut
	case w.in.alone(s.unasked, now):
		w.warned = vpn.TrafficIn
	}
	return w.warned
}

func (d *direction) look(packets uint64, moved, other bool, now time.Time) {
	switch {
	case other:
		*d = direction{from: packets}
	case moved && d.at.IsZero():
		d.at = now
	}
}

func (d *direction) alone(packets uint64, now time.Time) bool {
	return !d.at.IsZero() && packets-d.from >= oneWayPackets && now.Sub(d.at) >= oneWayAfter
}

// traffic says in which directions packets passed of late.
func (t *tally) traffic(now time.Time) string {
	recent := func(f flow) bool { return !f.Last.IsZero() && now.Sub(f.Last) <= trafficWindow }
	in, out := recent(t.In), recent(t.Out)
	switch {
	case in && out:
		return vpn.TrafficBoth
	case in:
		return vpn.TrafficIn
	case out:
		return vpn.TrafficOut
	}
	return vpn.TrafficNone
}

// oneWay is the reason of a tunnel that stands and passes packets in one direction alone.
func oneWay(direction string, in, out flow, now time.Time) *vpn.Reason {
	var r vpn.Reason
	switch direction {
	case vpn.TrafficOut:
		r = reason("one_way_traffic", "path", "liveness", "packets leave through the tunnel and none comes back",
			"let the peer's firewall and routes pass traffic back to the local networks; if they do, look for what drops ESP, or UDP 4500, on its way here")
		r.Ours = passed("sent", out)
		r.Theirs = nothing("nothing came back", in, now)
	case vpn.TrafficIn:
		r = reason("one_way_traffic", "ours", "liveness", "packets come in through the tunnel and none goes back",
			"look at the hosts in the local networks: their firewall, and their route to the peer's networks by way of the router")
		r.Ours = nothing("nothing sent", out, now)
		r.Theirs = passed("sent", in)
	default:
		return nil
	}
	return &r
}

func passed(verb string, f flow) string {
	return fmt.Sprintf("%s: %d packets, %d bytes in all", verb, f.Packets, f.Bytes)
}

func nothing(what string, f flow, now time.Time) string {
	if f.Last.IsZero() {
		return what + " at all"
	}
	return fmt.Sprintf("%s for %d s", what, int(now.Sub(f.Last)/time.Second))
}
