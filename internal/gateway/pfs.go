package gateway

import (
	"context"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// The first CHILD_SA of an IKEv2 tunnel takes its keys from the IKE_SA, and its Diffie-Hellman group (pfs of the IPsec
// policy) is not even spoken of (RFC 7296 section 1.2). Peers with different groups so agree, and part at the first rekeying,
// an hour later. So whoever initiated a tunnel rekeys its CHILD_SA once, a moment after it came up: make before break, no
// packet is lost. Who answered does so a little later, where the other side has not. Where the peer refuses, the tunnel keeps
// its keys and carries a warning; charon then tries again about every half minute, so that the warning goes when the peer has
// been mended.
//
// It is done once for each agreement: a rekeying that worked is remembered over restarts of ours, whoever began it. A tunnel
// that was there before this process is left alone. IKEv1 names the group in each quick mode and needs none of this.
const (
	tryGroupAfter    = 1200 * time.Millisecond // not in the way of what is being set up
	tryGroupSpread   = 800 * time.Millisecond
	tryGroupAnswered = 4 * time.Second // more, where the peer initiated: it may do so itself
)

// agreement is the one under which charon is to make the connection's CHILD_SA (see childName), "" for IKEv1.
func (c *connection) agreement() string {
	if c.cfg == nil || c.spec.IKE.Version == "v1" {
		return ""
	}
	return agreement(c.cfg.children[0])
}

// recall takes over what an earlier process noted.
func (r *router) recall(l *loaded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, c := range r.conns {
		if c.proven == "" {
			c.proven = l.Proven[id]
		}
	}
}

// tryGroupLater takes in a CHILD_SA that came up.
func (s *session) tryGroupLater(sa *vici.Message) {
	if sa.Get("version") != "2" {
		return
	}
	after := tryGroupAfter + time.Duration(jitter()*float64(tryGroupSpread))
	if sa.Get("initiator") != "yes" {
		after += tryGroupAnswered
	}
	for _, child := range sa.Section("child-sas").Sections() {
		if child.Get("dh-group") != "" { // made in an IKE_SA that stood already: the group was agreed on
			s.r.rekeyed(sa)
			continue
		}
		s.checks[child.Get("name")] = time.Now().Add(after)
	}
}

// tryGroups rekeys what is due and not proven, and answers when to look again.
func (s *session) tryGroups() (again time.Time) {
	for child, at := range s.checks {
		if at.After(time.Now()) {
			if again.IsZero() || at.Before(again) {
				again = at
			}
			continue
		}
		delete(s.checks, child)
		if id, unproven := s.r.unproven(child); unproven {
			s.rekeyChild(id, child)
		}
	}
	return again
}

// unproven answers the connection of a CHILD_SA, and whether it is up under an agreement that no rekeying has proven.
func (r *router) unproven(child string) (id string, unproven bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, c := range r.conns {
		if isChildOf(child, id) {
			return id, c.state == vpn.StateUp && c.agreement() == agreement(child) && c.proven != c.agreement()
		}
	}
	return "", false
}

// rekeyChild asks charon to rekey; what comes of it are events.
func (s *session) rekeyChild(id, name string) {
	sas, err := s.sas(context.Background(), s.r.scope(id))
	if err != nil {
		return // charon is gone, which ends the session
	}
	for _, sa := range flatten(sas) {
		for _, child := range sa.children {
			if child.name != name || child.state != "INSTALLED" {
				continue
			}
			if err := s.callLoosely(context.Background(), "rekey", vici.NewMessage().Set("child-id", child.id)); err != nil {
				s.r.g.log.Warn("rekey", "router", s.r.id, "connection", id, "err", err)
			}
			return
		}
	}
}

// rekeyed takes in a CHILD_SA that was rekeyed, by whichever side.
func (r *router) rekeyed(sa *vici.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := false
	for key, section := range sa.Section("child-sas").Sections() {
		child := section.Get("name") // in child-updown the key has a number more; in child-rekey it is the name
		if child == "" {
			child = key
		}
		for id, c := range r.conns {
			if !isChildOf(child, id) || c.agreement() != agreement(child) {
				continue
			}
			if c.state == vpn.StateUp {
				c.clearWarning("pfs_mismatch")
				c.clearWarning("child_proposal_mismatch")
			}
			news = news || c.proven != c.agreement()
			c.proven = c.agreement()
		}
	}
	r.publish(false)
	if news && !r.closing {
		r.g.running.Add(1)
		go r.noteMemory()
	}
}

// unrekeyable is the warning of a tunnel that is up and could not be rekeyed. The algorithms were agreed on before; what
// was not is the group, unless the peer's own proposals tell otherwise.
func unrekeyable(why vpn.Reason) vpn.Reason {
	if why.Code == "child_proposal_mismatch" && why.Theirs == "" {
		why.Code = "pfs_mismatch"
	}
	why.Summary += "; the tunnel works until its lifetime is over"
	return why
}
