package gateway

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"culvert/internal/vpn"
)

// charon says of a silent peer that it gives up, after seconds, and not why. So as soon as it repeats a request, the peer's
// host is looked at from the router's namespace, beside everything else: what a filter, a host without IKE daemon or a
// missing route do, a connected socket learns at once.

// stage is how far a negotiation came whose peer does not answer.
type stage int

const (
	answering stage = iota
	atInit          // the first message has no answer
	atAuth          // the first exchange had one; what follows on UDP 4500 has not
	live            // the IKE_SA stands, or stood
)

// Bounds of looking.
const (
	maxLooks  = 16               // at once, a router
	lookAgain = 4 * time.Second  // at the same address
	lookFresh = 15 * time.Second // how long a silence is one: charon repeats every 10 s at least
)

// look is a look at one address.
type look struct {
	busy  bool
	ended time.Time
	found reach
}

// unansweredRequest is charon's line about a request that it repeats; IKEv1 counts messages in seq.
var unansweredRequest = regexp.MustCompile(`^(?:sending )?retransmit \d+ of request (?:with )?message ID (\d+)(?:, seq (\d+))?$`)

// silentStage answers what a line says of a peer's silence.
func silentStage(msg string, c *connection, p peer) (stage, bool) {
	if strings.HasPrefix(msg, "DPD check timed out") {
		return live, true
	}
	if !strings.Contains(msg, "retransmit ") {
		return answering, false
	}
	m := unansweredRequest.FindStringSubmatch(msg)
	if m == nil {
		return answering, false
	}
	first := "1" // message of IKEv1 that is not on UDP 500
	if c.spec.IKE.Aggressive {
		first = "0"
	}
	switch begun := p.began && p.settled.IsZero(); {
	case !begun && c.established:
		return live, true
	case c.spec.IKE.Version == "v1" && m[2] != "" && (m[2] <= "2" && first == "1" || m[2] == "1"):
		return atInit, true
	case c.spec.IKE.Version != "v1" && m[1] == "0":
		return atInit, true
	}
	return atAuth, true
}

// listen takes from a line of a connection's whether its peer answers.
func (r *router) listen(c *connection, msg string, p peer, now time.Time) {
	if c.stage != answering && strings.HasPrefix(msg, "parsed ") && strings.Contains(msg, " response ") {
		r.heard(c)
	} else if at, silent := silentStage(msg, c, p); silent {
		r.unanswered(c, at, now)
	}
}

// unanswered takes in that a connection's peer does not answer. It needs mu.
func (r *router) unanswered(c *connection, at stage, now time.Time) {
	c.stage, c.stageAt = at, now
	addr := parseAddr(c.spec.PeerAddress)
	seen := r.looks[addr]
	if seen != nil && !seen.busy && now.Sub(seen.ended) < lookAgain {
		r.tell(c, seen.found, now)
		return
	}
	if seen != nil && seen.busy || !addr.IsValid() || r.closing || r.looking() >= maxLooks {
		return
	}
	if r.looks == nil {
		r.looks = map[netip.Addr]*look{}
	}
	r.looks[addr] = &look{busy: true}
	r.g.running.Add(1)
	go r.look(c.spec.LocalAddress, addr)
}

// looking counts the looks that are under way and forgets the old ones.
func (r *router) looking() (n int) {
	for addr, l := range r.looks {
		if l.busy {
			n++
		} else if r.g.now().Sub(l.ended) > lookFresh {
			delete(r.looks, addr)
		}
	}
	return n
}

// look finds out about an address and tells the connections whose peer is silent there.
func (r *router) look(local, peer netip.Addr) {
	defer r.g.running.Done()
	ns, err := r.openNamespace()
	var found reach
	if err == nil {
		found = examine(r.g.closed, ns, local, peer)
		ns.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil { // the router is being removed
		delete(r.looks, peer)
		return
	}
	now := r.g.now()
	r.g.log.Debug("looked at a silent peer", "router", r.id, "peer", peer, "udp500", found.ike.String(), "udp4500", found.natt.String(), "ping", found.echo)
	r.looks[peer] = &look{ended: now, found: found}
	for _, c := range r.conns {
		if c.stage != answering && now.Sub(c.stageAt) < lookFresh && parseAddr(c.spec.PeerAddress) == peer {
			r.tell(c, found, now)
		}
	}
	r.publish(false)
}

func (r *router) tell(c *connection, found reach, now time.Time) {
	if f := diagnose(c.stage, found, c.spec); f.Code != "" {
		c.note(f, now)
	}
}

// heard takes in that the peer has answered. It needs mu.
func (r *router) heard(c *connection) {
	c.stage = answering
	if c.cause.silence {
		c.cause = finding{}
	}
	if c.state == vpn.StateUp {
		c.clearWarning("peer_not_listening")
		r.publish(false)
	}
}

// diagnose says why a peer is silent; no code where there is nothing to add.
func diagnose(at stage, found reach, c vpn.ConnectionSpec) finding {
	f := finding{silence: true}
	switch {
	case at == live:
		f.Reason = diagnoseLive(found)
	case found.ike == noWay:
		f.Reason = noRoute()
	case found.ike == forbidden:
		f.Reason = reason("udp_500_blocked", "ours", "ike_init", "the gateway's own host does not let IKE out to the peer", "look at the packet filter of the gateway's host")
	case found.ike == refused:
		f.Reason = notListening("ike_init")
	case at == atAuth:
		f.Reason = diagnoseAuth(found, c)
	case found.ike == answered:
		f.Reason = ignored("ike_init")
	case found.echo:
		f.Reason = reason("udp_500_blocked", "path", "ike_init", "the peer answers pings but not IKE: UDP 500 is blocked on the way, or its IKE daemon is told to ignore us",
			"let UDP 500 and 4500 pass between the two gateways")
	default:
		f.Reason = peerUnreachable()
		f.Summary = "the peer answers neither IKE nor pings: it is down, peer_address is not its address, or the way to it is blocked"
		if found.ike == stopped {
			f.Summary = "a router on the way says that the peer cannot be reached"
		}
	}
	return f
}

// diagnoseLive is about a tunnel that stands: that its peer is silent, dead peer detection says.
func diagnoseLive(found reach) vpn.Reason {
	switch {
	case found.ike == noWay:
		r := noRoute()
		r.Phase = "liveness"
		return r
	case (found.ike == refused || found.natt == refused) && found.ike != answered && found.natt != answered:
		return notListening("liveness")
	}
	return vpn.Reason{}
}

// diagnoseAuth is about a peer that answered the first exchange on UDP 500.
func diagnoseAuth(found reach, c vpn.ConnectionSpec) vpn.Reason {
	switch {
	case found.natt == answered && c.IKE.Version == "v1":
		r := decryptFailed.Reason
		r.Summary = "the peer ignores our first encrypted message: with IKEv1 that means that the pre-shared keys differ"
		return r
	case found.natt == answered:
		return ignored("ike_auth")
	case found.natt == refused || found.ike == answered || found.echo:
		return reason("udp_4500_blocked", "path", "ike_auth", "the peer answered the first exchange on UDP 500, but nothing comes back on UDP 4500: it is blocked on the way",
			"let UDP 4500 pass between the two gateways")
	}
	r := peerUnreachable()
	r.Phase, r.Summary = "ike_auth", "the peer answered the first exchange, and nothing since"
	return r
}

func notListening(phase string) vpn.Reason {
	return reason("peer_not_listening", "theirs", phase, "the peer's host refuses UDP 500: no IKE daemon runs there", "start the IKE daemon at peer_address, or correct peer_address")
}

func ignored(phase string) vpn.Reason {
	return reason("peer_ignores_us", "theirs", phase, "an IKE daemon answers at the peer, but not our requests: it has too much to do, or is told to ignore us",
		"look at the peer's log")
}
