package model

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"pgregory.net/rapid"
)

func kindOf(t *rapid.T) string {
	return pick(t, "kind", []string{"ikepolicy", "ipsecpolicy", "vpnservice", "endpoint_group", "endpoint_group", "ipsec_site_connection", "ipsec_site_connection", "ipsec_site_connection"})
}

// who is mostly a member.
func (m *machine) who(t *rapid.T) caller {
	return m.callers[pick(t, "who", []int{0, 1, 1, 1, 2, 3, 3, 4})]
}

func (m *machine) tick(t *rapid.T) {
	if chance(t, "time passes", 70) {
		m.srv.Clock.Advance(time.Millisecond)
	}
	m.s.now = m.srv.Clock.Now().Format("2006-01-02 15:04:05.000000")
}

func (m *machine) create(t *rapid.T) {
	m.tick(t)
	c := m.who(t)
	kind := m.possible(t, c)
	m.createOne(t, c, kind, m.post(t, c, kind))
}

// possible draws a kind to make one of; mostly one whose parts there are.
func (m *machine) possible(t *rapid.T, c caller) string {
	kind := kindOf(t)
	if kind != "ipsec_site_connection" || chance(t, "without parts", 5) {
		return kind
	}
	for _, part := range []string{"vpnservice", "ikepolicy", "ipsecpolicy"} {
		if len(m.s.of(part, func(r row) bool { return c.role == "admin" || r.project() == c.project })) == 0 {
			return part
		}
	}
	return kind
}

// near is mostly somebody of the project.
func (m *machine) near(t *rapid.T, project string) caller {
	if chance(t, "anybody", 30) {
		return m.who(t)
	}
	if project == m.project["away"] {
		return m.callers[3]
	}
	return m.callers[1]
}

func (m *machine) createOne(t *rapid.T, c caller, kind string, b sent) string {
	t.Helper()
	r, no := m.s.create(c, kind, b)
	doc, answer := m.ask(t, c.name, "POST", "/v2.0/"+collection[kind], object{kind: b.json()})
	if !m.agree(t, answer, "201", no) {
		return ""
	}
	got := doc[kind].(object)
	m.made(t, r, got["id"])
	same(t, "the new "+kind, got, c.seen(m.s.rows[got["id"].(string)]))
	m.revision(t)
	return got["id"].(string)
}

// made takes over a row, with the id that the server gave it.
func (m *machine) made(t *rapid.T, r row, id any) {
	t.Helper()
	text, _ := id.(string)
	if _, known := m.s.rows[text]; known || len(text) != 36 {
		t.Fatalf("the new id %v is none, or taken", id)
	}
	r = r.with(object{"id": text})
	m.s.apply(m.s.created(r))
}

// bulk is many of one kind at once: all, or none (contract 9).
func (m *machine) bulk(t *rapid.T) {
	m.tick(t)
	c := m.who(t)
	kind := m.possible(t, c)
	var bodies []sent
	var list []any
	for range 1 + even(t, "many", 3) {
		b := m.post(t, c, kind)
		bodies, list = append(bodies, b), append(list, b.json())
	}
	rows, no := m.s.createAll(c, kind, bodies)
	doc, answer := m.ask(t, c.name, "POST", "/v2.0/"+collection[kind], object{plural[kind]: list})
	if !m.agree(t, answer, "201", no) {
		return
	}
	got := doc[plural[kind]].([]any)
	ch := change{}
	for i, r := range rows {
		r = r.with(object{"id": got[i].(object)["id"]})
		one := m.s.created(r)
		ch.rows, ch.touch = append(ch.rows, r), append(ch.touch, one.touch...)
	}
	m.s.apply(ch)
	for i, r := range ch.rows {
		same(t, fmt.Sprint(kind, " ", i), got[i], c.seen(r))
	}
	m.revision(t)
}

// createAll predicts a bulk create.
func (s *state) createAll(c caller, kind string, bodies []sent) (rows []row, no refusal) {
	more, attrs, projects := map[string]int{}, make([]object, len(bodies)), make([]string, len(bodies))
	for i, b := range bodies {
		if projects[i], attrs[i], no = s.admit(c, kind, b); no != nil {
			return nil, no
		}
		more[projects[i]]++
	}
	for _, p := range sorted(more) {
		if no := s.full(kind, p, more[p]); no != nil {
			return nil, no
		}
	}
	trial := s.clone()
	for i := range bodies {
		r, no := trial.place(c, kind, projects[i], attrs[i])
		if no != nil {
			return nil, no
		}
		rows = append(rows, r)
		trial.rows[fmt.Sprint("new ", i)] = r.with(object{"id": fmt.Sprint("new ", i)})
	}
	return rows, nil
}

// item draws something to ask for, mostly something that there is.
func (m *machine) item(t *rapid.T) (kind, id, project string) {
	kind = kindOf(t)
	rows := m.s.of(kind, nil)
	if chance(t, "none", 5) {
		others := append(append([]string{unknownID, m.lan}, m.s.dead...), sorted(m.s.rows)...)
		return kind, pick(t, "id", others), m.project["home"]
	}
	if len(rows) == 0 {
		if len(m.s.rows) == 0 {
			return kind, unknownID, m.project["home"]
		}
		r := m.s.rows[pick(t, "id", sorted(m.s.rows))]
		return r.kind, r.id(), r.project()
	}
	r := m.s.rows[pick(t, "id", ids(rows))]
	return kind, r.id(), r.project()
}

// match draws an If-Match header, and the revision that it names.
func (m *machine) match(t *rapid.T, id string) (header []string, rev *int64) {
	if !chance(t, "if-match", 15) {
		return nil, nil
	}
	n := m.s.rev
	if r, ok := m.s.rows[id]; ok && chance(t, "right", 60) {
		n, _ = r.doc["revision_number"].(int64)
	}
	return []string{"If-Match", fmt.Sprintf("revision_number=%d", n)}, &n
}

func (m *machine) update(t *rapid.T) {
	m.tick(t)
	kind, id, project := m.item(t)
	c := m.near(t, project)
	b := m.put(t, kind, project)
	header, match := m.match(t, id)
	r, ch, no := m.s.update(c, kind, id, b, match)
	doc, answer := m.ask(t, c.name, "PUT", "/v2.0/"+collection[kind]+"/"+id, object{kind: b.json()}, header...)
	if !m.agree(t, answer, "200", no) {
		return
	}
	m.s.apply(ch)
	same(t, "the changed "+kind, doc[kind], c.seen(r))
	m.revision(t)
}

func (m *machine) remove(t *rapid.T) {
	m.tick(t)
	kind, id, project := m.item(t)
	c := m.near(t, project)
	header, match := m.match(t, id)
	ch, no := m.s.remove(c, kind, id, match)
	_, answer := m.ask(t, c.name, "DELETE", "/v2.0/"+collection[kind]+"/"+id, nil, header...)
	if m.agree(t, answer, "204", no) {
		m.s.apply(ch)
		m.revision(t)
	}
}

func (m *machine) show(t *rapid.T) {
	kind, id, project := m.item(t)
	c := m.near(t, project)
	r, no := m.s.target(caller{c.name, "admin", ""}, kind, id, nil) // who may only read gets no 403
	if no == nil && !c.sees(r.project()) {
		no = refuse(notFound(kind))
	}
	w := wanted{}
	query := ""
	if chance(t, "fields", 20) {
		w.fields = []string{"id", "psk", "nothing"}
		query = "?fields=id&fields=psk&fields=nothing"
	}
	doc, answer := m.ask(t, c.name, "GET", "/v2.0/"+collection[kind]+"/"+id+query, nil)
	if m.agree(t, answer, "200", no) {
		same(t, "the "+kind, doc[kind], w.shown(c.seen(r)))
	}
}

// byName is a look-up as the CLI does it (contract D12).
func (m *machine) byName(t *rapid.T) {
	kind := kindOf(t)
	name := pick(t, "name", []string{"hq", "b", "banana", "%00x", "a%20b", strings.Repeat("a", 36)})
	_, answer := m.ask(t, m.who(t).name, pick(t, "method", []string{"GET", "DELETE"}), "/v2.0/"+collection[kind]+"/"+name, nil)
	m.agree(t, answer, "", refuse(notFound(kind)))
}

func (m *machine) list(t *rapid.T) {
	c, kind := m.who(t), kindOf(t)
	params := m.query(t, kind)
	p, w, no := m.s.list(c, kind, params)
	var q []string
	for _, x := range params {
		q = append(q, url.QueryEscape(x.name)+"="+url.QueryEscape(x.value))
	}
	doc, answer := m.ask(t, c.name, "GET", "/v2.0/"+collection[kind]+"?"+strings.Join(q, "&"), nil)
	if !m.agree(t, answer, "200", no) {
		return
	}
	rows := []any{}
	for _, r := range p.rows {
		rows = append(rows, w.shown(c.seen(r)))
	}
	same(t, "the list", doc[plural[kind]], rows)
	links := map[string]url.Values{}
	given, _ := doc[plural[kind]+"_links"].([]any)
	for _, l := range given {
		u, err := url.Parse(l.(object)["href"].(string))
		if err != nil || u.Path != "/v2.0/"+collection[kind] {
			t.Fatalf("link %v: %v", l, err)
		}
		links[l.(object)["rel"].(string)] = u.Query()
	}
	same(t, "the links", links, p.links)
}

// malformed are bodies that are none (contract 2.2, steps 1 and 2).
func (m *machine) malformed(t *rapid.T) {
	kind, id, _ := m.item(t)
	c := m.who(t)
	body := pick(t, "body", []string{"", "{}", "[]", "{", "null", "5", `"x"`, `{"` + kind + `":null}`, `{"` + kind + `":[]}`, `{"other":{}}`, `{"` + kind + `":{}} x`, "\xff", strings.Repeat("[", 100), `{"` + kind + `":{"name":"\ud800x` + "\x01" + `"}}`})
	method, path := "POST", "/v2.0/"+collection[kind]
	if chance(t, "put", 50) {
		method, path = "PUT", path+"/"+id
	}
	_, answer := m.ask(t, c.name, method, path, body)
	m.agree(t, answer, "", refuse("400 HTTPBadRequest", "400 MalformedRequestBody"))
}

func (m *machine) gatewayReports(t *rapid.T) {
	m.tick(t)
	r := m.report(t)
	ch := m.s.reported(r)
	if len(ch.rows) > 0 {
		m.s.apply(ch)
	}
	_, answer := m.ask(t, "agent", "POST", "/agent/v1/reports", []report{r})
	m.agree(t, answer, "204", nil)
	m.revision(t)
}
