package api

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/server"
	"culvert/internal/vpn"
	"culvert/internal/vpntest"
)

const pendingDeadline = 30 * time.Second

// agentStream is an agent's open watch.
type agentStream struct {
	testing.TB
	lines *json.Decoder
	close func()
}

type watchLine struct {
	Spec   *vpn.Spec
	Synced *int64
	Rev    *int64
}

func openWatch(t testing.TB, srv *vpntest.Server) *agentStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/agent/v1/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+srv.AgentToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	w := &agentStream{t, json.NewDecoder(resp.Body), func() { cancel(); resp.Body.Close() }}
	t.Cleanup(w.close)
	for w.next().Synced == nil {
	}
	return w
}

func (w *agentStream) next() (l watchLine) {
	w.Helper()
	if err := w.lines.Decode(&l); err != nil {
		w.Fatalf("watch: %v", err)
	}
	return l
}

// spec is the next Spec that satisfies; a change that another overtakes may not be sent.
func (w *agentStream) spec(satisfies func(*vpn.Spec) bool) *vpn.Spec {
	w.Helper()
	for {
		if l := w.next(); l.Spec != nil && satisfies(l.Spec) {
			return l.Spec
		}
	}
}

// openWatches: every change arrives on a watch as a whole Spec; a gateway that watches but says nothing is told apart from none.
func openWatches(t *testing.T, database string) {
	srv := vpntest.Start(t, vpntest.Options{Database: database, Set: func(c *server.Config) { c.PendingDeadline = pendingDeadline }})
	v := layScene(t, srv)
	w := openWatch(t, srv)
	service, conn := tunnel(t, srv, v)
	got := w.spec(func(s *vpn.Spec) bool { return len(s.Connections) == 1 })
	if got.Router != v["router"] || got.Connections[0].ID != conn || got.Connections[0].PSK != "kT7-wq2Lz9_Xm" {
		t.Errorf("not the Spec of the connection: %+v", got)
	}
	deadline(t, srv, conn, "ERROR", "gateway_silent")
	put(t, srv, conn, client.Object{"mtu": 1400})
	if again := w.spec(func(s *vpn.Spec) bool { return s.Connections[0].MTU == 1400 }); again.Rev <= got.Rev {
		t.Errorf("revision %d after %d", again.Rev, got.Rev)
	}
	w.close()
	alone(t, srv, conn)
	w = openWatch(t, srv)
	for _, path := range []string{"ipsec-site-connections/" + conn, "vpnservices/" + service} {
		if _, err := srv.As("member").Call(t.Context(), "DELETE", "/v2.0/vpn/"+path, nil); err != nil {
			t.Fatal(err)
		}
	}
	gone := w.spec(func(s *vpn.Spec) bool { return s.Removed })
	if gone.Router != v["router"] || gone.Connections != nil || gone.Services != nil || gone.External != nil {
		t.Errorf("not a tombstone: %+v", gone)
	}
}

// tunnel makes a connection in legacy mode.
func tunnel(t testing.TB, srv *vpntest.Server, v map[string]string) (service, conn string) {
	t.Helper()
	srv.Secret("kT7-wq2Lz9_Xm")
	made := func(collection, key string, a client.Object) string {
		t.Helper()
		o, err := srv.As("member").Create(t.Context(), "vpn/"+collection, key, a)
		if err != nil {
			t.Fatal(err)
		}
		return o["id"].(string)
	}
	service = made("vpnservices", "vpnservice", client.Object{"router_id": v["router"], "subnet_id": v["lan"]})
	return service, made("ipsec-site-connections", "ipsec_site_connection", client.Object{"vpnservice_id": service,
		"ikepolicy_id": made("ikepolicies", "ikepolicy", client.Object{}), "ipsecpolicy_id": made("ipsecpolicies", "ipsecpolicy", client.Object{}),
		"peer_cidrs": []string{"192.168.40.0/24"}, "peer_address": "198.51.100.40", "peer_id": "branch", "psk": "kT7-wq2Lz9_Xm"})
}

func put(t testing.TB, srv *vpntest.Server, conn string, a client.Object) {
	t.Helper()
	_, err := srv.As("member").Call(t.Context(), "PUT", "/v2.0/vpn/ipsec-site-connections/"+conn, client.Object{"ipsec_site_connection": a})
	if err != nil {
		t.Fatal(err)
	}
}

// deadline lets the deadline pass and waits for what becomes of the connection.
func deadline(t testing.TB, srv *vpntest.Server, conn, status, code string) {
	t.Helper()
	if got := expired(t, srv, conn); got["status"] != status || got["status_reason"].(client.Object)["code"] != code {
		t.Errorf("%v %v, want %s %s", got["status"], got["status_reason"], status, code)
	}
}

func expired(t testing.TB, srv *vpntest.Server, conn string) client.Object {
	t.Helper()
	srv.Settle(t)
	srv.Clock.Advance(pendingDeadline + time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := srv.As("reader").Await(ctx, "/v2.0/vpn/ipsec-site-connections/"+conn, "ipsec_site_connection", 20*time.Millisecond, "ERROR", "DOWN", "ACTIVE")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// alone waits until the server knows that no agent watches any more.
func alone(t testing.TB, srv *vpntest.Server, conn string) {
	t.Helper()
	for mtu := 1000; mtu < 1020; mtu++ {
		put(t, srv, conn, client.Object{"mtu": mtu})
		if got := expired(t, srv, conn); got["status"] == "DOWN" && got["status_reason"].(client.Object)["code"] == "no_gateway_host" {
			return
		}
	}
	t.Error("the server takes the agent that has gone for one that watches")
}
