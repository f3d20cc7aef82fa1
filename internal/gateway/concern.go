package gateway

import (
	"strings"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// noteLog takes in one line of charon's log.
func (r *router) noteLog(h *history, event vici.Event) {
	line := event.Message
	msg := line.Get("msg")
	peer := h.note(line, event.Time)
	if strings.HasPrefix(msg, "looking for ") { // tells of the peer, in the peer's own words
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Contains(msg, "Network is unreachable") {
		r.unroutable(event.Time)
		return
	}
	named := r.conns[line.Get("ikesa-name")]
	in := circumstances{version: peer.version}
	if named != nil {
		in = circumstances{established: named.established || !peer.settled.IsZero(), up: named.state == vpn.StateUp && !named.renewing, version: named.spec.IKE.Version}
	}
	if peer.began && peer.settled.IsZero() { // one more IKE_SA, perhaps of another configuration
		in.established, in.up = false, false
	}
	if named != nil {
		r.listen(named, msg, peer, event.Time)
		r.redoHalf(named, msg, event.Time)
	}
	f, ok := classify(msg, in)
	if !ok {
		return
	}
	for _, c := range r.concerned(named, f, peer) {
		r.noteFinding(c, explain(f, c.spec, peer, event.Time), event.Time)
	}
	r.publish(false)
}

// concerned answers the connections that a line is about. Where it names one, it is that one, unless that one is up and what
// failed is a CHILD_SA, which then is that of a sibling. Else charon did not get as far as to choose one: it is about those
// with the peer's address that are down, and of these about the ones that the peer's request comes closest to.
func (r *router) concerned(named *connection, f finding, p peer) []*connection {
	if named != nil {
		if named.state == vpn.StateUp && f.Phase != "liveness" {
			if lame := r.lameSiblings(named); len(lame) > 0 {
				return lame
			}
		}
		return []*connection{named}
	}
	var out []*connection
	best := 0
	for _, c := range r.conns {
		if !p.address.IsValid() || parseAddr(c.spec.PeerAddress) != p.address || c.state != vpn.StateDown || !c.loaded {
			continue
		}
		switch near := nearness(c.spec, f, p); {
		case near > best:
			out, best = []*connection{c}, near
		case near == best:
			out = append(out, c)
		}
	}
	return out
}

// lameSiblings are those of a connection's siblings that are down: they may have their CHILD_SAs in its IKE_SA.
func (r *router) lameSiblings(named *connection) (out []*connection) {
	if named.cfg == nil || !named.cfg.siblings {
		return nil
	}
	for _, c := range r.conns {
		if c != named && c.loaded && c.state == vpn.StateDown && kinOf(c.spec) == kinOf(named.spec) {
			out = append(out, c)
		}
	}
	return out
}

// nearness counts in how much a connection is what the peer asks for. An IKE version that is refused is none of the
// connection's; otherwise the peer means a connection of its version.
func nearness(c vpn.ConnectionSpec, f finding, p peer) (near int) {
	if p.version != "" && (p.version == c.IKE.Version) != (f.Code == "no_ike_config") {
		near += 3
	}
	if f.Code == "identity_mismatch" {
		for _, same := range []bool{sameID(p.theirs, c.PeerID), sameID(p.ours, c.LocalID)} {
			if same {
				near++
			}
		}
	}
	return near
}

func (r *router) noteFinding(c *connection, f finding, now time.Time) {
	if f.Code == "peer_unreachable" && !c.try.started.IsZero() && r.unreachable.After(c.try.started) {
		f.Reason = noRoute()
	}
	if f.Code == "no_proposal_chosen" {
		f = r.inquire(c, f, now)
	}
	f = r.namesakes(c, f)
	c.note(f, now)
	if c.try.inFlight() && !f.brief && (c.state != vpn.StateUp || c.renewing && f.refuses()) {
		c.failed(now, jitter())
		r.poke()
	}
}

// unroutable notes that the kernel knew no route for a packet of charon's. The line names no connection: while only
// one is being initiated it is that one's, otherwise it is remembered until charon gives up.
func (r *router) unroutable(now time.Time) {
	r.unreachable = now
	var flying []*connection
	for _, c := range r.conns {
		if c.try.inFlight() {
			flying = append(flying, c)
		}
	}
	if len(flying) == 1 {
		flying[0].note(finding{Reason: noRoute()}, now)
		r.publish(false)
	}
}
