package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// renewal is how a connection's SAs come to be of its present configuration: make before break. While SAs of an earlier
// one carry the traffic, new ones are initiated beside them; when those stand, the earlier are ended. That takes an
// initiator and IKEv2: where only the peer may initiate, and with IKEv1, what the peer must agree to makes us end the
// SAs first, and what is our own affair waits for the next negotiation.
//
// If the peer refuses, the earlier SAs are ended all the same, since nobody wants them any more; for our own affairs alone
// they are kept.
type renewal struct {
	renewing bool // SAs of an earlier configuration stand in for those that are being made
	agreed   bool // what stands is what the peer was to agree to
	gaveUp   bool // the peer would not have new SAs of this configuration
	outdated bool // there are SAs to be ended
	untold   bool // charon does not know its configuration as it is to be
}

// takesOver says that new SAs can be made beside old ones.
func (c *connection) takesOver() bool { return c.spec.Initiate && c.spec.IKE.Version != "v1" }

// seeNames takes in which of the connection's CHILD_SAs are installed. carries says that they do, or for the time of the
// renewal stand in for, what is wanted; outdated that those of an earlier configuration must go first.
func (c *connection) seeNames(all []ikeSA) (carries, outdated bool) {
	names := installed(all, c.spec.ID)
	whole := len(missing(c.cfg.children, all)) == 0
	c.agreed = whole || !slices.ContainsFunc(c.cfg.children, func(w string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return agreement(n) == agreement(w) })
	})
	if whole {
		c.gaveUp = false
	}
	c.renewing = !whole && len(names) > 0 && c.takesOver() && !c.gaveUp
	carries = c.agreed || c.renewing
	c.outdated = !c.renewing && slices.ContainsFunc(names, c.isOutdated)
	return carries, c.outdated && !carries
}

// installed are the names of a connection's CHILD_SAs that pass traffic.
func installed(sas []ikeSA, id string) (names []string) {
	for _, sa := range sas {
		for _, child := range sa.children {
			if sa.established() && child.installed() && isChildOf(child.name, id) {
				names = append(names, child.name)
			}
		}
	}
	return names
}

// isOutdated tells whether a CHILD_SA is the connection's and to be ended, once it stands in for nothing.
func (c *connection) isOutdated(child string) bool {
	if !isChildOf(child, c.spec.ID) {
		return false
	}
	if c.gaveUp || !c.takesOver() {
		return !slices.ContainsFunc(c.cfg.children, func(w string) bool { return agreement(w) == agreement(child) })
	}
	return !slices.Contains(c.cfg.children, child)
}

// failed takes in that an attempt came to nothing. That of one by an earlier configuration says nothing of the present.
func (c *connection) failed(now time.Time, random float64) {
	if c.renewing && c.try.waits {
		c.try.reset()
		return
	}
	c.try.fail(now, random)
	c.failedAt = now
	if !c.renewing {
		return
	}
	c.renewing, c.gaveUp = false, true
	if !c.agreed {
		f := c.lossCause(now)
		c.down(vpn.StateDown, f.Reason, now)
		c.certain, c.outdated = f.certain, true
	}
	c.settle()
}

// refuses says that a finding is about the negotiation of new SAs, not about those that stand.
func (f finding) refuses() bool {
	return slices.Contains([]string{"ike_init", "ike_auth", "child"}, f.Phase)
}

// ending is what to do about a connection's outdated CHILD_SAs: as it was when they were seen, whatever it becomes meanwhile.
type ending struct {
	replaced bool // others carry its traffic
	outdated func(child string) bool
}

// outdated answers the connections with SAs to be ended.
func (r *router) outdated() map[string]ending {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]ending{}
	for id, c := range r.conns {
		if c.loaded && c.outdated && !c.untold {
			asItIs := *c
			out[id] = ending{c.state == vpn.StateUp, asItIs.isOutdated}
			c.outdated = false
		}
	}
	return out
}

// endOutdated ends SAs that are not of the present configuration. Where others have taken over, the peer's answer to the
// DELETE is left to charon, which until then takes what the peer still sends through the old ones.
func (s *session) endOutdated() {
	for id, e := range s.r.outdated() {
		var err error
		if e.replaced {
			err = s.endReplaced(context.Background(), id, e.outdated)
		} else {
			err = s.takeLeave(context.Background(), func(sas map[string][]ikeSA) []*vici.Message { return surplus(id, sas, e.outdated) })
			err = errors.Join(err, s.terminate(context.Background(), id, e.outdated))
		}
		if err != nil {
			s.r.g.log.Warn("end SAs of an earlier configuration", "router", s.r.id, "connection", id, "err", err)
		}
	}
}

func (s *session) endReplaced(ctx context.Context, id string, outdated func(child string) bool) error {
	sas, err := s.sas(ctx, "")
	if err != nil {
		return err
	}
	for _, request := range surplus(id, sas, outdated) {
		if err := s.callLoosely(ctx, "terminate", request.Set("timeout", "-1").Set("loglevel", "-1")); err != nil {
			return err
		}
	}
	return nil
}

// endIdle ends IKE_SAs of connections that are about to change, where they hold no CHILD_SA that passes traffic: nothing
// tells afterwards by which configuration they were made. While a connection carries traffic, only one that the peer has not
// answered ends so: any other may be about to take over.
func (s *session) endIdle(ctx context.Context, about []loading) error {
	sas, err := s.sas(ctx, "")
	if err != nil {
		return err
	}
	all := flatten(sas)
	for _, c := range about {
		carries := len(installed(all, c.cfg.id)) > 0
		for _, sa := range sas[c.cfg.id] {
			if slices.ContainsFunc(sa.children, childSA.installed) || carries && !(sa.connecting() && !sa.answered) {
				continue
			}
			request := vici.NewMessage().Set("ike-id", sa.id).Set("force", "yes").Set("timeout", "-1").Set("loglevel", "-1")
			if err := s.callLoosely(ctx, "terminate", request); err != nil {
				return err
			}
		}
	}
	return nil
}

// surplus answers the terminate requests for a connection's outdated CHILD_SAs: for the IKE_SA with them where it is the
// connection's own and holds nothing else.
func surplus(id string, sas map[string][]ikeSA, outdated func(child string) bool) []*vici.Message {
	var out []*vici.Message
	for name, list := range sas {
		for _, sa := range list {
			var old []*vici.Message
			others := false
			for _, child := range sa.children {
				if outdated(child.name) && child.installed() {
					old = append(old, vici.NewMessage().Set("child-id", child.id))
				} else if child.installed() {
					others = true
				}
			}
			if name == id && len(old) > 0 && !others {
				old = []*vici.Message{vici.NewMessage().Set("ike-id", sa.id)}
			}
			out = append(out, old...)
		}
	}
	return out
}
