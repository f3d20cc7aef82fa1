package gateway

import (
	"time"

	"culvert/internal/vpn"
)

// connection is what the gateway knows of one connection. The router's mutex guards it.
type connection struct {
	spec   vpn.ConnectionSpec // with the peer's address in place of its name
	peer   peerName
	cfg    *connConfig // nil: not to be in charon
	loaded bool        // it is in charon

	state       string        // of vpn.State*; "" while nothing is known
	reason      *vpn.Reason   // why not up; when up, the first of its warnings, nil if there are none
	warnings    []*vpn.Reason // what an up tunnel does not do, by rank
	certain     bool          // of reason
	established bool          // it has an IKE_SA
	sighting    uint64        // the last of its SAs
	upSince     time.Time     // when it came up; zero: before this process looked
	parked      bool          // lost, and the dpd action says not to initiate again
	demand      *uint64       // dpd action hold: what the guard had counted when it was parked
	try         attempt
	failedAt    time.Time            // an attempt failed, or the tunnel was lost; zero: neither
	adopted     bool                 // it may have been before this process
	met         bool                 // this process has seen that it is in charon
	told        told                 // what its timeline has
	said        map[string]time.Time // the reasons that its timeline has, since it was up or changed
	quiet       time.Time            // until then its being set up is no news; zero: no longer
	proven      string               // the agreement under which a CHILD_SA was rekeyed
	renewal

	cause   finding // the last finding, and when
	causeAt time.Time

	stage   stage // where the peer fell silent, and when
	stageAt time.Time
}

// How long a finding explains what follows it.
const (
	certainStays  = 2 * time.Minute  // a certain reason against a vague one of the same phase
	causeOverrule = 15 * time.Second // a cause against mere consequences; charon repeats a request every 10 s at least
	briefExplains = 2 * time.Second
	causeExplains = time.Hour // a failed rekey ends the SA only with its lifetime
)

// settle computes whether it is to be initiated by us.
func (c *connection) settle() {
	c.try.wanted = c.loaded && c.spec.Initiate && (c.state != vpn.StateUp || c.renewing) && !c.parked
}

// down sets a state other than up, with its reason.
func (c *connection) down(state string, r vpn.Reason, now time.Time) {
	c.state, c.reason, c.certain, c.warnings = state, stamp(r, c.reason, now), false, nil
	c.renewing = false
}

// startGrace is what a tunnel may take, two round trips and the keys, before anybody is told that it is not up yet: most
// then go straight from PENDING to ACTIVE, and the server has one status to write instead of two.
const startGrace = 500 * time.Millisecond

// waiting is the state of a connection that was just loaded.
func (c *connection) waiting(now time.Time) {
	if !c.spec.Initiate {
		c.down(vpn.StateDown, notInitiated(), now)
		return
	}
	c.down(vpn.StateDown, connecting(), now)
	c.quiet = now.Add(startGrace)
}

// starting says that the connection is being set up, or by other SAs than before, and that nobody needs to know yet; or that
// it was lost and the log, which comes another way, has not said why.
func (c *connection) starting(now time.Time) bool {
	return c.renewing || now.Before(c.quiet) && c.reason != nil && (c.reason.Code == connecting().Code || c.reason.Code == lost().Code)
}

// note takes a finding in.
func (c *connection) note(f finding, now time.Time) {
	recent := 0
	if c.cause.Code != "" && !c.cause.brief && now.Sub(c.causeAt) < causeOverrule {
		recent = c.cause.weight()
	}
	if f.weight() < recent {
		return
	}
	if c.state == vpn.StateUp {
		f.brief = f.brief || f.Code == peerDeleted.Code // a peer that rekeys deletes the old IKE_SA as well
		c.cause, c.causeAt = f, now
		switch {
		case f.Phase == "rekey" || f.Code == "pfs_mismatch":
			c.warn(unrekeyable(f.Reason), now)
		case f.Code == "peer_not_listening": // it will end with the SA
			c.warn(f.Reason, now)
		}
		return
	}
	if f.brief || !c.loaded || f.Code == peerDeleted.Code && recent == aCause {
		return
	}
	c.cause, c.causeAt = f, now
	c.setReason(f, now)
}

func (c *connection) setReason(f finding, now time.Time) {
	if c.reason != nil && c.reason.Code == livenessLost && f.Code == peerUnreachable().Code { // says less of the same
		c.reason = stamp(*c.reason, c.reason, now)
		return
	}
	if c.reason != nil && c.certain && !f.certain && c.reason.Phase == f.Phase {
		if seen, err := time.Parse(apiTime, c.reason.LastSeen); err == nil && now.Sub(seen) < certainStays {
			return
		}
	}
	c.down(vpn.StateDown, f.Reason, now)
	c.certain = f.certain
}

// see takes in what list-sas says: own are the IKE_SAs of the connection's name, all those that may hold its CHILD_SAs.
func (c *connection) see(own, all []ikeSA, now time.Time, random float64) {
	c.established = anyEstablished(own)
	if !c.loaded {
		return
	}
	renewed := c.renewing
	switch carries, outdated := c.seeNames(all); {
	case carries:
		if c.try.waits && !anyConnecting(own) {
			c.try.reset()
		}
		if c.state != vpn.StateUp || renewed && !c.renewing {
			c.reason, c.warnings, c.cause, c.upSince = nil, nil, finding{}, now
		}
		c.state, c.certain, c.parked = vpn.StateUp, false, false
		if !c.renewing {
			c.try.reset()
			c.seeNarrowed(all, now)
		}
	case outdated:
		c.waiting(now)
		c.try.reset()
	case c.state == vpn.StateUp:
		c.lose(c.lossCause(now), now, random)
	case c.state == "":
		c.waiting(now)
	}
	c.settle()
}

func (c *connection) seeNarrowed(all []ikeSA, now time.Time) {
	if why, is := narrowed(c.spec, all); is {
		c.warn(why, now)
	} else {
		c.clearWarning("ts_narrowed")
	}
}

// lossCause answers why a tunnel that was up is not any more.
func (c *connection) lossCause(now time.Time) finding {
	age := now.Sub(c.causeAt)
	if c.cause.Code == "" || age > causeExplains || (c.cause.brief && age > briefExplains) {
		return finding{Reason: lost()}
	}
	return c.cause
}

func (c *connection) report() vpn.ConnectionReport {
	r := vpn.ConnectionReport{ID: c.spec.ID, State: c.state}
	if c.reason != nil {
		reason := *c.reason
		r.Reason = &reason
	}
	return r
}
