package api

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/client"
	"culvert/internal/server"
	"culvert/internal/vpn"
	"culvert/internal/vpntest"
)

const hostGrace = 10 * time.Second

// gatewayHosts: while no gateway host watches, nothing is said that nobody stands for; what one reports that comes back is
// said again, and what the configuration says of itself stays.
func gatewayHosts(t *testing.T, database string) {
	srv := vpntest.Start(t, vpntest.Options{Database: database, Set: func(c *server.Config) {
		c.HostGrace, c.PendingDeadline = hostGrace, 10000*time.Hour
	}})
	v := layScene(t, srv)
	w := openWatch(t, srv)
	service, conn := tunnel(t, srv, v)
	spec := w.spec(func(s *vpn.Spec) bool { return len(s.Connections) == 1 })
	up := vpn.Report{Router: v["router"], Rev: spec.Rev, Ready: true, Connections: []vpn.ConnectionReport{{ID: conn, State: vpn.StateUp}}}
	report(t, srv, up)
	h := &hostScene{t, srv, service, conn}
	h.await("ACTIVE", "")

	h.pass(20 * time.Minute) // one that watches need not say anything
	h.stays("ACTIVE", "")
	w.close()
	h.gone()
	h.pass(hostGrace - time.Second)
	h.stays("ACTIVE", "")
	h.pass(2 * time.Second)
	since := h.await("DOWN", "no_gateway_host")
	if text := since["summary"].(string); since["side"] != "ours" || since["phase"] != "local" || !strings.Contains(text, "since 2026-01-02 03:24:05 UTC") || !strings.Contains(text, "may run on") {
		t.Errorf("the reason is %v", since)
	}
	put(t, srv, conn, client.Object{"mtu": 1400}) // nobody will carry it out: that is said without a deadline
	h.await("DOWN", "no_gateway_host")

	w = openWatch(t, srv)
	up.Rev = srv.Rev(t) // a new watch begins with everything
	h.stays("DOWN", "no_gateway_host")
	report(t, srv, up)
	h.await("ACTIVE", "")
	h.timeline("create", "down no_gateway_host", "update", "up")
	down := &vpn.Reason{Code: "admin_down", Side: "ours", Phase: "config", Summary: "off"}
	put(t, srv, conn, client.Object{"admin_state_up": false})
	up.Rev = w.spec(func(s *vpn.Spec) bool { return !s.Connections[0].AdminStateUp }).Rev
	up.Connections[0] = vpn.ConnectionReport{ID: conn, State: vpn.StateDown, Reason: down}
	report(t, srv, up)
	w.close()
	h.gone()
	h.pass(20 * time.Minute)
	h.awaitService("DOWN", "no_gateway_host")
	if got := h.get("ipsec-site-connections/"+conn, "ipsec_site_connection"); got["status_reason"].(client.Object)["code"] != "admin_down" {
		t.Errorf("a connection that is switched off is %v: %v", got["status"], got["status_reason"])
	}
}

// gatewayWithoutHost: that a router has no gateway, and has one again, is known where no gateway host watches, also of the
// connections on it.
func gatewayWithoutHost(t *testing.T, database string) {
	srv := vpntest.Start(t, vpntest.Options{Database: database, Set: func(c *server.Config) {
		c.HostGrace, c.PendingDeadline = hostGrace, 10000*time.Hour
	}})
	v := layScene(t, srv)
	service, conn := tunnel(t, srv, map[string]string{"router": v["bare"], "lan": v["bare_lan"]})
	h := &hostScene{t, srv, service, conn}
	h.pass(2 * hostGrace)
	h.await("DOWN", "router_without_gateway")
	_, err := srv.As("member").Call(t.Context(), "PUT", "/v2.0/routers/"+v["bare"],
		client.Object{"router": client.Object{"external_gateway_info": client.Object{"network_id": v["wan"]}}})
	if err != nil {
		t.Fatal(err)
	}
	h.await("DOWN", "no_gateway_host")
}

// gatewayHostElsewhere has two servers on one database: a gateway host that watches one of them stands for both.
func gatewayHostElsewhere(t *testing.T, database string) {
	conf := server.Config{}
	srv := vpntest.Start(t, vpntest.Options{Database: database, Set: func(c *server.Config) {
		c.HostGrace, c.PendingDeadline = hostGrace, 10000*time.Hour
		conf = *c
	}})
	other := conf
	other.Data = t.TempDir()
	copyFile(t, conf.Data+"/keyset.json", other.Data+"/keyset.json")
	v := layScene(t, srv)
	w := openWatch(t, srv)
	service, conn := tunnel(t, srv, v)
	report(t, srv, vpn.Report{Router: v["router"], Rev: srv.Rev(t), Ready: true, Connections: []vpn.ConnectionReport{{ID: conn, State: vpn.StateUp}}})
	h := &hostScene{t, srv, service, conn}
	h.pass(2 * time.Second)
	h.stays("ACTIVE", "")
	runBeside(t, other)
	for range 2 {
		h.pass(30 * time.Second)
		h.stays("ACTIVE", "")
	}
	w.close()
	h.gone()
	h.pass(2 * hostGrace)
	h.await("DOWN", "no_gateway_host")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runBeside runs a second server until the test ends.
func runBeside(t *testing.T, c server.Config) {
	t.Helper()
	s, err := server.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, s.Close()); err != nil {
			t.Error(err)
		}
	})
}

// hostScene is a service and a connection, and who may stand for them.
type hostScene struct {
	testing.TB
	srv           *vpntest.Server
	service, conn string
}

func (h *hostScene) get(path, key string) client.Object {
	h.Helper()
	o, err := h.srv.As("reader").Call(h.Context(), "GET", "/v2.0/vpn/"+path, nil)
	if err != nil {
		h.Fatal(err)
	}
	return o[key].(client.Object)
}

func code(o client.Object) string {
	why, _ := o["status_reason"].(client.Object)
	text, _ := why["code"].(string)
	return text
}

// await waits until service and connection say so, and answers the connection's reason.
func (h *hostScene) await(status, want string) client.Object {
	h.Helper()
	h.awaitService(status, want)
	return h.awaitPath("ipsec-site-connections/"+h.conn, "ipsec_site_connection", status, want)
}

func (h *hostScene) awaitService(status, want string) {
	h.Helper()
	h.awaitPath("vpnservices/"+h.service, "vpnservice", status, want)
}

func (h *hostScene) awaitPath(path, key, status, want string) client.Object {
	h.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		o := h.get(path, key)
		if o["status"] == status && code(o) == want {
			why, _ := o["status_reason"].(client.Object)
			return why
		}
		if time.Now().After(deadline) {
			h.Fatalf("%s is %v %v, want %s %s", path, o["status"], o["status_reason"], status, want)
		}
	}
}

// stays gives the server the time of two looks.
func (h *hostScene) stays(status, want string) {
	h.Helper()
	for deadline := time.Now().Add(2500 * time.Millisecond); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if o := h.get("ipsec-site-connections/"+h.conn, "ipsec_site_connection"); o["status"] != status || code(o) != want {
			h.Fatalf("it is %v %v, want %s %s", o["status"], o["status_reason"], status, want)
		}
	}
}

func (h *hostScene) pass(d time.Duration) { h.srv.Clock.Advance(d) }

// gone waits until the server knows that the watch was closed.
func (h *hostScene) gone() {
	h.Helper()
	for deadline := time.Now().Add(20 * time.Second); h.srv.VPN.Attached(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatal("the server takes the agent that has gone for one that watches")
		}
	}
}

func report(t testing.TB, srv *vpntest.Server, r vpn.Report) {
	t.Helper()
	tell(t, srv, vpn.Batch{Reports: []vpn.Report{r}})
}

func tell(t testing.TB, srv *vpntest.Server, b vpn.Batch) {
	t.Helper()
	agent := &client.Client{URL: srv.URL, HTTP: &http.Client{Transport: bearer(srv.AgentToken)}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := agent.Call(ctx, "POST", "/agent/v1/reports", b); err != nil {
		t.Fatal(err)
	}
}

// bearer adds the agents' token.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// timeline compares the events of the connection: this gateway host tells of none itself.
func (h *hostScene) timeline(want ...string) {
	h.Helper()
	answer, err := h.srv.As("reader").Call(h.Context(), "GET", "/v2.0/vpn/ipsec-site-connections/"+h.conn+"/events?sort_dir=asc", nil)
	if err != nil {
		h.Fatal(err)
	}
	var got []string
	for _, e := range answer["events"].([]any) {
		e := e.(client.Object)
		text := e["type"].(string)
		if why, ok := e["status_reason"].(client.Object); ok {
			text += " " + why["code"].(string)
		}
		got = append(got, text)
	}
	if d := cmp.Diff(want, got); d != "" {
		h.Errorf("the timeline (-want +got):\n%s", d)
	}
}
