// Package metrics says in Prometheus' words how the server and the connections are: what is counted where it happens
// (requests), and what is asked for at each scrape (connections, gateway hosts). Ids are labels; names and texts of users, and
// secrets, may not enter, nor may a label without a bound.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"culvert/internal/vpn"
)

// Source is asked at each scrape.
type Source interface {
	Health(ctx context.Context) (vpn.Health, error)
}

// Config is what Metrics need. Source and Log must be set.
type Config struct {
	Source  Source
	Version string // of the program
	Log     *slog.Logger
}

// Metrics are those of one server.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	log      *slog.Logger
}

// New returns Metrics with a registry of their own.
func New(c Config) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), log: c.Log,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "culvert_http_requests_total", Help: "Requests that were answered."},
			[]string{"method", "route", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "culvert_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer; watches of gateway hosts, which stay open, are left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"method", "route"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "culvert_build_info", Help: "1, with the program's version.",
		ConstLabels: prometheus.Labels{"version": c.Version}})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.took, build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newConnections(c.Source))
	return m
}

// watchRoute is left out of the durations.
const watchRoute = "/agent/v1/watch"

// Observe counts a request. The route is the pattern that served it, "" for none; whatever else a client chose is no label.
func (m *Metrics) Observe(method, route string, code int, took time.Duration) {
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	if !slices.Contains(known, method) {
		method = "other"
	}
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path
	}
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(code)).Inc()
	if route != watchRoute {
		m.took.WithLabelValues(method, route).Observe(took.Seconds())
	}
}

// Handler serves GET /metrics and nothing else. It asks for no token: it belongs on an address that only operators reach.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: failures{m.log},
		MaxRequestsInFlight: 4, Timeout: 30 * time.Second}))
	return mux
}

// failures logs what a scrape could not tell.
type failures struct{ log *slog.Logger }

func (f failures) Println(v ...any) { f.log.Error("metrics", "error", strings.TrimSpace(sprint(v))) }
