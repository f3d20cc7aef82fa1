package api

import (
	"testing"
	"time"

	"culvert/internal/resource"
	"culvert/internal/server"
	"culvert/internal/store/pgtest"
	"culvert/internal/vpn"
	"culvert/internal/vpntest"
)

// TestDatabaseCrash: PostgreSQL crashes while the server runs on, and takes a status back that nobody waited for. The watch ends,
// so that the agent tells it again; and while it does not, the deadline of what is pending again counts.
func TestDatabaseCrash(t *testing.T) {
	cluster := pgtest.StartCluster(t)
	srv := vpntest.Start(t, vpntest.Options{Database: cluster.Database(t), Set: func(c *server.Config) {
		c.HostGrace, c.PendingDeadline = 10000*time.Hour, pendingDeadline
	}})
	cluster.Hoard(t)
	v := layScene(t, srv)
	w := openWatch(t, srv)
	service, conn := tunnel(t, srv, v)
	spec := w.spec(func(s *vpn.Spec) bool { return len(s.Connections) == 1 })
	h := &hostScene{t, srv, service, conn}
	up := vpn.Report{Router: v["router"], Rev: spec.Rev, Ready: true, Connections: []vpn.ConnectionReport{{ID: conn, State: vpn.StateUp}}}
	report(t, srv, up)
	h.await("ACTIVE", "")

	cluster.Crash(t)
	w.ends()
	h.await("PENDING_CREATE", "") // or the crash took nothing back
	openWatch(t, srv)
	for end := time.Now().Add(20 * time.Second); code(h.get("ipsec-site-connections/"+conn, "ipsec_site_connection")) != "gateway_silent"; time.Sleep(100 * time.Millisecond) {
		if h.pass(pendingDeadline + time.Second); time.Now().After(end) {
			t.Fatal("what is pending again has no deadline")
		}
	}
	report(t, srv, up)
	h.await("ACTIVE", "")
	h.timeline("create", "reason gateway_silent", "up")

	// What was told once more, to be on the disk, is there after the next crash, with everything before it.
	ike := vpn.Seen{Event: vpn.Event{ID: "1", ConnectionID: conn, Type: vpn.EventIKEUp, CreatedAt: resource.FormatTime(srv.Clock.Now())}}
	tell(t, srv, vpn.Batch{Events: []vpn.Seen{ike}})
	tell(t, srv, vpn.Batch{Events: []vpn.Seen{ike}, Durable: true})
	cluster.Crash(t)
	h.await("ACTIVE", "")
	h.timeline("create", "reason gateway_silent", "up", "ike_up")
}

// ends waits for the server to end the watch.
func (w *agentStream) ends() {
	w.Helper()
	began := time.Now()
	for l := (watchLine{}); ; {
		if time.Since(began) > 20*time.Second {
			w.Fatal("the watch goes on")
		}
		if err := w.lines.Decode(&l); err != nil {
			w.Logf("the watch: %v", err)
			return
		}
	}
}
