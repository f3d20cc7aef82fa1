package model

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"culvert/internal/client"
	"culvert/internal/store/pgtest"
)

// target is a whole server under fuzzing: raw bodies and raw queries at every URI that it serves, from every sort of caller.
type target struct {
	testing.TB
	m     *machine
	log   *tail
	paths []string
	who   []string
	ids   *strings.Replacer // $router, $subnet and so on in bodies and queries are what the target made
}

// tail keeps the end of the log: a whole one would fill the memory.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text = append(l.text, p...); len(l.text) > 1<<16 {
		l.text = append([]byte{}, l.text[len(l.text)-1<<12:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text[max(0, len(l.text)-1<<12):])
}

// newTarget runs on PostgreSQL where CULVERT_FUZZ=postgres says so, else on SQLite.
func newTarget(t testing.TB) *target {
	database := ""
	if os.Getenv("CULVERT_FUZZ") == "postgres" {
		database = pgtest.Start(t)
	}
	log := &tail{}
	m := lay(t, start(t, database, log))
	f := &target{TB: t, m: m, log: log, who: []string{"admin", "member", "reader", "stranger", "nobody"}}
	must := func(key, path string, attrs client.Object) string {
		attrs["project_id"] = m.project["home"]
		id := m.must("POST", "/v2.0/"+path, key, client.Object{key: attrs})["id"].(string)
		f.paths = append(f.paths, "/v2.0/"+path, "/v2.0/"+path+"/"+id)
		f.paths = append(f.paths, "/v2.0/"+path+"/"+id+"/tags", "/v2.0/"+path+"/"+id+"/tags/a")
		return id
	}
	ike, esp := must("ikepolicy", "vpn/ikepolicies", client.Object{}), must("ipsecpolicy", "vpn/ipsecpolicies", client.Object{})
	service := must("vpnservice", "vpn/vpnservices", client.Object{"router_id": m.routers["router4"], "subnet_id": m.lan4()})
	must("endpoint_group", "vpn/endpoint-groups", client.Object{"type": "cidr", "endpoints": []string{"192.168.40.0/24"}})
	conn := must("ipsec_site_connection", "vpn/ipsec-site-connections", client.Object{"vpnservice_id": service, "ikepolicy_id": ike, "ipsecpolicy_id": esp,
		"peer_address": "198.51.100.7", "peer_id": "branch", "psk": "kT7-wq2Lz9_Xm", "peer_cidrs": []string{"192.168.40.0/24"}})
	network := must("network", "networks", client.Object{})
	must("subnet", "subnets", subnetBody(network, "10.77.0.0/24"))
	router := must("router", "routers", client.Object{})
	must("port", "ports", client.Object{"network_id": network})
	home := m.project["home"]
	f.ids = strings.NewReplacer("$router4", m.routers["router4"], "$router", router, "$subnet", m.lan4(), "$conn", conn, "$network", network, "$service", service, "$home", home)
	f.paths = append(f.paths, "/", "/healthz", "/v2.0", "/v2.0/extensions", "/v2.0/extensions/vpnaas", "/v2.0/quotas", "/v2.0/quotas/"+home, "/v2.0/quotas/"+home+"/details", "/openapi.json",
		"/v2.0/routers/"+router+"/add_router_interface", "/v2.0/routers/"+router+"/remove_router_interface", "/agent/v1/reports",
		"/v2.0/"+home+"/ipsec-site-connections/tags", "/v2.0/"+home+"/ipsec-site-connections/"+conn+"/tags", "/v2.0/"+home+"/ipsec-site-connections/"+conn+"/tags/action", "/v2.0/"+home+"/ipsec-site-connections/resource_instances/action", "/v1/"+home+"/subnets",
		"/identity/v3/auth/tokens", "/identity/v3/users", "/identity/v3/projects", "/identity/v3/projects/"+home, "/identity/v3/roles", "/identity/v3/domains", "/identity/v3/role_assignments",
		"/identity/v3/auth/catalog", "/identity/v3/auth/projects")
	f.paths = append(f.paths, unreadable()...)
	return f
}

func (m *machine) lan4() string { return sorted(m.s.routers[m.routers["router4"]].subnets)[0] }

// send makes one request. A 5xx fails, and so does a body that is no JSON.
func (f *target) send(who uint8, method, path, query, body string) *httptest.ResponseRecorder {
	f.Helper()
	r := httptest.NewRequest(method, "/", strings.NewReader(f.ids.Replace(body)))
	r.URL = &url.URL{Path: path, RawQuery: f.ids.Replace(query)}
	switch name := f.who[int(who)%len(f.who)]; {
	case strings.HasPrefix(path, "/agent/"):
		r.Header.Set("Authorization", "Bearer "+f.m.srv.AgentToken)
	case name != "nobody":
		r.Header.Set("X-Auth-Token", f.m.srv.As(name).Token)
	}
	rec := httptest.NewRecorder()
	f.m.srv.Handler.ServeHTTP(rec, r)
	if rec.Code >= 500 {
		f.Fatalf("%s %s?%s: %d %s\n%s", method, path, query, rec.Code, rec.Body, f.log)
	}
	if b := rec.Body.Bytes(); len(b) > 0 && strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") && !json.Valid(b) {
		f.Fatalf("%s %s?%s: %d, not JSON: %s", method, path, query, rec.Code, b)
	}
	return rec
}

// undo deletes what a POST made.
func (f *target) undo(path string, made []byte) {
	var doc map[string]json.RawMessage
	if json.Unmarshal(made, &doc) != nil {
		return
	}
	for _, raw := range doc {
		var one struct{ ID string }
		var many []struct{ ID string }
		_, _ = json.Unmarshal(raw, &one), json.Unmarshal(raw, &many) // it is one of the two, or neither
		for _, x := range append(many, one) {
			if x.ID != "" {
				f.send(0, http.MethodDelete, path+"/"+x.ID, "", "")
			}
		}
	}
}

// FuzzAPIBody: no body, sent by anybody to anything, makes the server fail.
func FuzzAPIBody(f *testing.F) {
	w := newTarget(f)
	for i := range max(len(w.paths), len(bodies())) { // TestCorpus sends all to all
		f.Add(uint8(i), uint8(i%3), uint8(i%2), bodies()[i%len(bodies())])
	}
	f.Fuzz(func(t *testing.T, path, method, who uint8, body string) {
		w.TB = t
		p, m := w.paths[int(path)%len(w.paths)], []string{"POST", "PUT", "PATCH"}[method%3]
		if rec := w.send(who, m, p, "", body); rec.Code == 201 && m == "POST" {
			w.undo(p, rec.Body.Bytes())
		}
	})
}

// FuzzAPIQuery: no query, sent by anybody to anything, makes the server fail.
func FuzzAPIQuery(f *testing.F) {
	w := newTarget(f)
	for i := range max(len(w.paths), len(queries())) { // TestCorpus sends all to all
		f.Add(uint8(i), uint8(i%2), queries()[i%len(queries())])
	}
	f.Fuzz(func(t *testing.T, path, who uint8, query string) {
		w.TB = t
		w.send(who, "GET", w.paths[int(path)%len(w.paths)], query, "")
	})
}

// TestCorpus sends what the fuzzers begin with to both engines.
func TestCorpus(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Setenv("CULVERT_FUZZ", engine)
			w := newTarget(t)
			for _, p := range unreadable() {
				if rec := w.send(0, "PUT", p, "", `{"quota":{"ikepolicy":5}}`); rec.Code/100 != 4 {
					t.Errorf("PUT %q: %d %s, want a refusal", p, rec.Code, rec.Body)
				}
				w.send(0, "GET", p, "", "")
				w.send(0, "DELETE", p, "", "")
			}
			for i, p := range w.paths {
				for _, body := range bodies() {
					for _, method := range []string{"POST", "PUT"} {
						if rec := w.send(uint8(i%2), method, p, "", body); rec.Code == 201 && method == "POST" {
							w.undo(p, rec.Body.Bytes())
						}
					}
				}
				for _, q := range queries() {
					w.send(uint8(i%2), "GET", p, q, "")
				}
			}
		})
	}
}
