package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
	"culvert/internal/testbox"
)

func TestTunnelCarriesOnlyESP(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	wire := sitetest.StartCapture(t, "", "gt-"+c.Branch.Namespace())
	c.Ping()
	sitetest.Poll(t, 2*time.Second, "10 requests and 10 answers as ESP on the wire", func() bool { return wire.Now().ESP >= 20 })
	wire.NothingInClear(t)
	if got := wire.Now(); testbox.KernelESP() != (got.Native == got.ESP) || got.Native != 0 && !testbox.KernelESP() {
		t.Errorf("%d of %d ESP packets were protocol 50; want all of the kernel's, which needs no UDP without a NAT, and none of userland's", got.Native, got.ESP)
	}
	if got := wire.Now(); got.Inner > 0 {
		t.Errorf("%d packets of the head office's network were on the wire", got.Inner)
	}
}

func TestPeerInitiates(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), client.Object{"initiator": "response-only"})
	why := c.AwaitDown("not_initiated")
	if why["summary"] == "" || why["hint"] == "" {
		t.Errorf("reason: %v; want a summary and a hint", why)
	}
	c.NoPing(c.Remote)
	if err := c.Branch.Initiate(t.Context(), "nets"); err != nil {
		t.Fatal(err)
	}
	c.AwaitActive()
	c.Ping()
}

func TestPeerKilledAndBack(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	if err := c.Branch.KillCharon(); err != nil {
		t.Fatal(err)
	}
	c.AwaitDown("peer_not_listening")
	c.NoPing(c.Remote)
	if err := c.Branch.StartCharon(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.AwaitActive()
	c.Ping()
}

func TestWrongPSK(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	o := sitetest.NewOffice(0)
	o.PSK = "another-one"
	c := s.NewTunnel(o, nil)
	why := c.AwaitDown("auth_failed", "psk_mismatch")
	if text := why["summary"].(string); !strings.Contains(text, "pre-shared key") || !strings.Contains(text, "identity") {
		t.Errorf("the reason %q names not both causes, the key and the identity", text)
	}
	c.NoPing(c.Remote)
	c.Put(client.Object{"psk": o.PSK})
	c.AwaitActive()
	c.Ping()
	if strings.Contains(s.Output.String(), o.PSK) || strings.Contains(s.Output.String(), sitetest.PSK) {
		t.Error("the server's log has a pre-shared key")
	}
}

// TestServiceBeforeTheGateway is decision D7: a service on a router without external gateway.
func TestServiceBeforeTheGateway(t *testing.T) {
	t.Parallel()
	s := &sitetest.Site{Server: sitetest.NewServer(t)}
	s.LayNetworks(nil, nil)
	s.LayRouter(nil)
	s.LayService()
	if s.External != "" {
		t.Errorf("the service has the outer address %s on a router without gateway", s.External)
	}
	s.AwaitService("DOWN", "router_without_gateway")
	s.Call("PUT", "/v2.0/routers/"+s.Router, client.Object{"router": client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}}})
	v := s.AwaitService("ACTIVE", "")
	s.External, _ = v["external_v4_ip"].(string)
	if s.External != "198.51.100.2" {
		t.Errorf("the service's outer address is %q, want the first of the pool", s.External)
	}
	s.StartHQ(sitetest.BridgeOf(s.LAN))
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	c.Ping()
	status, body, err := s.API.Do(t.Context(), "PUT", "/v2.0/routers/"+s.Router, client.Object{"router": client.Object{"external_gateway_info": nil}})
	if err != nil || status != 409 {
		t.Errorf("clearing the gateway under a service: %d %s, %v; want 409", status, body, err)
	}
}

// TestAgentElsewhere has the gateway in a process of its own, as on another machine.
func TestAgentElsewhere(t *testing.T) {
	t.Parallel()
	s := sitetest.NewElsewhere(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	pings, spis := c.PingOn(10*time.Millisecond), c.Settle()
	if code := s.Agent.End(syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM the agent's exit code is %d:\n%s", code, s.Agent.Output)
	}
	s.Restart(syscall.SIGKILL)
	s.StartAgent()
	s.Agent.AwaitOutput("synced", 10*time.Second)
	c.Put(client.Object{"name": "renamed", "initiator": "response-only"}) // seen by the new agent
	c.AwaitActive()
	c.KeepsSPIs("agent and server restarted", spis)
	pings.StopWithoutLoss("agent and server restart", 10)
	if code := s.Agent.End(syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM the agent's exit code is %d:\n%s", code, s.Agent.Output)
	}
}
