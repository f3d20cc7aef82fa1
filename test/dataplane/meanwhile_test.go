package dataplane

import (
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// TestLostWhileDead ends a tunnel that only its peer can make while the agent, the server or both are killed: after their start
// the status that was stored is wrong, and is put right within 2 s.
func TestLostWhileDead(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	a.startAgent()
	a.LayService()
	a.AwaitService("ACTIVE", "")
	a.StartHQ(sitetest.BridgeOf(a.LAN))
	c := a.NewTunnel(sitetest.NewOffice(0), client.Object{"initiator": "response-only"})
	table := newTable("SIGKILL of", "the tunnel ends meanwhile; DOWN, after the start")
	for _, v := range []struct {
		who         string
		kill, start func()
	}{
		{"agent", func() { a.endAgent(syscall.SIGKILL) }, a.startAgent},
		{"server", func() { a.End(syscall.SIGKILL) }, a.Start},
		{"agent and server", func() { a.endAgent(syscall.SIGKILL); a.End(syscall.SIGKILL) }, func() { a.Start(); a.startAgent() }},
	} {
		if err := c.Branch.Initiate(t.Context(), "nets"); err != nil {
			t.Fatal(err)
		}
		c.AwaitActive()
		c.Ping()
		v.kill()
		if err := c.Branch.Terminate(t.Context(), "hq"); err != nil {
			t.Fatal(err)
		}
		c.AwaitNoSAs(5 * time.Second)
		v.start()
		ready := time.Now()
		a.Await(c.Path(), "ipsec_site_connection", 2*time.Second, "DOWN")
		table.row(v.who, time.Since(ready).Round(time.Millisecond))
	}
	t.Logf("what ended while nobody looked:\n%s", table)
}
