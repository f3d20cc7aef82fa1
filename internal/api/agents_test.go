package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"culvert/internal/vpn"
)

// agentCall makes a request as an agent.
func (w *world) agentCall(ctx context.Context, srv *httptest.Server, method, path, body string) *http.Response {
	w.Helper()
	req, err := http.NewRequestWithContext(ctx, method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.srv.AgentToken)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { r.Body.Close() })
	return r
}

// connection lays a connection on a new router, with its id.
func (w *world) connection(psk string) string {
	router, subnet := w.router("lan", "10.1.0.0/24")
	ike := w.made("/v2.0/vpn/ikepolicies", "ikepolicy", `{"ikepolicy":{}}`)
	esp := w.made("/v2.0/vpn/ipsecpolicies", "ipsecpolicy", `{"ipsecpolicy":{}}`)
	service := w.made("/v2.0/vpn/vpnservices", "vpnservice", `{"vpnservice":{"router_id":"`+router+`","subnet_id":"`+subnet+`"}}`)
	return w.made("/v2.0/vpn/ipsec-site-connections", "ipsec_site_connection", fmt.Sprintf(`{"ipsec_site_connection":{"vpnservice_id":%q,"ikepolicy_id":%q,
		"ipsecpolicy_id":%q,"peer_address":"198.51.100.7","peer_id":"hq","peer_cidrs":["10.2.0.0/24"],"psk":%q}}`, service, ike, esp, psk))
}

// An agent gets every Spec, the word that it is synced, and each change; what it reports becomes the status.
func TestWatchAndReport(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewUnstartedServer(w.srv.Handler)
	ctx, end := context.WithCancel(t.Context())
	srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.Config.WriteTimeout = time.Minute
	srv.Start()
	defer srv.Close()
	conn := w.connection("a-pre-shared-key")
	r := w.agentCall(t.Context(), srv, "GET", "/agent/v1/watch?after=0", "")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatal(r.Status, r.Header)
	}
	lines := bufio.NewScanner(r.Body)
	next := func() (l struct {
		Spec        *vpn.Spec
		Synced, Rev *int64
	}) {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("the watch ended: ", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := next().Spec
	if first == nil || len(first.Connections) != 1 || first.Connections[0].ID != conn || string(first.Connections[0].PSK) != "a-pre-shared-key" {
		t.Fatalf("first line: %+v", first)
	}
	synced := next().Synced
	if synced == nil || *synced != w.rev() || *synced < first.Rev {
		t.Fatalf("second line: synced %v at revision %d", synced, w.rev())
	}
	if out := w.send("PUT", "/v2.0/vpn/ipsec-site-connections/"+conn, `{"ipsec_site_connection":{"mtu":1300}}`, nil); out.Code != 200 {
		t.Fatal(out.Code, out.Body)
	}
	changed := next()
	for changed.Spec == nil {
		changed = next() // a sign of life
	}
	if changed.Spec.Rev <= *synced || changed.Spec.Connections[0].MTU != 1300 {
		t.Fatalf("after the change: %+v", changed.Spec)
	}
	status := func(rev int64, state string) (string, int) {
		body := fmt.Sprintf(`[{"router":%q,"rev":%d,"ready":true,"connections":[{"id":%q,"state":%q}]}]`, changed.Spec.Router, rev, conn, state)
		code := w.agentCall(t.Context(), srv, "POST", "/agent/v1/reports", body).StatusCode
		var got map[string]struct{ Status string }
		w.decode(w.send("GET", "/v2.0/vpn/ipsec-site-connections/"+conn, "", nil), 200, &got)
		return got["ipsec_site_connection"].Status, code
	}
	if s, code := status(first.Rev, vpn.StateUp); s != vpn.PendingUpdate || code != 204 {
		t.Errorf("a report on the older Spec: %d, %s", code, s)
	}
	if s, code := status(changed.Spec.Rev, vpn.StateUp); s != vpn.Active || code != 204 {
		t.Errorf("a report on the newest Spec: %d, %s", code, s)
	}
	end() // as the server does before it shuts down
	for lines.Scan() {
	}
	if strings.Contains(w.log.String(), "a-pre-shared-key") || strings.Contains(w.log.String(), w.srv.AgentToken) {
		t.Error("a secret is in the log")
	}
}

func TestAgentsBadInput(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.srv.Handler)
	defer srv.Close()
	for _, after := range []string{"x", "-1", "1e3", "99999999999999999999"} {
		if r := w.agentCall(t.Context(), srv, "GET", "/agent/v1/watch?after="+after, ""); r.StatusCode != 400 {
			t.Errorf("after=%s: %s", after, r.Status)
		}
	}
	for body, want := range map[string]int{"": 400, "{}": 400, "7": 400, `{"reports":[{"rev":"x"}]}`: 400, `{"events":[{"id":"1","type":"up"}]}`: 204, `[{"rev":"x"}]`: 400, "[]": 204, `[{"router":"nobody's","rev":1}]`: 204,
		`["` + strings.Repeat("x", 16<<20) + `"]`: 413} {
		if r := w.agentCall(t.Context(), srv, "POST", "/agent/v1/reports", body); r.StatusCode != want {
			t.Errorf("%.20s: %s, want %d", body, r.Status, want)
		}
	}
}
