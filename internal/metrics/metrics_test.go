package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"culvert/internal/client"
	"culvert/internal/metrics"
	"culvert/internal/vpn"
	"culvert/internal/vpntest"
)

// scraped is one scrape: values by name and labels, as "name{a=b,c=d}"; a histogram's is its count.
func scraped(t *testing.T, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := name
			if labels != nil {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			out[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func get(t *testing.T, srv *vpntest.Server) map[string]float64 {
	t.Helper()
	rec := httptest.NewRecorder()
	srv.Metrics.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	return scraped(t, rec.Body.String())
}

// about keeps the metrics whose name begins with a prefix.
func about(all map[string]float64, prefix string) map[string]float64 {
	out := map[string]float64{}
	for name, v := range all {
		if strings.HasPrefix(name, prefix) {
			out[name] = v
		}
	}
	return out
}

// lay makes a connection whose names must not be found in any metric.
func lay(t *testing.T, srv *vpntest.Server) (id string) {
	t.Helper()
	admin, member := srv.As("admin"), srv.As("member")
	make := func(c *client.Client, collection, key string, attributes client.Object) string {
		t.Helper()
		attributes["name"] = "Name-of-a-user"
		o, err := c.Create(t.Context(), collection, key, attributes)
		if err != nil {
			t.Fatal(err)
		}
		return o["id"].(string)
	}
	wan := make(admin, "networks", "network", client.Object{"router:external": true})
	make(admin, "subnets", "subnet", client.Object{"network_id": wan, "ip_version": 4, "cidr": "203.0.113.0/24"})
	lan := make(member, "networks", "network", client.Object{})
	subnet := make(member, "subnets", "subnet", client.Object{"network_id": lan, "ip_version": 4, "cidr": "10.10.0.0/24"})
	router := make(member, "routers", "router", client.Object{"external_gateway_info": client.Object{"network_id": wan}})
	if _, err := member.Call(t.Context(), "PUT", "/v2.0/routers/"+router+"/add_router_interface", client.Object{"subnet_id": subnet}); err != nil {
		t.Fatal(err)
	}
	service := make(member, "vpn/vpnservices", "vpnservice", client.Object{"router_id": router, "subnet_id": subnet})
	return make(member, "vpn/ipsec-site-connections", "ipsec_site_connection", client.Object{"vpnservice_id": service, "peer_address": "198.51.100.7", "peer_id": "id-of-the-peer",
		"psk": "metrics-key", "peer_cidrs": []string{"192.168.40.0/24"}, "probe_address": "192.168.40.1",
		"ikepolicy_id": make(member, "vpn/ikepolicies", "ikepolicy", client.Object{}), "ipsecpolicy_id": make(member, "vpn/ipsecpolicies", "ipsecpolicy", client.Object{})})
}

func TestMetrics(t *testing.T) {
	srv := vpntest.Start(t, vpntest.Options{})
	id := lay(t, srv)
	of := fmt.Sprintf("{connection_id=%s,project_id=%s", id, srv.Home)
	want := map[string]float64{"culvert_connection_status" + of + ",reason=,status=PENDING_CREATE}": 1, "culvert_connection_up" + of + "}": 0}
	if diff := cmp.Diff(want, about(get(t, srv), "culvert_connection_")); diff != "" {
		t.Errorf("before a gateway came (-want +got):\n%s", diff)
	}
	if got := get(t, srv); got["culvert_resources{kind=ipsec_site_connection,status=PENDING_CREATE}"] != 1 || got["culvert_agents_attached"] != 0 {
		t.Errorf("pending %v, agents %v", got["culvert_resources{kind=ipsec_site_connection,status=PENDING_CREATE}"], got["culvert_agents_attached"])
	}

	at, rtt := "2026-01-02 03:04:05.500000", 12.5
	err := errors.Join(srv.VPN.Count(t.Context(), []vpn.Statistics{
		{Connection: id, MeasuredAt: &at, EstablishedAt: &at, BytesIn: 8400, BytesOut: 16800, PacketsIn: 100, PacketsOut: 200, LastIn: &at, IKERekeys: 1, ChildRekeys: 2,
			Probe: &vpn.Probe{Sent: 20, Received: 15, Loss: 0.25, RTT: &rtt, LargestSeen: 1400}},
		{Connection: "a-connection-that-is-gone", PacketsIn: 1}}),
		srv.VPN.Report(t.Context(), vpn.Batch{Reports: []vpn.Report{{Router: routerOf(t, srv), Rev: srv.Rev(t), Ready: true,
			Connections: []vpn.ConnectionReport{{ID: id, State: vpn.StateUp, Reason: &vpn.Reason{Code: "mtu_black_hole", Summary: "text of a reason"}}}}}}))
	if err != nil {
		t.Fatal(err)
	}
	defer srv.VPN.Attach()()
	const seconds = 1767323045.5
	want = map[string]float64{"culvert_connection_status" + of + ",reason=mtu_black_hole,status=ACTIVE}": 1}
	for name, v := range map[string]float64{"up": 1, "receive_bytes_total": 8400, "transmit_bytes_total": 16800, "receive_packets_total": 100, "transmit_packets_total": 200,
		"ike_rekeys_total": 1, "child_rekeys_total": 2, "established_timestamp_seconds": seconds, "last_receive_timestamp_seconds": seconds, "measured_timestamp_seconds": seconds,
		"probe_loss_ratio": 0.25, "probe_rtt_seconds": 0.0125, "probe_largest_packet_bytes": 1400} {
		want["culvert_connection_"+name+of+"}"] = v
	}
	got := get(t, srv)
	if diff := cmp.Diff(want, about(got, "culvert_connection_")); diff != "" {
		t.Errorf("a gateway has told (-want +got):\n%s", diff)
	}
	if got["culvert_agents_attached"] != 1 || got["culvert_resources{kind=ipsec_site_connection,status=ACTIVE}"] != 1 || got["culvert_resources{kind=ipsec_site_connection,status=PENDING_CREATE}"] != 0 {
		t.Errorf("agents %v, resources %v", got["culvert_agents_attached"], about(got, "culvert_resources"))
	}
	if len(about(got, "go_")) < 10 || len(about(got, "process_")) < 3 || len(about(got, "culvert_build_info")) != 1 {
		t.Errorf("runtime: %d go_, %d process_, build %v", len(about(got, "go_")), len(about(got, "process_")), about(got, "culvert_build_info"))
	}
	if _, err := srv.As("member").Call(t.Context(), "DELETE", "/v2.0/vpn/ipsec-site-connections/"+id, nil); err != nil {
		t.Fatal(err)
	}
	if left := about(get(t, srv), "culvert_connection_"); len(left) != 0 {
		t.Errorf("of a deleted connection: %v", left)
	}
}

func routerOf(t *testing.T, srv *vpntest.Server) string {
	t.Helper()
	specs, _, err := srv.VPN.Specs(t.Context(), 0)
	if err != nil || len(specs) != 1 {
		t.Fatalf("%d routers, %v", len(specs), err)
	}
	return specs[0].Router
}

// Requests are counted by route; what clients make up, and what they call things, is in no label.
func TestRequests(t *testing.T) {
	srv := vpntest.Start(t, vpntest.Options{})
	id := lay(t, srv)
	member := srv.As("member")
	before := get(t, srv)
	for range 3 {
		if _, err := member.Call(t.Context(), "GET", "/v2.0/vpn/ipsec-site-connections/"+id, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/v2.0/vpn/made-up/words", "/made-up", "//made-up", "/v2.0/vpn/ipsec-site-connections/made-up?made-up=1", "/identity/v3/made-up"} {
		for _, method := range []string{"GET", "MADEUP"} {
			if _, _, err := member.Do(t.Context(), method, path, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	after := get(t, srv)
	const shown = "culvert_http_requests_total{code=200,method=GET,route=/v2.0/vpn/ipsec-site-connections/{id}}"
	const took = "culvert_http_request_duration_seconds{method=GET,route=/v2.0/vpn/ipsec-site-connections/{id}}"
	if n := after[shown] - before[shown]; n != 3 {
		t.Errorf("%s grew by %v", shown, n)
	}
	if n := after[took] - before[took]; n != 4 {
		t.Errorf("%s grew by %v, want 3 and the one that was not found", took, n)
	}
	allowed := regexp.MustCompile(`^[^{]+(\{.*\})?$`)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		for _, text := range []string{"made-up", "MADEUP", "Name-of-a-user", "id-of-the-peer", "metrics-key", "198.51.100.7", "192.168.40"} {
			if strings.Contains(name, text) || !allowed.MatchString(name) {
				t.Errorf("a label shows %s: %s", text, name)
			}
		}
	}
	t.Logf("%d series", len(after))
}

// silent is a source that cannot be asked.
type silent struct{}

func (silent) Health(context.Context) (vpn.Health, error) {
	return vpn.Health{}, errors.New("the store is away")
}

// What cannot be told is logged, and the rest is told.
func TestScrapeWithoutAStore(t *testing.T) {
	var log strings.Builder
	m := metrics.New(metrics.Config{Source: silent{}, Version: "1.2.3", Log: slog.New(slog.NewJSONHandler(&log, nil))})
	m.Observe("GET", "GET /healthz", 503, time.Millisecond)
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	got := scraped(t, rec.Body.String())
	if rec.Code != 200 || got["culvert_http_requests_total{code=503,method=GET,route=/healthz}"] != 1 || got["culvert_build_info{version=1.2.3}"] != 1 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	var line struct{ Error string }
	if err := json.Unmarshal([]byte(log.String()), &line); err != nil || !strings.Contains(line.Error, "the store is away") {
		t.Errorf("logged: %s", log.String())
	}
	rec = httptest.NewRecorder()
	if m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil)); rec.Code != 404 {
		t.Errorf("GET /: %d", rec.Code)
	}
}

// docs/metrics.md names every metric of ours that a scrape has, and none that is not there.
func TestMetricsAreDescribed(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`culvert_[a-z_]+`).FindAllString(string(text), -1) {
		named[name] = true
	}
	at, rtt := "2026-01-02 03:04:05.500000", 12.5
	m := metrics.New(metrics.Config{Source: lively{vpn.Health{ByStatus: map[string]map[string]int{"vpnservice": {"ACTIVE": 1}}, Connections: []vpn.ConnectionHealth{{ID: "a",
		Statistics: vpn.Statistics{MeasuredAt: &at, EstablishedAt: &at, LastIn: &at, LastOut: &at, Probe: &vpn.Probe{Sent: 1, RTT: &rtt, LargestSeen: 1}}}}}}, Log: slog.New(slog.DiscardHandler)})
	m.Observe("GET", "/", 200, time.Millisecond)
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for name := range about(scraped(t, rec.Body.String()), "culvert_") {
		name, _, _ = strings.Cut(name, "{")
		if _, ok := named[name]; !ok {
			t.Errorf("docs/metrics.md does not name %s", name)
		}
		named[name] = false
	}
	for name, missing := range named {
		if missing {
			t.Errorf("docs/metrics.md names %s, which no scrape has", name)
		}
	}
}

type lively struct{ h vpn.Health }

func (l lively) Health(context.Context) (vpn.Health, error) { return l.h, nil }
