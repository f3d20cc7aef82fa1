package model

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"culvert/internal/client"
	"culvert/internal/resource"
	"culvert/internal/vpntest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// collection is where the resources of a kind are (contract 1).
var collection = map[string]string{"ikepolicy": "vpn/ikepolicies", "ipsecpolicy": "vpn/ipsecpolicies", "vpnservice": "vpn/vpnservices",
	"endpoint_group": "vpn/endpoint-groups", "ipsec_site_connection": "vpn/ipsec-site-connections"}

var plural = map[string]string{"ikepolicy": "ikepolicies", "ipsecpolicy": "ipsecpolicies", "vpnservice": "vpnservices",
	"endpoint_group": "endpoint_groups", "ipsec_site_connection": "ipsec_site_connections"}

// machine asks the server and the model the same, and compares.
type machine struct {
	tb      testing.TB
	srv     *vpntest.Server
	handler http.Handler // the server's, with every answer held against its OpenAPI document
	s       *state
	project map[string]string // ids by name
	callers []caller
	routers map[string]string // ids by name
	lan     string            // id of a subnet of home
	loose   string            // id of a subnet that is on no router at first
	wan     string            // an external network with IPv4 and IPv6
	wan4    string            // one with IPv4 alone
	calls   int
	tally   map[string]int // answers by kind
}

// ask makes a call and returns the decoded answer, and "201" or "404 IKEPolicyNotFound".
func (m *machine) ask(t *rapid.T, who, method, path string, body any, header ...string) (doc object, answer string) {
	t.Helper()
	raw, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(b)
	}
	r := httptest.NewRequest(method, path, strings.NewReader(raw))
	if who == "agent" {
		r.Header.Set("Authorization", "Bearer "+m.srv.AgentToken)
	} else {
		r.Header.Set("X-Auth-Token", m.srv.As(who).Token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	m.handler.ServeHTTP(rec, r)
	m.calls++
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
			t.Fatalf("%s %s: not JSON: %s", method, path, rec.Body)
		}
	}
	answer = fmt.Sprint(rec.Code)
	if e, ok := doc["NeutronError"].(object); ok {
		answer += " " + fmt.Sprint(e["type"])
	}
	t.Logf("%s %s as %s %s %v -> %s %s", method, path, who, raw, header, answer, rec.Body)
	m.tally[method+" "+answer]++
	return doc, answer
}

// agree compares an answer with what the model allows; it says whether the call succeeded.
func (m *machine) agree(t *rapid.T, answer, success string, no refusal) bool {
	t.Helper()
	if no == nil {
		if answer != success {
			t.Fatalf("the server answers %s; the model %s", answer, success)
		}
		return true
	}
	for _, a := range no {
		if a == answer {
			m.revision(t)
			return false
		}
	}
	t.Fatalf("the server answers %s; the model %s", answer, strings.Join(no, " or "))
	return false
}

// revision: what succeeds takes one revision, everything else none.
func (m *machine) revision(t *rapid.T) {
	t.Helper()
	if got := m.rev(); got != m.s.rev {
		t.Fatalf("the store's revision is %d; the model's %d", got, m.s.rev)
	}
}

func (m *machine) rev() (rev int64) {
	err := m.srv.Store.View(context.Background(), func(r resource.Reader) (err error) {
		rev, err = r.Rev(context.Background())
		return err
	})
	if err != nil {
		panic(err)
	}
	return rev
}

// same compares JSON values.
func same(t *rapid.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(plain(want), plain(got)); d != "" {
		t.Fatalf("%s (-model +server):\n%s", what, d)
	}
}

func plain(v any) (out any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&out); err != nil {
		panic(err)
	}
	return out
}

// lay makes the topology, once for a server. In home: $router with IPv4 and IPv6 outside and lan, lan_b, lan6; $router4 with
// IPv4 alone and lan4; $bare without a gateway and with bare_lan; and a subnet on no router. In away: $away with away_lan.
func lay(t testing.TB, srv *vpntest.Server) *machine {
	m := &machine{tb: t, srv: srv, handler: vpntest.Checked(t, srv.Handler), project: map[string]string{"home": srv.Home, "away": srv.Away}, routers: map[string]string{}, tally: map[string]int{}}
	m.callers = []caller{{"admin", "admin", srv.As("admin").Project}, {"member", "member", srv.Home}, {"reader", "reader", srv.Home}, {"stranger", "member", srv.Away}, {"visitor", "reader", srv.Away}}
	for _, c := range m.callers {
		srv.As(c.name)
	}
	m.s = &state{rows: map[string]row{}, routers: map[string]router{}, subnets: map[string]subnet{}, specs: map[string]int64{},
		limits: map[string]int{"ikepolicy": 4, "ipsecpolicy": 4, "vpnservice": 5, "endpoint_group": 7, "ipsec_site_connection": 5}}
	m.wan = m.net("203.0.113.0/24", "2001:db8:ffff::/64")
	m.wan4 = m.net("198.18.0.0/24")
	m.router("home", "router", m.wan, "10.10.0.0/24", "10.11.0.0/24", "2001:db8:10::/64")
	m.router("home", "router4", m.wan4, "10.40.0.0/24")
	m.router("home", "bare", "", "10.20.0.0/24")
	m.router("away", "away", m.wan, "10.90.0.0/24")
	loose := m.must("POST", "/v2.0/networks", "network", client.Object{"network": client.Object{"project_id": srv.Home}})
	m.loose = m.subnet("home", loose["id"].(string), "10.30.0.0/24")
	return m
}

func (m *machine) must(method, path, key string, body any) object {
	m.tb.Helper()
	out, err := m.srv.As("admin").Call(context.Background(), method, path, body)
	if err != nil {
		m.tb.Fatal(err)
	}
	one, _ := out[key].(object)
	return one
}

// net is an external network.
func (m *machine) net(cidrs ...string) string {
	id := m.must("POST", "/v2.0/networks", "network", client.Object{"network": client.Object{"router:external": true}})["id"].(string)
	for _, c := range cidrs {
		m.must("POST", "/v2.0/subnets", "subnet", client.Object{"subnet": subnetBody(id, c)})
	}
	return id
}

func subnetBody(network, cidr string) object {
	version := 6
	if v4(cidr) {
		version = 4
	}
	return object{"network_id": network, "cidr": cidr, "ip_version": version}
}

func (m *machine) subnet(project, network, cidr string) string {
	body := subnetBody(network, cidr)
	body["project_id"] = m.project[project]
	id := m.must("POST", "/v2.0/subnets", "subnet", client.Object{"subnet": body})["id"].(string)
	m.s.subnets[id] = subnet{m.project[project], cidr}
	return id
}

func (m *machine) router(project, name, wan string, lans ...string) {
	body := client.Object{"project_id": m.project[project]}
	if wan != "" {
		body["external_gateway_info"] = client.Object{"network_id": wan}
	}
	made := m.must("POST", "/v2.0/routers", "router", client.Object{"router": body})
	id := made["id"].(string)
	r := router{project: m.project[project], up: true, subnets: map[string]bool{}}
	r.v4, r.v6 = outside(made)
	for _, cidr := range lans {
		network := m.must("POST", "/v2.0/networks", "network", client.Object{"network": client.Object{"project_id": m.project[project]}})["id"].(string)
		m.lan = m.subnet(project, network, cidr)
		m.must("PUT", "/v2.0/routers/"+id+"/add_router_interface", "", client.Object{"subnet_id": m.lan})
		r.subnets[m.lan] = true
	}
	m.s.routers[id], m.routers[name] = r, id
}

// outside are the addresses of a router's gateway, as its answer tells them.
func outside(router object) (four, six string) {
	info, _ := router["external_gateway_info"].(object)
	list, _ := info["external_fixed_ips"].([]any)
	for _, x := range list {
		if a := x.(object)["ip_address"].(string); v4(a) {
			four = a
		} else {
			six = a
		}
	}
	return four, six
}
