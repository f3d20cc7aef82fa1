package model

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// sent is a request's body: the attributes that it gives, and what is wrong with it besides their values.
type sent struct {
	attrs map[string]value
	fault refusal // of an attribute that is unknown, missing or not allowed here
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (b sent) json() object {
	out := object{}
	for name, v := range b.attrs {
		out[name] = v.sent
	}
	return out
}

// judged are the attributes as they are kept, on POST with all defaults (contract 2.2). Objects are partial on PUT.
func (b sent) judged(kind string, post bool) (object, refusal) {
	out, faults := object{}, slices.Clone(b.fault)
	for _, a := range schema(kind) {
		v, given := b.attrs[a.name]
		if post && (a.post || a.constant) && !a.required {
			out[a.name] = a.fallback
		}
		if !given {
			continue
		}
		got, fault := a.judge(v, post)
		if faults = append(faults, fault...); fault != nil {
			continue
		}
		part, isObject := got.(object)
		switch {
		case isObject && post:
			out[a.name] = merged(a.fallback.(object), part)
		case isObject && len(part) == 0: // nothing is given
		default:
			out[a.name] = got
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}

// judge applies the rules about null, then the value's own.
func (a attribute) judge(v value, post bool) (any, refusal) {
	switch {
	case v.sent != nil:
		return v.kept, v.err
	case a.typ == "object":
		return object{}, nil
	case a.nullable && a.typ == "list":
		return []any{}, nil
	case a.nullable:
		return nil, nil
	case post && !a.required:
		return a.fallback, nil
	}
	return nil, refuse("400 HTTPBadRequest", "400 InvalidInput")
}

func merged(a, b object) object {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// owner is the project of a new resource (contract 2.1).
func (b sent) owner(c caller) (string, refusal) {
	p, _ := b.attrs["project_id"].sent.(string)
	t, _ := b.attrs["tenant_id"].sent.(string)
	switch {
	case p != "" && t != "" && p != t:
		return "", refuse("400 HTTPBadRequest")
	case p == "" && t == "":
		return c.project, nil
	case p == "":
		p = t
	}
	if p != c.project && c.role != "admin" {
		return "", refuse("400 HTTPBadRequest")
	}
	return p, nil
}

// admit is all that can be said of a POST without looking at other resources (contract 2.2, steps 1 to 6).
func (s *state) admit(c caller, kind string, b sent) (project string, attrs object, no refusal) {
	attrs, faults := b.judged(kind, true)
	project, wrong := b.owner(c)
	if faults = append(faults, wrong...); len(faults) > 0 {
		return "", nil, faults
	}
	if !c.changes(project) {
		return "", nil, refuse("403 PolicyNotAuthorized")
	}
	return project, attrs, nil
}

// full says that the project may not have n more.
func (s *state) full(kind, project string, n int) refusal {
	have := len(s.of(kind, func(r row) bool { return r.project() == project }))
	if have+n > s.limits[kind] {
		return refuse("409 OverQuota")
	}
	return nil
}

// create predicts a POST. The row that it returns has no id yet.
func (s *state) create(c caller, kind string, b sent) (row, refusal) {
	project, attrs, no := s.admit(c, kind, b)
	if no == nil {
		no = s.full(kind, project, 1)
	}
	if no != nil {
		return row{}, no
	}
	return s.place(c, kind, project, attrs)
}

// place makes the row of what was admitted.
func (s *state) place(c caller, kind, project string, attrs object) (row, refusal) {
	r := row{kind: kind, doc: attrs, intent: s.rev + 1}.with(object{"project_id": project, "tenant_id": project, "created_at": s.now, "updated_at": s.now, "revision_number": s.rev + 1})
	switch kind {
	case "vpnservice":
		return s.newService(c, r)
	case "ipsec_site_connection":
		r = r.with(object{"status": "PENDING_CREATE", "status_reason": nil, "tags": []any{}})
	}
	return r, s.rules(c, r)
}

// rules are what is wrong with a resource as it would be.
func (s *state) rules(c caller, r row) refusal {
	switch kind := r.kind; kind {
	case "ikepolicy":
		if r.doc["phase1_negotiation_mode"] == "aggressive" && r.doc["ike_version"] != "v1" { // section 3
			return refuse("400 HTTPBadRequest")
		}
	case "endpoint_group":
		return s.groupRules(c, r)
	case "ipsec_site_connection":
		return s.connectionRules(c, r)
	}
	return nil
}

// text is how a filter and a sort key see an attribute.
func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	}
	return fmt.Sprint(v)
}

// number reads what may stand in a body as 30 or as "30" (contract D5).
func number(v any) int {
	n, _ := strconv.Atoi(strings.TrimSpace(text(v)))
	return n
}
