package model

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/server"
	"culvert/internal/store/pgtest"
	"culvert/internal/vpntest"

	"pgregory.net/rapid"
)

// TestMain makes the default run short and always the same; -rapid.checks, -rapid.steps and -rapid.seed (0: by chance) make it
// another one: go test ./test/model -run Sequences -rapid.checks=2000 -rapid.steps=100 -rapid.seed=0.
func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, v := range map[string]string{"rapid.checks": "60", "rapid.steps": "60", "rapid.seed": "20260102", "rapid.nofailfile": "true"} {
		if !given[name] {
			if err := flag.Set(name, v); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// start is a server with small quotas, on which nothing that is pending ends by itself. Its log goes to vpntest, or to log.
func start(t testing.TB, database string, log io.Writer) *vpntest.Server {
	return vpntest.Start(t, vpntest.Options{Database: database, Set: func(c *server.Config) {
		if log != nil {
			c.Log = slog.New(slog.NewTextHandler(log, nil))
		}
		c.PendingDeadline = 10000 * time.Hour
		c.TokenLifetime = 10000 * time.Hour
		c.Quotas = map[string]int64{"ikepolicy": 4, "ipsecpolicy": 4, "vpnservice": 5, "endpoint_group": 7, "ipsec_site_connection": 5}
	}})
}

// TestSequences: the server and the model agree on every answer of any sequence of calls.
func TestSequences(t *testing.T) {
	for name, database := range map[string]func(*testing.T) string{"sqlite": func(*testing.T) string { return "" }, "postgres": func(t *testing.T) string { return pgtest.Start(t) }} {
		t.Run(name, func(t *testing.T) {
			m := lay(t, start(t, database(t), nil))
			base := *m.s.clone()
			sequences := 0
			rapid.Check(t, func(t *rapid.T) {
				sequences++
				s := base.clone()
				m.s, s.rev = s, m.rev()
				defer m.sweep()
				m.begin(t)
				t.Repeat(map[string]func(*rapid.T){"step": m.step})
			})
			t.Logf("%d sequences, %d calls: %s", sequences, m.calls, m.summary())
		})
	}
}

// step is one call; the more of a sort, the more often it stands here.
func (m *machine) step(t *rapid.T) {
	pick(t, "call", []func(*rapid.T){
		m.create, m.create, m.create, m.create, m.bulk, m.update, m.update, m.update, m.update, m.remove,
		m.list, m.list, m.list, m.show, m.gatewayReports, m.gatewayReports, m.gatewayReports,
		pick(t, "seldom", []func(*rapid.T){m.byName, m.malformed, m.gateway, m.switched, m.attach, m.detach, m.deleteSubnet}),
	})(t)
}

// begin makes what connections need, in most sequences: chance alone seldom does.
func (m *machine) begin(t *rapid.T) {
	m.tick(t)
	if chance(t, "empty", 15) {
		return
	}
	c := m.callers[1]
	make := func(kind string, attrs object) string {
		b := sent{attrs: map[string]value{}}
		for name, v := range attrs {
			b.attrs[name] = value{sent: v, kept: v}
		}
		return m.createOne(t, c, kind, b)
	}
	ike, esp := make("ikepolicy", object{}), make("ipsecpolicy", object{"name": "hq"})
	legacy := make("vpnservice", object{"router_id": m.routers["router"], "subnet_id": sorted(m.s.routers[m.routers["router"]].subnets)[0]})
	router := pick(t, "on", []string{"router", "router", "router4", "bare"})
	grouped := make("vpnservice", object{"router_id": m.routers[router]})
	local := ""
	for _, subnet := range sorted(m.s.routers[m.routers[router]].subnets)[:1] {
		local = make("endpoint_group", object{"type": "subnet", "endpoints": []any{subnet}})
	}
	peer := make("endpoint_group", object{"type": "cidr", "endpoints": []any{"192.168.40.0/24"}})
	conn := object{"ikepolicy_id": ike, "ipsecpolicy_id": esp, "peer_address": "198.51.100.7", "peer_id": "branch", "psk": "kT7-wq2Lz9_Xm"}
	if chance(t, "connected", 60) {
		make("ipsec_site_connection", merged(conn, object{"vpnservice_id": legacy, "peer_cidrs": []any{"192.168.41.0/24"}}))
	}
	if chance(t, "connected by groups", 60) {
		make("ipsec_site_connection", merged(conn, object{"vpnservice_id": grouped, "local_ep_group_id": local, "peer_ep_group_id": peer}))
	}
	if c = m.callers[3]; chance(t, "both", 40) {
		make("ikepolicy", object{})
		make("ipsecpolicy", object{})
		make("vpnservice", object{"router_id": m.routers["away"], "subnet_id": sorted(m.s.routers[m.routers["away"]].subnets)[0]})
	}
}

// sweep brings the server back to where lay left it, whatever the sequence did.
func (m *machine) sweep() {
	ctx, admin := context.Background(), m.srv.As("admin")
	call := func(method, path string, body any) object {
		out, err := admin.Call(ctx, method, path, body)
		if err != nil {
			m.tb.Errorf("sweep: %v", err)
		}
		return out
	}
	for _, kind := range []string{"ipsec_site_connection", "endpoint_group", "vpnservice", "ikepolicy", "ipsecpolicy"} {
		rows, _ := call("GET", "/v2.0/"+collection[kind], nil)[plural[kind]].([]any)
		for _, r := range rows {
			call("DELETE", "/v2.0/"+collection[kind]+"/"+r.(object)["id"].(string), nil)
		}
	}
	call("PUT", "/v2.0/routers/"+m.routers["bare"], client.Object{"router": client.Object{"external_gateway_info": nil}})
	call("PUT", "/v2.0/routers/"+m.routers["router4"], client.Object{"router": client.Object{"external_gateway_info": client.Object{"network_id": m.wan4}}})
	for _, id := range m.routers {
		call("PUT", "/v2.0/routers/"+id, client.Object{"router": client.Object{"admin_state_up": true}})
	}
	if _, _, err := admin.Do(ctx, "PUT", "/v2.0/routers/"+m.routers["bare"]+"/remove_router_interface", client.Object{"subnet_id": m.loose}); err != nil {
		m.tb.Errorf("sweep: %v", err)
	}
	reports := []report{}
	for _, id := range m.routers {
		reports = append(reports, report{Router: id, Rev: m.rev(), Ready: true})
	}
	if err := m.confirm(reports); err != nil {
		m.tb.Errorf("sweep: %v", err)
	}
}

// confirm says, as a gateway, that nothing is left on the routers.
func (m *machine) confirm(reports []report) error {
	body, err := json.Marshal(reports)
	if err != nil {
		return err
	}
	r := httptest.NewRequest("POST", "/agent/v1/reports", bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+m.srv.AgentToken)
	rec := httptest.NewRecorder()
	if m.srv.Handler.ServeHTTP(rec, r); rec.Code != 204 {
		return fmt.Errorf("reports: %d %s", rec.Code, rec.Body)
	}
	return nil
}

func (m *machine) summary() (out string) {
	for _, k := range sorted(m.tally) {
		out += fmt.Sprintf("\n%6d %s", m.tally[k], k)
	}
	return out
}
