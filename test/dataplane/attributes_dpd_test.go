package dataplane

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/sitetest"
)

// watched is a connection with its peer, for dead peer detection.
type watched struct {
	*sitetest.Tunnel
	branch *lab.Branch
	wire   *wire
	down   time.Duration // after its peer was killed
}

// dpdAttributes kills the peers of connections with all five actions, and looks at what each does then.
func dpdAttributes(t *testing.T, table *attributes) {
	d := newDual(t)
	start := func(n int, action string, interval, timeout int, more ...far) *watched {
		network := sitetest.Network(n)
		all := append([]far{{local: outer4(n), remote: d.External, nets: network}}, more...)
		b := d.peer(n, swanctl(all...), network, sitetest.SecondNetwork(n))
		return &watched{branch: b, wire: tap(t, b.Namespace(), "eth0"), Tunnel: d.connect(outer4(n), []string{network},
			client.Object{"dpd": client.Object{"action": action, "interval": interval, "timeout": timeout}}).With(b)}
	}
	hold, clear := start(0, "hold", 1, 3), start(1, "clear", 1, 3)
	restart, disabled := start(2, "restart", 1, 3), start(3, "disabled", 1, 3)
	byPeer := start(4, "restart-by-peer", 1, 3, far{name: "other", local: outer4(4), remote: d.External, nets: sitetest.SecondNetwork(4), hqID: "fqdn:other.example"})
	long := start(5, "restart", 3, 13)
	other := &watched{branch: byPeer.branch, wire: byPeer.wire, Tunnel: d.connect(outer4(4), []string{sitetest.SecondNetwork(4)}, client.Object{
		"local_id": "other.example", "dpd": client.Object{"action": "hold", "interval": 50, "timeout": 100}})}
	ikev1 := d.Make("vpn/ikepolicies", "ikepolicy", client.Object{"encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group19", "ike_version": "v1"})
	b := d.peer(6, swanctl(far{version: 1, local: outer4(6), remote: d.External, nets: sitetest.Network(6)}), sitetest.Network(6))
	v1 := &watched{branch: b, Tunnel: d.connect(outer4(6), []string{sitetest.Network(6)}, client.Object{"ikepolicy_id": ikev1,
		"dpd": client.Object{"action": "restart", "interval": 1, "timeout": 3}})}
	all := []*watched{hold, clear, restart, disabled, byPeer, long, v1, other}
	for _, w := range all {
		w.AwaitActive()
	}
	for _, w := range all[:6] {
		w.Settle2()
	}
	dpdPace(t, table, d.v4, restart, long, disabled)
	killed := time.Now()
	for _, w := range all[:7] {
		if err := w.branch.KillCharon(); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []*watched{hold, clear, restart, byPeer, other, v1, long} {
		d.Await(w.Path(), "ipsec_site_connection", 25*time.Second, "DOWN", "liveness_lost", "peer_not_listening", "peer_unreachable")
		w.down = time.Since(killed)
	}
	dpdRestarted(t, d, hold, clear)
	dpdTimes(t, table, d, hold, clear, restart, byPeer, long, other, disabled, v1)
	dpdActions(t, table, d, hold, clear, restart, byPeer, other)
}

// Settle2 is Settle for a peer that may hold SAs of another connection too.
func (w *watched) Settle2() {
	w.Site.T.Helper()
	sitetest.Poll(w.Site.T, 15*time.Second, "the connection is rekeyed once", func() bool { return w.Proven() })
}

// dpdPace counts requests while nothing passes.
func dpdPace(t *testing.T, table *attributes, from netip.Addr, every1, every3, never *watched) {
	t.Helper()
	since := quiet(7)
	for _, w := range []struct {
		*watched
		value       string
		least, most int
	}{{every1, "interval 1", 5, 8}, {every3, "interval 3", 1, 3}, {never, "action disabled", 0, 0}} {
		if n := len(w.wire.requests(from, since, exchangeInformational)); n < w.least || n > w.most {
			t.Errorf("dpd %s: %d INFORMATIONAL requests in 7 s, want %d to %d", w.value, n, w.least, w.most)
		}
		seen := "none"
		if w.most > 0 {
			seen = fmt.Sprintf("%d to %d", w.least, w.most)
		}
		table.saw("dpd", w.value, "INFORMATIONAL requests in 7 s without traffic: %s", seen)
	}
}

// dpdRestarted kills the gateway and starts it again: what is parked stays so, for the same reason. Whether anything is sent
// then, dpdActions sees.
func dpdRestarted(t *testing.T, d *dual, parked ...*watched) {
	t.Helper()
	sitetest.Poll(t, 5*time.Second, "noted that they are parked", func() bool {
		text, err := os.ReadFile(d.RouterFile("loaded.json"))
		return err == nil && strings.Contains(string(text), `"action":"hold"`) && strings.Contains(string(text), `"action":"clear"`)
	})
	codes := map[*watched]string{}
	for _, w := range parked {
		_, codes[w] = d.status(w.Tunnel)
	}
	d.Restart(syscall.SIGKILL)
	d.AwaitOutput("synced with the server", 10*time.Second)
	for _, w := range parked {
		d.Await(w.Path(), "ipsec_site_connection", 5*time.Second, "DOWN", codes[w])
	}
}

// dpdTimes compares when the silence was noticed with interval and timeout.
func dpdTimes(t *testing.T, table *attributes, d *dual, hold, clear, restart, byPeer, long, other, disabled, v1 *watched) {
	t.Helper()
	for _, w := range []struct {
		*watched
		value       string
		least, most time.Duration
	}{
		{hold, "timeout 3, interval 1", 3 * time.Second, 7 * time.Second}, {clear, "", 3 * time.Second, 7 * time.Second},
		{restart, "", 3 * time.Second, 7 * time.Second}, {byPeer, "", 3 * time.Second, 7 * time.Second}, {other, "", 3 * time.Second, 7 * time.Second},
		{long, "timeout 13, interval 3", 13 * time.Second, 19 * time.Second}, {v1, "IKEv1, timeout 3, interval 1", 3 * time.Second, 8 * time.Second},
	} {
		if w.down < w.least-200*time.Millisecond || w.down > w.most {
			t.Errorf("dpd %s: DOWN %s after the peer was killed, want %s to %s", w.value, w.down, w.least, w.most)
		}
		t.Logf("dpd %s: DOWN %s after the peer was killed", w.value, w.down)
		if w.value != "" {
			table.saw("dpd", w.value, "peer killed: DOWN after the timeout and at most one interval")
		}
	}
	if status, code := d.status(disabled.Tunnel); status != "ACTIVE" {
		t.Errorf("dpd disabled: %s %s %s after the peer was killed", status, code, long.down)
	}
	table.saw("dpd", "action disabled, peer killed", "ACTIVE when all others are DOWN: nobody asks")
}

// dpdActions looks at what is sent to dead peers, and lets them come back.
func dpdActions(t *testing.T, table *attributes, d *dual, hold, clear, restart, byPeer, other *watched) {
	t.Helper()
	since := quiet(3)
	inits := func(w *watched, since time.Time) int { return len(w.wire.requests(d.v4, since, exchangeInit)) }
	for _, w := range []struct {
		*watched
		action string
		asks   bool
	}{{hold, "hold", false}, {clear, "clear", false}, {restart, "restart", true}, {byPeer, "restart-by-peer", true}} {
		// A peer that is asked again is asked at a pace: look at all that was sent since it was killed, too.
		if n := inits(w.watched, since.Add(-w.down)); (n > 0) != w.asks {
			t.Errorf("dpd action %s: %d IKE_SA_INIT after the loss", w.action, n)
		}
	}
	d.pings(hold.Remote, 3)
	d.pings(clear.Remote, 3)
	sitetest.Poll(t, 3*time.Second, "held, and a packet comes by: IKE_SA_INIT", func() bool { return inits(hold, since) > 0 })
	for _, w := range []*watched{hold, clear, restart, byPeer} {
		if err := w.branch.StartCharon(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []*watched{hold, restart, byPeer, other} {
		d.Await(w.Path(), "ipsec_site_connection", 40*time.Second, "ACTIVE")
		d.passes(w.Remote)
	}
	if n := inits(clear, since); n > 0 {
		t.Errorf("dpd action clear: %d IKE_SA_INIT with a packet for the peer", n)
	}
	if status, _ := d.status(clear.Tunnel); status != "DOWN" {
		t.Errorf("dpd action clear: %s while the peer is back and has not come", status)
	}
	if err := clear.branch.Initiate(t.Context(), "far-net"); err != nil {
		t.Fatal(err)
	}
	clear.AwaitActive()
	d.passes(clear.Remote)
	table.saw("dpd", "action hold", "no IKE_SA_INIT after the loss until a packet for the peer's network comes by, then ACTIVE when the peer is back")
	table.saw("dpd", "action clear", "no IKE_SA_INIT after the loss, not with traffic nor with the peer back; ACTIVE when the peer initiates")
	table.saw("dpd", "action hold or clear, and the gateway killed and started", "as without that")
	table.saw("dpd", "action restart", "IKE_SA_INIT after the loss, ACTIVE when the peer is back")
	table.saw("dpd", "action restart-by-peer", "with it the service's other connection to this peer goes DOWN, whose own timeout is 100 s; both ACTIVE when the peer is back")
}
