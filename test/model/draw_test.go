package model

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"pgregory.net/rapid"
)

const unknownID = "99999999-9999-4999-8999-999999999999"

// even draws a number below n, each as likely as the others; rapid's own prefer small ones.
func even(t *rapid.T, label string, n int) int {
	return rapid.Custom(func(t *rapid.T) int {
		sum := 0
		for range 10 {
			sum *= 2
			if rapid.Bool().Draw(t, "bit") {
				sum++
			}
		}
		return sum * n >> 10
	}).Draw(t, label)
}

func pick[T any](t *rapid.T, label string, from []T) T { return from[even(t, label, len(from))] }

// chance is true n times of a hundred.
func chance(t *rapid.T, label string, n int) bool { return even(t, label, 100) >= 100-n }

// reference draws an id for an attribute that names something of a kind: mostly what is in the project, sometimes another
// project's, what is no more, what never was, or something of another kind.
func (m *machine) reference(t *rapid.T, kind, project string) string {
	in := func(r row) bool { return r.project() == project }
	if chance(t, "elsewhere", 5) {
		in = nil
	}
	named := []string{}
	switch kind {
	case "router":
		for _, id := range sorted(m.s.routers) {
			if in == nil || m.s.routers[id].project == project {
				named = append(named, id)
			}
		}
	case "subnet":
		for _, id := range sorted(m.s.subnets) {
			if in == nil || m.s.subnets[id].project == project {
				named = append(named, id)
			}
		}
	default:
		named = ids(m.s.of(kind, in))
	}
	if len(named) == 0 || chance(t, "wrong", 2) {
		named = append(append([]string{unknownID}, m.s.dead...), sorted(m.s.routers)...)
	}
	return pick(t, kind, named)
}

func ids(rows []row) (out []string) {
	for _, r := range rows {
		out = append(out, r.id())
	}
	return out
}

// refers says which kind an attribute names.
func refers(attr string) string {
	if strings.HasSuffix(attr, "_ep_group_id") {
		return "endpoint_group"
	}
	kind, ok := strings.CutSuffix(attr, "_id")
	if ok && slices.Contains([]string{"router", "subnet", "vpnservice", "ikepolicy", "ipsecpolicy"}, kind) {
		return kind
	}
	return ""
}

// legal draws a value that passes the framework; it may break a rule that looks further.
func (m *machine) legal(t *rapid.T, kind string, a attribute, project string, sofar map[string]value) value {
	if ref := refers(a.name); ref != "" {
		id := m.reference(t, ref, project)
		if side, ok := map[string]string{"local_ep_group_id": "subnet", "peer_ep_group_id": "cidr"}[a.name]; ok && chance(t, "right type", 85) {
			right := m.s.of("endpoint_group", func(r row) bool { return r.project() == project && r.doc["type"] == side })
			id = pick(t, side+" group", append(ids(right), id))
		}
		return value{sent: id, kept: id}
	}
	if a.name == "endpoints" && sofar["type"].sent == "subnet" {
		return m.subnets(t, project)
	}
	if a.name == "external_v4_ip" && chance(t, "own address", 70) {
		v4 := m.s.routers[text(sofar["router_id"].sent)].v4
		return value{sent: orNull(v4), kept: orNull(v4)}
	}
	if (a.name == "name" || a.name == "description") && chance(t, "any words", 15) {
		return anyWords(t, a.name)
	}
	return pick(t, a.name, slices.DeleteFunc(slices.Clone(a.values), func(v value) bool { return v.err != nil }))
}

func (m *machine) subnets(t *rapid.T, project string) value {
	list := []any{}
	for range 1 + even(t, "subnets", 2) {
		list = append(list, m.reference(t, "subnet", project))
	}
	if chance(t, "more", 8) {
		list = append(list, pick(t, "odd", []any{"banana", unknownID, m.lan}))
	}
	return value{sent: list, kept: list}
}

// anyWords is any text, judged by the contract's rule for it (2.3).
func anyWords(t *rapid.T, attr string) value {
	s := rapid.StringN(0, 60, -1).Draw(t, attr)
	v := value{sent: s, kept: s}
	if strings.ContainsFunc(s, unicode.IsControl) {
		v.err = refuse("400 HTTPBadRequest")
	}
	if attr == "name" && (strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })) {
		v.err = refuse("400 HTTPBadRequest")
	}
	return v
}

// post draws the body of a create.
func (m *machine) post(t *rapid.T, c caller, kind string) sent {
	b := sent{attrs: map[string]value{}}
	project := m.owner(t, c, b)
	for _, a := range schema(kind) {
		wanted := a.post && (a.required || chance(t, "with "+a.name, a.often(m.s, b)))
		if wanted {
			b.attrs[a.name] = m.legal(t, kind, a, project, b.attrs)
		}
	}
	m.spoil(t, kind, &b, true)
	return b
}

// often is how often an attribute is given: those that the mode of a connection needs, nearly always.
func (a attribute) often(s *state, b sent) int {
	service, known := s.rows[text(b.attrs["vpnservice_id"].sent)]
	legacy := service.doc["subnet_id"] != nil
	switch {
	case a.name == "endpoints":
		return 97
	case known && strings.HasSuffix(a.name, "_ep_group_id") && !legacy, known && a.name == "peer_cidrs" && legacy:
		return 95
	case known && strings.HasSuffix(a.name, "_ep_group_id"), known && a.name == "peer_cidrs":
		return 5
	case a.name == "subnet_id":
		return 50
	case a.name == "flavor_id":
		return 2
	case a.constant, a.name == "external_v4_ip":
		return 5
	}
	return 25
}

// owner draws project_id and tenant_id, and returns the project that the body is for.
func (m *machine) owner(t *rapid.T, c caller, b sent) string {
	home, away := m.project["home"], m.project["away"]
	if c.role == "admin" {
		p := pick(t, "project", []string{home, home, away})
		b.attrs[pick(t, "key", []string{"project_id", "tenant_id"})] = value{sent: p}
		return p
	}
	if chance(t, "owner named", 15) {
		b.attrs["project_id"] = value{sent: pick(t, "project", []string{c.project, c.project, home, away, ""})}
	}
	if chance(t, "tenant named", 8) {
		b.attrs["tenant_id"] = value{sent: pick(t, "tenant", []string{c.project, home, away, ""})}
	}
	return c.project
}

// put draws the body of an update.
func (m *machine) put(t *rapid.T, kind, project string) sent {
	b := sent{attrs: map[string]value{}}
	typ := ""
	for _, a := range schema(kind) {
		if !a.put || !chance(t, "with "+a.name, 22) {
			continue
		}
		if a.name == "endpoints" {
			typ = pick(t, "as", []string{"cidr", "subnet"})
		}
		b.attrs[a.name] = m.legal(t, kind, a, project, map[string]value{"type": {sent: typ}})
	}
	m.spoil(t, kind, &b, false)
	return b
}

// spoil breaks one thing of some bodies, and makes a value null in some.
func (m *machine) spoil(t *rapid.T, kind string, b *sent, post bool) {
	if !chance(t, "spoilt", 22) {
		return
	}
	all := schema(kind)
	a := pick(t, "attribute", all)
	switch wrong := refuse("400 HTTPBadRequest"); pick(t, "how", []string{"unknown", "not allowed", "missing", "null", "value", "value"}) {
	case "unknown":
		b.attrs[pick(t, "key", []string{"interval", "peer_cidr", "order_id", "", "Name", "phase_1_negotiation_mode"})] = value{sent: 1}
		b.fault = wrong
	case "not allowed":
		name := pick(t, "read-only", []string{"id", "created_at", "revision_number", "updated_at"})
		b.attrs[name], b.fault = value{sent: unknownID}, wrong
		if !post && !a.put {
			b.attrs[a.name] = value{sent: a.fallback}
		}
	case "missing":
		if _, given := b.attrs[a.name]; post && a.required && given {
			delete(b.attrs, a.name)
			b.fault = wrong
		}
	case "null":
		if post && a.post || a.put {
			b.attrs[a.name] = value{}
		}
	case "value":
		bad := slices.DeleteFunc(slices.Clone(a.values), func(v value) bool { return v.err == nil })
		if (post && a.post || !post && a.put) && len(bad) > 0 {
			b.attrs[a.name] = pick(t, "bad "+a.name, bad)
		}
	}
}

// query draws the query of a list.
func (m *machine) query(t *rapid.T, kind string) (out []param) {
	add := func(name, value string) { out = append(out, param{name, value}) }
	known := append(ids(m.s.of(kind, nil)), "")
	for range even(t, "filters", 3) {
		name := pick(t, "filter", append([]string{"id", "name", "name", "project_id", "revision_number", "created_at", "psk", "nonsense"}, attributes(kind)...))
		v := text(m.s.rows[pick(t, "of", known)].doc[name])
		if chance(t, "odd value", 15) {
			v = pick(t, "value", []string{"", "yes", "no", "1", "maybe", "%", "'", "ä", unknownID, "-1"})
		}
		add(name, v)
	}
	for range even(t, "keys", 3) {
		add("sort_key", pick(t, "sort", []string{"id", "name", "name", "status", "created_at", "updated_at", "tenant_id", "router_id", "psk", "mtu"}))
		if !chance(t, "lone", 4) {
			add("sort_dir", pick(t, "dir", []string{"asc", "desc"}))
		}
	}
	if chance(t, "fields", 25) {
		add("fields", pick(t, "names", []string{"id", "id,name", "psk", "nothing", "psk,nothing,status", "project_id,id"}))
	}
	if chance(t, "limited", 60) {
		add("limit", pick(t, "limit", []string{"1", "2", "3", "3", "5", "0", "-1", "x"}))
	}
	if chance(t, "marked", 40) {
		markers := append(sorted(m.s.rows), unknownID, "banana")
		if some := ids(m.s.of(kind, nil)); len(some) > 0 && !chance(t, "other marker", 10) {
			markers = some
		}
		add("marker", pick(t, "marker", markers))
	}
	if chance(t, "reverse", 25) {
		add("page_reverse", "True")
	}
	return out
}

func attributes(kind string) (out []string) {
	for _, a := range schema(kind) {
		out = append(out, a.name)
	}
	return out
}

// report draws a report on some router.
func (m *machine) report(t *rapid.T) report {
	r := report{Router: pick(t, "router", append(sorted(m.s.routers), unknownID)), Ready: chance(t, "ready", 75),
		Rev: max(0, m.s.rev-int64(pick(t, "older by", []int{0, 0, 0, 1, 2, 5})))}
	if !r.Ready {
		r.Reason = m.s.reason(pick(t, "code", []string{"no_charon", "no_link"}), "the gateway is not ready", "wait")
	}
	all := m.s.of("ipsec_site_connection", nil)
	for _, c := range all {
		if m.s.routerOf(c) != r.Router && !chance(t, "of another router", 5) || !chance(t, "known", 80) {
			continue
		}
		one := connReport{ID: c.id(), State: pick(t, "state", []string{"up", "up", "down", "error"})}
		if c.doc["admin_state_up"] == false { // no gateway brings up what is down
			one.State = "down"
		}
		if one.State != "up" {
			one.Reason = m.s.reason(pick(t, "why", []string{"peer_silent", "auth_failed"}), fmt.Sprint("it is ", one.State), "look at the peer")
		} else if chance(t, "with a warning", 20) {
			one.Reason = m.s.reason("ts_narrowed", "it is up, but", "look at the peer")
		}
		r.Connections = append(r.Connections, one)
	}
	return r
}
