package metrics

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// scrapeLimit bounds one look at the store.
const scrapeLimit = 10 * time.Second

// connections are the metrics that are read from the domain at each scrape: a connection that is deleted has none any more.
type connections struct {
	source Source
	of     []ofConnection
	status *prometheus.Desc
	count  *prometheus.Desc
	hosts  *prometheus.Desc
}

// ofConnection is one metric of each connection.
type ofConnection struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(vpn.ConnectionHealth) (v float64, ok bool)
}

func newConnections(source Source) *connections {
	c := &connections{source: source,
		status: prometheus.NewDesc("culvert_connection_status", "1, with the status of the connection and the code of its status_reason.", []string{"connection_id", "project_id", "status", "reason"}, nil),
		count:  prometheus.NewDesc("culvert_resources", "VPN services and connections by status, PENDING_* among them.", []string{"kind", "status"}, nil),
		hosts:  prometheus.NewDesc("culvert_agents_attached", "Gateway hosts that watch this server.", nil, nil),
	}
	c.addTraffic()
	c.addTimes()
	c.addProbe()
	return c
}

func (c *connections) add(kind prometheus.ValueType, name, help string, value func(vpn.ConnectionHealth) (float64, bool)) {
	c.of = append(c.of, ofConnection{prometheus.NewDesc("culvert_connection_"+name, help, []string{"connection_id", "project_id"}, nil), kind, value})
}

func (c *connections) addTraffic() {
	count := func(name, help string, of func(vpn.Statistics) uint64) {
		c.add(prometheus.CounterValue, name, help, func(h vpn.ConnectionHealth) (float64, bool) {
			return float64(of(h.Statistics)), h.Statistics.MeasuredAt != nil
		})
	}
	count("receive_bytes_total", "Bytes of IP packets that came through the tunnel.", func(s vpn.Statistics) uint64 { return s.BytesIn })
	count("transmit_bytes_total", "Bytes of IP packets that were sent into the tunnel.", func(s vpn.Statistics) uint64 { return s.BytesOut })
	count("receive_packets_total", "IP packets that came through the tunnel.", func(s vpn.Statistics) uint64 { return s.PacketsIn })
	count("transmit_packets_total", "IP packets that were sent into the tunnel.", func(s vpn.Statistics) uint64 { return s.PacketsOut })
	count("ike_rekeys_total", "IKE_SAs that were replaced without a break.", func(s vpn.Statistics) uint64 { return s.IKERekeys })
	count("child_rekeys_total", "CHILD_SAs that were replaced without a break.", func(s vpn.Statistics) uint64 { return s.ChildRekeys })
}

func (c *connections) addTimes() {
	c.add(prometheus.GaugeValue, "up", "Whether the connection is ACTIVE.", func(h vpn.ConnectionHealth) (float64, bool) {
		if h.Status == vpn.Active {
			return 1, true
		}
		return 0, true
	})
	at := func(name, help string, of func(vpn.Statistics) *string) {
		c.add(prometheus.GaugeValue, name, help, func(h vpn.ConnectionHealth) (float64, bool) { return unix(of(h.Statistics)) })
	}
	at("established_timestamp_seconds", "Since when the tunnel is up without a break; none while it is down.", func(s vpn.Statistics) *string { return s.EstablishedAt })
	at("last_receive_timestamp_seconds", "When the last packet came through the tunnel.", func(s vpn.Statistics) *string { return s.LastIn })
	at("last_transmit_timestamp_seconds", "When the last packet was sent into the tunnel.", func(s vpn.Statistics) *string { return s.LastOut })
	at("measured_timestamp_seconds", "When a gateway host looked last.", func(s vpn.Statistics) *string { return s.MeasuredAt })
}

func (c *connections) addProbe() {
	probe := func(name, help string, of func(vpn.Probe) (float64, bool)) {
		c.add(prometheus.GaugeValue, name, help, func(h vpn.ConnectionHealth) (float64, bool) {
			if h.Statistics.Probe == nil {
				return 0, false
			}
			return of(*h.Statistics.Probe)
		})
	}
	probe("probe_loss_ratio", "Part of the active probe's last echo requests that got no answer, from 0 to 1.", func(p vpn.Probe) (float64, bool) { return p.Loss, p.Sent > 0 })
	probe("probe_rtt_seconds", "Mean round trip of the active probe's last echo requests.", func(p vpn.Probe) (float64, bool) {
		if p.RTT == nil {
			return 0, false
		}
		return *p.RTT / 1000, true
	})
	probe("probe_largest_packet_bytes", "Largest packet of the active probe that was answered.", func(p vpn.Probe) (float64, bool) { return float64(p.LargestSeen), p.LargestSeen > 0 })
}

// unix is a time of the API as seconds.
func unix(text *string) (float64, bool) {
	if text == nil {
		return 0, false
	}
	t, err := time.Parse(resource.TimeFormat, *text)
	return float64(t.UnixMicro()) / 1e6, err == nil
}

// Describe is of prometheus.Collector.
func (c *connections) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.of {
		out <- m.desc
	}
	out <- c.status
	out <- c.count
	out <- c.hosts
}

// Collect is of prometheus.Collector.
func (c *connections) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	h, err := c.source.Health(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.count, fmt.Errorf("read the connections: %w", err))
		return
	}
	out <- prometheus.MustNewConstMetric(c.hosts, prometheus.GaugeValue, float64(h.Hosts))
	for kind, by := range h.ByStatus {
		for status, n := range by {
			out <- prometheus.MustNewConstMetric(c.count, prometheus.GaugeValue, float64(n), kind, status)
		}
	}
	for _, one := range h.Connections {
		out <- prometheus.MustNewConstMetric(c.status, prometheus.GaugeValue, 1, one.ID, one.Project, one.Status, one.Reason)
		for _, m := range c.of {
			if v, ok := m.value(one); ok {
				out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, one.ID, one.Project)
			}
		}
	}
}

func sprint(v []any) string { return strings.TrimSuffix(fmt.Sprintln(v...), "\n") }
