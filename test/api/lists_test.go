package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"culvert/internal/client"
	"culvert/internal/resource"
	"culvert/internal/vpn"
	"culvert/internal/vpntest"

	gocmp "github.com/google/go-cmp/cmp"
)

// shelf is one kind with some resources in it.
type shelf struct {
	*testing.T
	srv  *vpntest.Server
	kind *resource.Kind
	rows []client.Object // the whole list, in the default order
}

// everyList holds the lists of every kind against the same filtering, sorting and paging done here.
func everyList(t *testing.T, database string) {
	srv := vpntest.Start(t, vpntest.Options{Database: database})
	stock(t, srv, layScene(t, srv))
	for _, name := range []string{vpn.KindIKEPolicy, vpn.KindIPsecPolicy, vpn.KindService, vpn.KindEndpointGroup, vpn.KindConnection} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{T: t, srv: srv, kind: srv.Resources.Kinds()[name].Info()}
			s.rows, _ = s.list(nil)
			if len(s.rows) < 5 {
				t.Fatalf("%d rows", len(s.rows))
			}
			s.filters()
			s.sorts()
			s.pages()
		})
	}
}

// stock makes at least five of every kind, with equal and with different values, in home; and some in away, to be never seen.
func stock(t *testing.T, srv *vpntest.Server, v map[string]string) {
	t.Helper()
	m := func(collection, key string, a client.Object) string {
		t.Helper()
		srv.Clock.Advance(1000000)
		o, err := srv.As("member").Create(t.Context(), collection, key, a)
		if err != nil {
			t.Fatal(err)
		}
		return o["id"].(string)
	}
	var ike, esp, services, groups []string
	for i := range 6 {
		words := client.Object{"name": []string{"b", "a", "", "B", "ä", "a"}[i], "description": strings.Repeat("d", i%3)}
		with := func(more client.Object) client.Object {
			for k, v := range words {
				more[k] = v
			}
			return more
		}
		ike = append(ike, m("vpn/ikepolicies", "ikepolicy", with(client.Object{"ike_version": []string{"v1", "v2"}[i%2], "pfs": fmt.Sprint("group", 14+i%3)})))
		esp = append(esp, m("vpn/ipsecpolicies", "ipsecpolicy", with(client.Object{"transform_protocol": []string{"esp", "ah"}[i%2]})))
		services = append(services, m("vpn/vpnservices", "vpnservice", with(client.Object{"router_id": v[[]string{"router", "router4", "bare"}[i%3]],
			"admin_state_up": i%2 == 0, "subnet_id": v[[]string{"lan", "lan4", "bare_lan"}[i%3]]})))
		groups = append(groups, m("vpn/endpoint-groups", "endpoint_group", with(client.Object{"type": "cidr", "endpoints": []string{fmt.Sprintf("192.168.%d.0/24", i)}})))
		m("vpn/ipsec-site-connections", "ipsec_site_connection", with(client.Object{"vpnservice_id": services[i], "ikepolicy_id": ike[i], "ipsecpolicy_id": esp[i/2],
			"peer_address": fmt.Sprintf("198.51.100.%d", 1+i/2), "peer_id": fmt.Sprint("peer", i), "psk": "kT7-wq2Lz9_Xm", "mtu": 1300 + 100*(i%3),
			"peer_cidrs": []string{fmt.Sprintf("192.168.%d.0/24", i)}, "initiator": []string{"bi-directional", "response-only"}[i%2], "local_id": []string{"", "hq"}[i%2]}))
	}
	m("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "subnet", "endpoints": []string{v["lan"]}})
	group := m("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "subnet", "endpoints": []string{v["lan_b"]}})
	service := m("vpn/vpnservices", "vpnservice", client.Object{"router_id": v["router"]})
	m("vpn/ipsec-site-connections", "ipsec_site_connection", client.Object{"vpnservice_id": service, "ikepolicy_id": ike[0], "ipsecpolicy_id": esp[0],
		"peer_address": "2001:db8:40::1", "peer_id": "peer7", "psk": "kT7-wq2Lz9_Xm", "local_ep_group_id": group, "peer_ep_group_id": groups[0]})
	srv.Secret("kT7-wq2Lz9_Xm")
	if _, err := srv.As("stranger").Create(t.Context(), "vpn/ikepolicies", "ikepolicy", client.Object{"name": "a"}); err != nil {
		t.Fatal(err)
	}
}

// list asks for a list as the member of home, and follows no link.
func (s *shelf) list(q url.Values) ([]client.Object, map[string]string) {
	s.Helper()
	return s.page("/v2.0/" + s.kind.Path + "?" + q.Encode())
}

func (s *shelf) page(path string) ([]client.Object, map[string]string) {
	s.Helper()
	status, body, err := s.srv.As("member").Do(s.Context(), "GET", path, nil)
	if err != nil || status != http.StatusOK {
		s.Fatalf("GET %s: %d %s %v", path, status, body, err)
	}
	var doc map[string]json.RawMessage
	var rows []client.Object
	var links []struct{ Rel, Href string }
	if err := json.Unmarshal(body, &doc); err != nil {
		s.Fatal(err)
	}
	if err := json.Unmarshal(doc[s.kind.Plural], &rows); err != nil {
		s.Fatalf("%s: %v", body, err)
	}
	if raw := doc[s.kind.Plural+"_links"]; raw != nil {
		if err := json.Unmarshal(raw, &links); err != nil || len(links) == 0 {
			s.Fatalf("links %s: %v", raw, err)
		}
	}
	out := map[string]string{}
	for _, l := range links {
		out[l.Rel] = strings.TrimPrefix(l.Href, s.srv.URL)
	}
	return rows, out
}

// text is a scalar as a query writes it; null compares as "".
func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(x)
	case string:
		return x
	}
	panic(fmt.Sprintf("not a scalar: %v", v))
}

func ids(rows []client.Object) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, r["id"].(string))
	}
	return out
}

func (s *shelf) compare(what string, want, got []client.Object) {
	s.Helper()
	if d := gocmp.Diff(ids(want), ids(got)); d != "" {
		s.Errorf("%s (-want +got): %s", what, d)
	}
}

func (s *shelf) where(keep func(client.Object) bool) []client.Object {
	return slices.DeleteFunc(slices.Clone(s.rows), func(r client.Object) bool { return !keep(r) })
}

// filters asks by every attribute: each value alone, two values, together with another attribute, and a value of nobody's.
func (s *shelf) filters() {
	for _, a := range s.kind.Attrs {
		name := a.Name
		_, list := s.rows[0][name].([]any)
		_, object := s.rows[0][name].(map[string]any)
		if list || object || a.Secret || name == "status_reason" {
			s.refused(name)
			continue
		}
		first, last := text(s.rows[0][name]), text(s.rows[len(s.rows)-1][name])
		for _, r := range s.rows {
			v := text(r[name])
			got, _ := s.list(url.Values{name: {v}})
			s.compare(name+"="+v, s.where(func(r client.Object) bool { return text(r[name]) == v }), got)
		}
		got, _ := s.list(url.Values{name: {first, last}})
		s.compare(name+" either", s.where(func(r client.Object) bool { return text(r[name]) == first || text(r[name]) == last }), got)
		other, value := "description", "d"
		if name == other {
			other, value = "name", "a"
		}
		got, _ = s.list(url.Values{name: {first, last}, other: {value}})
		s.compare(name+" and "+other, s.where(func(r client.Object) bool {
			return (text(r[name]) == first || text(r[name]) == last) && r[other] == value
		}), got)
		if a.Column.Type == resource.Text {
			got, _ = s.list(url.Values{name: {"nobody's"}})
			s.compare(name+"=nobody's", nil, got)
		}
	}
}

// refused wants a 400 that names the attribute.
func (s *shelf) refused(name string) {
	s.Helper()
	status, body, err := s.srv.As("member").Do(s.Context(), "GET", "/v2.0/"+s.kind.Path+"?"+name+"=x", nil)
	if err != nil || status != http.StatusBadRequest || !strings.Contains(string(body), "['"+name+"'] is invalid attribute for filtering") {
		s.Errorf("filter %s: %d %s %v", name, status, body, err)
	}
}

// sorts asks for every order by one key, and by two.
func (s *shelf) sorts() {
	keys := []string{"id", "project_id", "tenant_id", "name", "created_at", "updated_at"}
	for _, a := range s.kind.Attrs {
		if a.Sort && !slices.Contains(keys, a.Name) {
			keys = append(keys, a.Name)
		}
	}
	for _, key := range keys {
		for _, dir := range []string{"asc", "desc"} {
			got, _ := s.list(url.Values{"sort_key": {key}, "sort_dir": {dir}})
			s.compare(key+" "+dir, s.sorted(order{key, dir}), got)
			got, _ = s.list(url.Values{"sort_key": {key, "name"}, "sort_dir": {dir, "desc"}})
			s.compare(key+" "+dir+", name desc", s.sorted(order{key, dir}, order{"name", "desc"}), got)
		}
	}
}

type order struct{ key, dir string }

// sorted compares text as bytes, the id last and ascending.
func (s *shelf) sorted(by ...order) []client.Object {
	out := slices.Clone(s.rows)
	slices.SortFunc(out, func(a, b client.Object) int {
		for _, o := range append(by, order{"id", "asc"}) {
			c := cmp.Compare(text(a[o.key]), text(b[o.key]))
			if o.dir == "desc" {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	return out
}

// pages follows the links of every page size from the first page to the last and back; filters stay in force.
func (s *shelf) pages() {
	for limit := 1; limit <= len(s.rows); limit++ {
		for _, by := range []order{{"", ""}, {"name", "asc"}, {"name", "desc"}, {"updated_at", "desc"}} {
			q := url.Values{"limit": {strconv.Itoa(limit)}, "fields": {"id"}, "project_id": {s.srv.Home}}
			want := s.rows
			if by.key != "" {
				q["sort_key"], q["sort_dir"], want = []string{by.key}, []string{by.dir}, s.sorted(by)
			}
			s.walk(fmt.Sprintf("limit %d by %v", limit, by), limit, "/v2.0/"+s.kind.Path+"?"+q.Encode(), want)
		}
	}
}

func (s *shelf) walk(what string, limit int, first string, want []client.Object) {
	s.Helper()
	var forth, back []client.Object
	last := first
	for path := first; path != ""; {
		rows, links := s.page(path)
		if len(rows) == 0 || len(rows) > limit || (links["previous"] != "") != (len(forth) > 0) {
			s.Fatalf("%s: GET %s: %d rows, links %v", what, path, len(rows), links)
		}
		forth, last, path = append(forth, rows...), path, links["next"]
	}
	s.compare(what, want, forth)
	for path := last; path != ""; {
		rows, links := s.page(path)
		if len(rows) == 0 || len(rows) > limit || (links["next"] != "") != (len(back) > 0) {
			s.Fatalf("%s backwards: GET %s: %d rows, links %v", what, path, len(rows), links)
		}
		back, path = append(slices.Clone(rows), back...), links["previous"]
	}
	s.compare(what+" backwards", want, back)
}
