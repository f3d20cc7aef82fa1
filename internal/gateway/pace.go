package gateway

import (
	"slices"
	"time"
)

// maxInFlight is how many attempts one remote address gets at once. A strongSwan peer asks for cookies (RFC 7296 section
// 2.6) while it has three half-open IKE_SAs of one address and ignores it at five; retransmissions with and without a
// cookie can leave some half-open for 30 s. So it is not to come to cookies.
const maxInFlight = 3

const (
	firstBackoff = 1 * time.Second  // after the first failure
	lastBackoff  = 30 * time.Second // never longer
	attemptLimit = 12 * time.Second // the session gives up after 8 s
)

// attempt is where a connection stands with being initiated.
type attempt struct {
	wanted   bool      // it is to be up, it is not, and initiating is ours
	started  time.Time // not zero: in flight since
	next     time.Time // not before
	failures int
	waits    bool // in flight is one that was begun under an earlier configuration: its end is waited for
}

func (a *attempt) inFlight() bool { return !a.started.IsZero() }

// fail ends an attempt. random is in [0,1) and spreads the next ones by up to a fifth either way.
func (a *attempt) fail(now time.Time, random float64) {
	pause := firstBackoff << min(a.failures, 10)
	pause = min(pause, lastBackoff)
	a.failures++
	a.started = time.Time{}
	a.next = now.Add(time.Duration(float64(pause) * (0.8 + 0.4*random)))
}

// reset forgets failures: the connection is up, or its configuration is new.
func (a *attempt) reset() { *a = attempt{wanted: a.wanted} }

// contact is what INITIAL_CONTACT is about: the first IKE_SA between two identities tells the peer to drop older ones.
// Two connections that did that at once would end each other, so the others wait for the first.
type contact struct{ peer, ours, theirs string }

func (c *connection) contact() contact {
	return contact{c.spec.PeerAddress, c.spec.LocalID, c.spec.PeerID}
}

// due answers the connections to initiate now, those that wait longest first, so many that no remote address has more
// than maxInFlight; those whose attempt has run out; and when to look again (zero: nothing to wait for).
func due(conns map[string]*connection, now time.Time) (start, overdue []*connection, again time.Time) {
	flying := map[string]int{}     // by remote address
	greeting := map[contact]bool{} // the first IKE_SA between two identities is under way
	met := map[contact]bool{}      // there is one
	var waiting []*connection
	look := func(t time.Time) {
		if again.IsZero() || t.Before(again) {
			again = t
		}
	}
	for _, c := range conns {
		if c.established {
			met[c.contact()] = true
		}
		greeting[c.contact()] = greeting[c.contact()] || c.try.inFlight()
		switch limit := c.try.started.Add(attemptLimit); {
		case c.untold:
		case c.try.inFlight() && !limit.After(now):
			overdue = append(overdue, c)
		case c.try.inFlight():
			flying[c.spec.PeerAddress]++
			look(limit)
		case c.try.wanted && c.try.next.After(now):
			look(c.try.next)
		case c.try.wanted && !c.outdated: // SAs of an earlier configuration that are in the way end first
			waiting = append(waiting, c)
		}
	}
	slices.SortFunc(waiting, func(a, b *connection) int { return a.try.next.Compare(b.try.next) })
	for _, c := range waiting {
		who := c.contact()
		if flying[c.spec.PeerAddress] < maxInFlight && (met[who] || !greeting[who]) {
			flying[c.spec.PeerAddress]++
			greeting[who] = true
			start = append(start, c)
		}
	}
	return start, overdue, again
}
