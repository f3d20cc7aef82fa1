package gateway

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// poke makes the session look at what is due.
func (r *router) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// applied notes how applying a Spec went, and reports.
func (r *router) applied(spec vpn.Spec, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spec, r.ready = spec, err == nil
	r.unsizeHeld(sizeAfter)
	r.poke()
	if err == nil {
		r.failure = nil
	} else {
		why := gatewayFailed(err)
		r.failure = stamp(why, r.failure, r.g.now())
		for _, cs := range spec.Connections { // none may stay without a state
			c := r.conns[cs.ID]
			if c == nil {
				c = &connection{spec: cs}
				r.conns[cs.ID] = c
			}
			if c.state == "" {
				c.down(vpn.StateError, why, r.g.now())
			}
		}
	}
	r.publish(true)
	for _, c := range r.conns {
		if c.peer.Name != "" && !c.peer.Addr.IsValid() {
			r.g.names.poke() // a name that was resolved meanwhile is taken over now
			break
		}
	}
}

// publish needs mu. Without force it posts only what differs from the last report in more than LastSeen; with force also
// what does not, but while a connection is being set up a report that says nothing but a new revision waits for what
// becomes of it. Nothing is posted before the first Spec has been applied: what is seen until then belongs to no revision.
func (r *router) publish(force bool) {
	if r.spec.Router == "" {
		return
	}
	r.noteStates()
	r.warnForwarding()
	report := r.report()
	bare := r.report()
	forget(bare.Reason)
	for i := range bare.Connections {
		forget(bare.Connections[i].Reason)
	}
	rev := bare.Rev
	bare.Rev = r.last.Rev
	news := !reflect.DeepEqual(bare, r.last)
	r.owed = r.owed || force || rev != r.last.Rev
	if !news && (!r.owed || r.anyStarting()) {
		return
	}
	bare.Rev = rev
	r.last, r.owed = bare, false
	r.g.reports.post(report)
}

func (r *router) anyStarting() bool {
	now := r.g.now()
	for _, c := range r.conns {
		if c.starting(now) {
			return true
		}
	}
	return false
}

func forget(r *vpn.Reason) {
	if r != nil {
		r.LastSeen = ""
	}
}

// report needs mu.
func (r *router) report() vpn.Report {
	out := vpn.Report{Router: r.id, Rev: r.spec.Rev, Ready: r.ready}
	if r.failure != nil {
		failure := *r.failure
		out.Reason = &failure
	}
	now := r.g.now()
	for _, c := range r.conns {
		if c.state != "" && !c.starting(now) {
			out.Connections = append(out.Connections, c.report())
		}
	}
	slices.SortFunc(out.Connections, func(a, b vpn.ConnectionReport) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// see takes in a list of SAs: of the connection id, or with "" of all.
func (r *router) see(id string, sas map[string][]ikeSA) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := flatten(sas)
	for name, c := range r.conns {
		if id == "" || name == id {
			r.seeOne(c, sas[name], all)
		}
	}
	r.publish(false)
}

// seeOne needs mu.
func (r *router) seeOne(c *connection, own, all []ikeSA) {
	now, wasUp := r.g.now(), c.state == vpn.StateUp
	c.sighting = r.nextSighting()
	if c.see(own, all, now, jitter()); wasUp && c.deadPeer() {
		r.restartByPeer(c, now)
	}
}

// nextSighting numbers what is taken in of SAs. It needs mu.
func (r *router) nextSighting() uint64 {
	r.sightings++
	return r.sightings
}

// sighted is the number of what was taken in last, for a list that is about to be asked for beside the session.
func (r *router) sighted() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sightings
}

// seeInstalled takes in a child-updown event that alone says that a connection is up, so that charon need not be asked: the
// event has the IKE_SA and its new CHILD_SA as list-sas would have them. It answers whether it did.
func (r *router) seeInstalled(id string, event *vici.Message) bool {
	sas := map[string][]ikeSA{}
	readSAs(sas, event)
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.conns[id]
	if c == nil || !c.loaded || c.state == vpn.StateUp || c.renewing || c.cfg.siblings || len(missing(c.cfg.children, sas[id])) > 0 {
		return false
	}
	r.seeOne(c, sas[id], sas[id])
	r.publish(false)
	return true
}

// scope answers which SAs to list to know the state of a connection: its own, or "" for all.
func (r *router) scope(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil && (c.cfg == nil || !c.cfg.siblings) {
		return id
	}
	return ""
}

// seeAll takes in a list of all SAs that was asked for beside the session, after the sighting before. Meanwhile the session
// may have taken in an event that is newer than the list: of that connection it knows better.
func (r *router) seeAll(s *session, sas map[string][]ikeSA, before uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := flatten(sas)
	for name, c := range r.conns {
		if c.sighting > before {
			continue
		}
		r.seeOne(c, sas[name], all)
		if !s.seen { // up already when we came
			c.upSince = time.Time{}
		}
	}
	s.seen = true
	r.publish(false)
}

// seeBefore takes in the SAs of a connection that is about to be initiated again, or whose attempt has run out. It
// answers whether to initiate now.
func (r *router) seeBefore(id string, overdue bool, sas map[string][]ikeSA) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.poke()
	defer r.publish(false)
	c := r.conns[id]
	if c == nil || !c.loaded {
		return false
	}
	now := r.g.now()
	r.seeOne(c, sas[id], flatten(sas))
	if c.state == vpn.StateUp && !c.renewing {
		return false
	}
	if anyConnecting(sas[id]) {
		c.try.started, c.try.waits = now, c.renewing
		return false
	}
	if overdue {
		c.failed(now, jitter())
	}
	return !overdue
}

func (r *router) ikeEstablished(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil {
		c.established = true
	}
}

// attemptFailed takes in that charon would not initiate CHILD_SAs of these names: it may have another configuration by now.
func (r *router) attemptFailed(id string, children []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil {
		if c.cfg != nil && slices.ContainsFunc(children, func(name string) bool { return !slices.Contains(c.cfg.children, name) }) {
			c.try.reset()
		} else {
			c.failed(r.g.now(), jitter())
		}
		r.poke()
		r.publish(false)
	}
}

// initiation is one thing to do of initiateDue.
type initiation struct {
	id       string
	children []string
	check    bool // look first whether an IKE_SA is under way
	overdue  bool
}

// dueNow answers what to initiate and marks it as in flight.
func (r *router) dueNow(s *session) (start, overdue []initiation, again time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != s || !s.seen {
		return nil, nil, time.Time{}
	}
	now := r.g.now()
	starting, late, again := due(r.conns, now)
	if quiet := r.endQuiet(now); again.IsZero() || !quiet.IsZero() && quiet.Before(again) {
		again = quiet
	}
	for _, c := range starting {
		start = append(start, initiation{id: c.spec.ID, children: c.cfg.children, check: c.try.failures > 0 || c.renewing})
		c.try.started = now
		if limit := now.Add(attemptLimit); again.IsZero() || limit.Before(again) {
			again = limit
		}
	}
	for _, c := range late {
		overdue = append(overdue, initiation{id: c.spec.ID, check: true, overdue: true})
	}
	return start, overdue, again
}

// endQuiet reports the connections whose grace is over, and answers when the next one's is. It needs mu.
func (r *router) endQuiet(now time.Time) (again time.Time) {
	over := false
	for _, c := range r.conns {
		switch {
		case c.quiet.IsZero():
		case !now.Before(c.quiet):
			c.quiet, over = time.Time{}, true
		case again.IsZero() || c.quiet.Before(again):
			again = c.quiet
		}
	}
	if over {
		r.publish(false)
	}
	return again
}
