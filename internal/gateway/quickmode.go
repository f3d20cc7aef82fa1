package gateway

import (
	"strings"
	"time"

	"culvert/internal/vpn"
)

// IKEv1 makes a CHILD_SA with three messages (RFC 2409 section 5.5, Quick Mode): the initiator has it when it sends the third,
// the responder when it takes that in. charon begins with the next pair of networks in the same moment, its responder works on
// messages with several threads, and one whose first message of the next exchange overtakes the third of this drops this one
// (strongSwan 5.9.8, on a machine with more to do than cores). The initiator then has an SA that nobody else has, and packets
// that leave through it are lost, until its lifetime is over.
//
// Both ends hear of it: the responder finds that the third message is no first one, and tells the initiator.
var halves = []string{
	"received UNSUPPORTED_CRITICAL_PAYLOAD error notify", // we began
	"sa payload missing", // the peer began
}

func halfMade() vpn.Reason {
	return reason("child_failed", "unknown", "child", "one of the two gateways lost a CHILD_SA while it was made (IKEv1 Quick Mode); the connection is set up anew", "")
}

// redoHalf takes in a line that says that only one end has a CHILD_SA of the connection, and has all of them made anew, after a
// pause, since it may happen again. Where the peer began, what we lack tells whether the line is that of a repeated message
// only. It needs mu.
func (r *router) redoHalf(c *connection, msg string, now time.Time) {
	switch {
	case c.spec.IKE.Version != "v1" || !c.loaded || !c.established:
		return
	case strings.HasPrefix(msg, halves[0]):
	case strings.HasPrefix(msg, halves[1]) && c.state != vpn.StateUp:
	default:
		return
	}
	c.loaded = false // until its SAs are gone: nobody initiates it in between
	c.try.fail(now, jitter())
	c.settle()
	if c.state == vpn.StateUp {
		c.down(vpn.StateDown, halfMade(), now)
		r.publish(false)
	}
	r.restarts = append(r.restarts, c.spec.ID)
	r.poke()
}
