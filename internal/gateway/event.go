package gateway

import (
	"strings"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// told is what a connection's timeline has last of its status.
type told struct{ state, code string }

// repeatAfter is how long a reason that comes and goes by turns with others stays one event.
const repeatAfter = 5 * time.Minute

// noteStates writes what changed of the connections' states into their timelines. It needs mu.
func (r *router) noteStates() {
	now := r.g.now()
	looked := r.session != nil && r.session.seen
	var events []vpn.Seen
	for _, c := range r.conns {
		if e, ok := c.tell(looked, now); ok {
			events = append(events, e)
		}
	}
	r.g.journal.note(now, events...)
}

// tell answers the event that the connection's state is another than its timeline has, if it is and should be told. looked
// says that charon's SAs were seen: before that, what an earlier process left may be up.
func (c *connection) tell(looked bool, now time.Time) (e vpn.Seen, ok bool) {
	was, is := c.told, told{c.state, ""}
	if c.reason != nil {
		is.code = c.reason.Code
	}
	if c.state == "" || is == was {
		return e, false
	}
	e.First = was.state == "" && c.adopted
	begins := is.code == connecting().Code
	if e.First && !looked && (begins || is.code == notInitiated().Code) {
		return e, false
	}
	c.told = is
	if begins && was.state != vpn.StateUp && !e.First { // no news, but what follows is
		c.said = nil
		return e, false
	}
	e.ConnectionID, e.Type, e.Summary = c.spec.ID, vpn.EventReason, "there is nothing to say any more"
	switch {
	case is.state == vpn.StateUp && was.state != vpn.StateUp:
		e.Type, e.Summary, c.said = vpn.EventUp, "every CHILD_SA is installed", nil
	case was.state == vpn.StateUp && is.state != vpn.StateUp:
		e.Type = vpn.EventDown
	case is.code != "" && now.Sub(c.said[is.code]) < repeatAfter:
		return e, false
	}
	status := map[string]string{vpn.StateUp: vpn.Active, vpn.StateDown: vpn.Down, vpn.StateError: vpn.Errored}[is.state]
	e.Status = &status
	if c.reason != nil {
		reason := *c.reason
		e.StatusReason, e.Summary = &reason, reason.Summary
		if c.said == nil {
			c.said = map[string]time.Time{}
		}
		c.said[is.code] = now
	}
	return e, true
}

// noteSAs writes what charon tells of SAs into the timelines of the connections that they belong to.
func (r *router) noteSAs(event vici.Event) {
	up := event.Message.Get("up") == "yes"
	for name, sa := range event.Message.Sections() {
		switch event.Name {
		case "ike-updown":
			if !up && sa.Get("state") == "CONNECTING" { // charon says so of an attempt that was refused too: that never was one
				continue
			}
			r.noteSA(name, pick(up, vpn.EventIKEUp, vpn.EventIKEDown), pick(up, "IKE_SA established", "IKE_SA ended"), ikeDetails(sa), event.Time)
		case "ike-rekey":
			r.noteSA(name, vpn.EventIKERekey, "IKE_SA replaced", ikeDetails(sa.Section("new")), event.Time)
		case "child-updown":
			for _, child := range sa.Section("child-sas").Sections() {
				r.noteSA(childOf(child, name), pick(up, vpn.EventChildUp, vpn.EventChildDown), pick(up, "CHILD_SA installed", "CHILD_SA ended"), childDetails(child), event.Time)
			}
		case "child-rekey":
			for _, child := range sa.Section("child-sas").Sections() {
				r.noteSA(childOf(child.Section("new"), name), vpn.EventChildRekey, "CHILD_SA replaced", childDetails(child.Section("new")), event.Time)
			}
		}
	}
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// noteSA is for the connection, or the one whose CHILD_SA's name that is; an IKE_SA may carry those of its siblings.
func (r *router) noteSA(name, typ, summary string, details map[string]string, at time.Time) {
	r.mu.Lock()
	c := r.conns[name]
	if c == nil {
		for id, other := range r.conns {
			if isChildOf(name, id) {
				c = other
				break
			}
		}
	}
	id := ""
	if c != nil {
		id = c.spec.ID
	}
	r.mu.Unlock()
	if id == "" { // being taken away
		return
	}
	if peer := details["peer_address"]; peer != "" {
		summary += " with " + peer
	}
	if networks := details["local_networks"]; networks != "" {
		summary += ": " + networks + " to " + details["peer_networks"]
	}
	r.g.journal.note(at, vpn.Seen{Event: vpn.Event{Type: typ, ConnectionID: id, Summary: summary, Details: details}})
}

// childOf is the name of a CHILD_SA's configuration, which tells whose it is; else that of the IKE_SA's.
func childOf(child *vici.Message, ike string) string {
	if name := child.Get("name"); name != "" {
		return name
	}
	return ike
}

// words are details of an SA under names of ours.
func words(sa *vici.Message, names ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(names); i += 2 {
		if v := sa.Get(names[i+1]); v != "" {
			out[names[i]] = v
		}
	}
	return out
}

func ikeDetails(sa *vici.Message) map[string]string {
	out := words(sa, "ike_version", "version", "local_address", "local-host", "peer_address", "remote-host", "local_id", "local-id", "peer_id", "remote-id",
		"initiator_spi", "initiator-spi", "responder_spi", "responder-spi")
	out["algorithms"] = algorithms(sa)
	return out
}

func childDetails(sa *vici.Message) map[string]string {
	out := words(sa, "spi_in", "spi-in", "spi_out", "spi-out", "protocol", "protocol")
	out["algorithms"] = algorithms(sa)
	out["local_networks"], out["peer_networks"] = strings.Join(sa.List("local-ts"), ", "), strings.Join(sa.List("remote-ts"), ", ")
	return out
}

// algorithms are what was negotiated, such as AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048.
func algorithms(sa *vici.Message) string {
	var out []string
	for _, name := range []string{"encr-alg", "integ-alg", "prf-alg", "dh-group"} {
		v := sa.Get(name)
		if size := sa.Get("encr-keysize"); name == "encr-alg" && v != "" && size != "" {
			v += "_" + size
		}
		if v != "" {
			out = append(out, v)
		}
	}
	return strings.Join(out, "/")
}

// noteStarted tells that charon runs again, after it ended by itself. It needs mu.
func (r *router) noteStarted() {
	if !r.died {
		return
	}
	r.died = false
	summary := "the IKE daemon runs again"
	if r.ended != "" {
		summary += "; it had ended: " + r.ended
	}
	var events []vpn.Seen
	for _, c := range r.conns {
		if c.cfg != nil {
			events = append(events, vpn.Seen{Event: vpn.Event{Type: vpn.EventCharonStarted, ConnectionID: c.spec.ID, Summary: summary}})
		}
	}
	r.g.journal.note(r.g.now(), events...)
}
