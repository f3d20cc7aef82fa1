package dataplane

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"culvert/internal/client"
	"culvert/internal/sitetest"
	"culvert/internal/vpn"
)

// TestHealth sends pings through a tunnel and reads them back at both ends of the program: in the statistics and in what
// Prometheus scrapes; before and after a kill of server and agent, and with an active probe.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t, "--metrics-listen", "127.0.0.1:0")
	c := s.NewTunnel(sitetest.NewOffice(1), client.Object{"mtu": 1400})
	c.AwaitActive()
	spis := c.Settle()
	sent := <-pingFor(c, 50, 5*time.Millisecond)
	if sent.Received != 50 {
		t.Fatalf("pings: %v", sent)
	}
	first := await(c, "50 packets", func(st vpn.Statistics) bool { return st.PacketsIn >= 50 && st.PacketsOut >= 50 })
	if first.PacketsIn != 50 || first.PacketsOut != 50 || first.EstablishedAt == nil || len(first.SAs) != 1 || first.Probe != nil {
		t.Errorf("after 50 pings: %+v", first)
	}
	if got := "in " + first.SAs[0].Children[0].SPIOut; got != spis[0] && got != spis[1] {
		t.Errorf("we send with %s, the branch has %v", got, spis)
	}
	agree(t, c, first)

	s.Restart(syscall.SIGKILL)
	if sent := <-pingFor(c, 50, 5*time.Millisecond); sent.Received != 50 {
		t.Fatalf("pings after a kill: %v", sent)
	}
	second := await(c, "50 packets more", func(st vpn.Statistics) bool { return st.PacketsIn >= 100 && st.PacketsOut >= 100 })
	if second.PacketsIn != 100 || second.PacketsOut != 100 || *second.EstablishedAt != *first.EstablishedAt || *second.CountedSince != *first.CountedSince {
		t.Errorf("after a kill and 50 pings more: in %d out %d, up since %s, counted since %s; before: up since %s, counted since %s", second.PacketsIn, second.PacketsOut,
			*second.EstablishedAt, *second.CountedSince, *first.EstablishedAt, *first.CountedSince)
	}

	c.KeepsSPIs("a kill", spis)

	c.Put(client.Object{"probe_address": c.Remote})
	c.AwaitActive()
	probed := await(c, "probed", func(st vpn.Statistics) bool {
		return st.Probe != nil && st.Probe.Received >= 2 && st.Probe.LargestSeen > 0
	})
	if p := probed.Probe; p.Loss != 0 || p.LargestSeen != p.LargeSize || p.LargeSize != 1400 || p.RTT == nil || p.Source != "10.10.0.1" {
		t.Errorf("probe: %+v", p)
	}
	c.KeepsSPIs("a probe", spis)
	t.Logf("packets in %d, out %d, RTT %.2f ms, largest packet %d; %d series scraped", probed.PacketsIn, probed.PacketsOut, *probed.Probe.RTT, probed.Probe.LargestSeen, agree(t, c, probed))
}

// await waits for statistics.
func await(c *sitetest.Tunnel, what string, ok func(vpn.Statistics) bool) (st vpn.Statistics) {
	c.Site.T.Helper()
	sitetest.Poll(c.Site.T, 30*time.Second, what, func() bool {
		answer := c.Site.Call("GET", c.Path()+"/statistics", nil)
		text, err := json.Marshal(answer["statistics"])
		st = vpn.Statistics{}
		if err != nil || json.Unmarshal(text, &st) != nil {
			c.Site.T.Fatalf("statistics: %v", answer)
		}
		return ok(st)
	})
	return st
}

var metricsURL = regexp.MustCompile(`msg=metrics url=(http://\S+)`)

// agree scrapes the server's metrics and holds the connection's counters, which never go back, against its statistics. It
// answers how many series there are.
func agree(t *testing.T, c *sitetest.Tunnel, st vpn.Statistics) (series int) {
	t.Helper()
	url := metricsURL.FindStringSubmatch(c.Site.Output.String())
	if url == nil {
		t.Fatal("the server does not say where its metrics are")
	}
	resp, err := http.Get(url[1])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for name, f := range families {
		series += len(f.GetMetric())
		for _, m := range f.GetMetric() {
			if strings.Contains(fmt.Sprint(m.GetLabel()), c.ID) {
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	for name, least := range map[string]uint64{"receive_packets_total": st.PacketsIn, "transmit_packets_total": st.PacketsOut, "receive_bytes_total": st.BytesIn,
		"transmit_bytes_total": st.BytesOut, "up": 1, "status": 1, "established_timestamp_seconds": 1} {
		if v, ok := got["culvert_connection_"+name]; !ok || v < float64(least) {
			t.Errorf("culvert_connection_%s is %v, the statistics say %d", name, v, least)
		}
	}
	return series
}
