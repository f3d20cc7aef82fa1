package model

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// key is a sort key.
type key struct {
	attr string
	desc bool
}

// param is one of a query's parameters, in their order.
type param struct{ name, value string }

// attributeOf finds an attribute of a kind, those included that every kind has; endpoint_type is a group's type (contract 9).
func attributeOf(kind, name string) (attribute, bool) {
	if kind == "endpoint_group" && name == "endpoint_type" {
		name = "type"
	}
	all := schema(kind)
	for _, n := range []string{"id", "project_id", "tenant_id", "created_at", "updated_at"} {
		all = append(all, attribute{name: n, typ: "text"})
	}
	all = append(all, attribute{name: "revision_number", typ: "number"})
	i := slices.IndexFunc(all, func(a attribute) bool { return a.name == name })
	if i < 0 {
		return attribute{}, false
	}
	return all[i], true
}

func byKeys(a, b row, keys []key) int {
	for _, k := range keys {
		c := cmp.Compare(text(a.doc[k.attr]), text(b.doc[k.attr]))
		if k.desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(a.id(), b.id())
}

// page is what a list answers.
type page struct {
	rows  []row
	links map[string]url.Values // next, previous: the queries that they lead to
}

// wanted is a query as the contract's section 9 reads it.
type wanted struct {
	filters map[string][]string
	keys    []key
	limit   int
	marker  string
	reverse bool
	fields  []string
}

func (s *state) list(c caller, kind string, params []param) (page, wanted, refusal) {
	w, no := read(kind, params)
	if no != nil {
		return page{}, w, no
	}
	keys := w.keys
	if keys == nil {
		keys = []key{{"created_at", false}}
	}
	rows := s.of(kind, func(r row) bool { return c.sees(r.project()) && w.keeps(kind, r) })
	slices.SortFunc(rows, func(a, b row) int { return byKeys(a, b, keys) })
	before, after := 0, len(rows) // the rows outside of the page
	if w.marker != "" {
		m, ok := s.rows[w.marker]
		if !ok || m.kind != kind || !c.sees(m.project()) {
			return page{}, w, refuse("400 BadRequest")
		}
		if w.reverse {
			after = slices.IndexFunc(append(rows, m), func(r row) bool { return byKeys(r, m, keys) >= 0 })
		} else if before = slices.IndexFunc(rows, func(r row) bool { return byKeys(r, m, keys) > 0 }); before < 0 {
			before = len(rows)
		}
	}
	if w.limit > 0 && w.reverse {
		before = max(before, after-w.limit)
	} else if w.limit > 0 {
		after = min(after, before+w.limit)
	}
	return paged(rows, before, after, params, w), w, nil
}

// paged cuts a page out; links stand only where they lead somewhere.
func paged(rows []row, before, after int, params []param, w wanted) page {
	p := page{rows: rows[before:after], links: map[string]url.Values{}}
	if w.limit == 0 || before == after {
		return p
	}
	lead := func(marker row, reverse bool) url.Values {
		q := url.Values{}
		for _, x := range params {
			if x.name != "marker" && x.name != "page_reverse" {
				q.Add(x.name, x.value)
			}
		}
		q.Set("marker", marker.id())
		if reverse {
			q.Set("page_reverse", "True")
		}
		return q
	}
	if after < len(rows) {
		p.links["next"] = lead(rows[after-1], false)
	}
	if before > 0 {
		p.links["previous"] = lead(rows[before], true)
	}
	return p
}

// read finds what is wrong with a query, too.
func read(kind string, params []param) (w wanted, no refusal) {
	w.filters = map[string][]string{}
	var keys, dirs []string
	for _, p := range params {
		switch p.name {
		case "fields":
			w.fields = append(w.fields, strings.FieldsFunc(p.value, func(r rune) bool { return r == ',' })...)
		case "sort_key":
			keys = append(keys, p.value)
		case "sort_dir":
			dirs = append(dirs, p.value)
		case "limit":
			n, err := strconv.Atoi(p.value)
			if w.limit = n; err != nil || n < 0 {
				no = append(no, "400 BadRequest")
			}
		case "marker":
			w.marker = p.value
		case "page_reverse":
			w.reverse = p.value == "True"
		default:
			no = append(no, w.filter(kind, p)...)
		}
	}
	if len(keys) != len(dirs) {
		return w, append(no, "400 HTTPBadRequest")
	}
	for i, k := range keys {
		if w.keys = append(w.keys, key{k, dirs[i] == "desc"}); !sortable(kind, k) {
			no = append(no, "400 HTTPBadRequest")
		}
	}
	return w, no
}

func sortable(kind, name string) bool {
	switch name {
	case "id", "project_id", "tenant_id", "name", "created_at", "updated_at":
		return true
	case "status":
		return kind == "vpnservice" || kind == "ipsec_site_connection"
	case "router_id":
		return kind == "vpnservice"
	}
	return false
}

// filter converts a value as bodies are converted.
func (w *wanted) filter(kind string, p param) refusal {
	a, known := attributeOf(kind, p.name)
	v := p.value
	switch {
	case !known || a.typ == "object" || a.typ == "list" || a.typ == "secret":
		return refuse("400 HTTPBadRequest")
	case a.typ == "number":
		if _, err := strconv.Atoi(v); err != nil {
			return refuse("400 InvalidInput")
		}
	case a.typ == "bool":
		switch strings.ToLower(v) {
		case "true", "1", "yes":
			v = "true"
		case "false", "0", "no":
			v = "false"
		default:
			return refuse("400 InvalidInput")
		}
	}
	w.filters[p.name] = append(w.filters[p.name], v)
	return nil
}

func (w *wanted) keeps(kind string, r row) bool {
	for name, values := range w.filters {
		a, _ := attributeOf(kind, name)
		if !slices.Contains(values, text(r.doc[a.name])) {
			return false
		}
	}
	return true
}

// shown is a document with only the fields asked for; names that do not exist count for nothing.
func (w *wanted) shown(doc object) object {
	if len(w.fields) == 0 {
		return doc
	}
	out := object{}
	for _, f := range w.fields {
		if v, ok := doc[f]; ok {
			out[f] = v
		}
	}
	return out
}
