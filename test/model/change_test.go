package model

import (
	"maps"
	"reflect"
)

// change is what a successful call does: rows as they are after it, rows that are gone, routers whose gateway must know.
type change struct {
	rows  []row
	gone  []string
	touch []string
}

// apply takes a change over into the state; an empty one takes no revision.
func (s *state) apply(c change) {
	if len(c.rows)+len(c.gone)+len(c.touch) == 0 {
		return
	}
	s.rev++
	for _, r := range c.rows {
		s.rows[r.id()] = r
	}
	for _, id := range c.gone {
		delete(s.rows, id)
		s.dead = append(s.dead, id)
	}
	for _, router := range c.touch {
		s.specs[router] = s.rev
	}
}

// created is the change of a POST.
func (s *state) created(r row) change {
	c := change{rows: []row{r}}
	switch r.kind {
	case "vpnservice":
		c.touch = []string{r.text("router_id")}
	case "ipsec_site_connection":
		c.touch = []string{s.routerOf(r)}
	}
	return c
}

// target is what a PUT or DELETE is about: 404 for what the caller does not see, 403 for what it may not change, 412 for
// another revision (contract 2.2, 2.5 and 9).
func (s *state) target(c caller, kind, id string, ifMatch *int64) (row, refusal) {
	r, ok := s.rows[id]
	switch {
	case !ok || r.kind != kind || !c.sees(r.project()):
		return r, refuse(notFound(kind))
	case !c.changes(r.project()):
		return r, refuse("403 PolicyNotAuthorized")
	case ifMatch != nil && *ifMatch != r.doc["revision_number"]:
		return r, refuse("412 RevisionNumberConstraintFailed")
	}
	return r, nil
}

// update predicts a PUT: the row after it, and all that it changes.
func (s *state) update(c caller, kind, id string, b sent, ifMatch *int64) (row, change, refusal) {
	attrs, no := b.judged(kind, false)
	if no != nil {
		return row{}, change{}, no
	}
	old, no := s.target(c, kind, id, ifMatch)
	if no != nil {
		return old, change{}, no
	}
	for name, v := range attrs {
		if part, isObject := v.(object); isObject {
			attrs[name] = merged(old.doc[name].(object), part)
		}
	}
	r := old.with(attrs)
	_, key := attrs["psk"]
	if !key && reflect.DeepEqual(r.doc, old.doc) {
		return old, change{}, nil
	}
	matters := key || !reflect.DeepEqual(wordless(r.doc), wordless(old.doc))
	r = r.with(object{"updated_at": s.now, "revision_number": s.rev + 1})
	if !matters { // name and description stand for themselves (contract 6)
		return r, change{rows: []row{r}}, nil
	}
	r.intent = s.rev + 1
	if r.doc["status"] != nil {
		r = r.with(object{"status": "PENDING_UPDATE", "status_reason": nil})
	}
	if no := s.rules(c, r); no != nil {
		return r, change{}, no
	}
	ch, no := s.carried(c, r)
	return r, ch, no
}

func wordless(doc object) object {
	out := maps.Clone(doc)
	delete(out, "name")
	delete(out, "description")
	return out
}

// carried is a change with what it means to others: a policy or a group in use is applied to its connections (contract D2, D3),
// which must be in order with it.
func (s *state) carried(c caller, r row) (change, refusal) {
	ch := s.created(r)
	attrs := map[string][]string{"ikepolicy": {"ikepolicy_id"}, "ipsecpolicy": {"ipsecpolicy_id"}, "endpoint_group": {"local_ep_group_id", "peer_ep_group_id"}}[r.kind]
	after := s.clone()
	after.rows[r.id()] = r
	var faults refusal
	for _, attr := range attrs {
		for _, user := range s.of("ipsec_site_connection", func(o row) bool { return o.text(attr) == r.id() }) {
			user = user.with(object{"status": "PENDING_UPDATE", "status_reason": nil})
			user.intent = s.rev + 1
			ch.rows, ch.touch = append(ch.rows, user), append(ch.touch, s.routerOf(user))
			if r.kind == "endpoint_group" {
				faults = append(faults, after.connectionRules(c, user)...)
			}
		}
	}
	return ch, faults
}

// remove predicts a DELETE (contract D8 and D9: gone at once, unless something needs it).
func (s *state) remove(c caller, kind, id string, ifMatch *int64) (change, refusal) {
	r, no := s.target(c, kind, id, ifMatch)
	if no != nil {
		return change{}, no
	}
	for _, conn := range s.of("ipsec_site_connection", nil) {
		for _, attr := range []string{"vpnservice_id", "ikepolicy_id", "ipsecpolicy_id", "local_ep_group_id", "peer_ep_group_id"} {
			if conn.text(attr) == id {
				return change{}, refuse(inUse(kind))
			}
		}
	}
	ch := s.created(r)
	return change{gone: []string{id}, touch: ch.touch}, nil
}
