package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
)

func TestTunnelCarriesOnlyESP(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	wire := startCapture(t, c.branch.Namespace(), "eth0")
	c.ping()
	poll(t, 2*time.Second, "10 requests and 10 answers as ESP on the wire", func() bool { return wire.now().esp >= 20 })
	wire.nothingInClear(t)
	if got := wire.now(); got.inner > 0 {
		t.Errorf("%d packets of the head office's network were on the wire", got.inner)
	}
}

func TestPeerInitiates(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), client.Object{"initiator": "response-only"})
	why := c.awaitDown("not_initiated")
	if why["summary"] == "" || why["hint"] == "" {
		t.Errorf("reason: %v; want a summary and a hint", why)
	}
	c.noPing(c.remote)
	if err := c.branch.Initiate(t.Context(), "nets"); err != nil {
		t.Fatal(err)
	}
	c.awaitActive()
	c.ping()
}

func TestPeerKilledAndBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	if err := c.branch.KillCharon(); err != nil {
		t.Fatal(err)
	}
	c.awaitDown("liveness_lost")
	c.noPing(c.remote)
	if err := c.branch.StartCharon(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitActive()
	c.ping()
}

func TestWrongPSK(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := newOffice(0)
	o.psk = "another-one"
	c := s.newTunnel(o, nil)
	why := c.awaitDown("auth_failed", "psk_mismatch")
	if text := why["summary"].(string); !strings.Contains(text, "pre-shared key") || !strings.Contains(text, "identity") {
		t.Errorf("the reason %q names not both causes, the key and the identity", text)
	}
	c.noPing(c.remote)
	c.put(client.Object{"psk": o.psk})
	c.awaitActive()
	c.ping()
	if strings.Contains(s.output.String(), o.psk) || strings.Contains(s.output.String(), psk) {
		t.Error("the server's log has a pre-shared key")
	}
}

// TestServiceBeforeTheGateway is decision D7: a service on a router without external gateway.
func TestServiceBeforeTheGateway(t *testing.T) {
	t.Parallel()
	s := &site{server: newServer(t)}
	s.layNetworks(nil, nil)
	s.layRouter(nil)
	s.layService()
	if s.external != "" {
		t.Errorf("the service has the outer address %s on a router without gateway", s.external)
	}
	s.awaitService("DOWN", "router_without_gateway")
	s.call("PUT", "/v2.0/routers/"+s.router, client.Object{"router": client.Object{"external_gateway_info": client.Object{"network_id": s.wan}}})
	v := s.awaitService("ACTIVE", "")
	s.external, _ = v["external_v4_ip"].(string)
	if s.external != "198.51.100.2" {
		t.Errorf("the service's outer address is %q, want the first of the pool", s.external)
	}
	s.startHQ(bridgeOf(s.lan))
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	c.ping()
	status, body, err := s.api.Do(t.Context(), "PUT", "/v2.0/routers/"+s.router, client.Object{"router": client.Object{"external_gateway_info": nil}})
	if err != nil || status != 409 {
		t.Errorf("clearing the gateway under a service: %d %s, %v; want 409", status, body, err)
	}
}

// TestAgentElsewhere has the gateway in a process of its own, as on another machine.
func TestAgentElsewhere(t *testing.T) {
	t.Parallel()
	s := &site{server: newServer(t, "--gateway=none")}
	args := []string{"agent", "--server", "http://" + s.address, "--token-file", s.data + "/agent.token", "--run-dir", "/run/culvert/" + tag(t)}
	agent := launch(t, nil, args...)
	t.Cleanup(func() {
		if code, out := run(t, nil, "gateway", "down", "--run-dir", "/run/culvert/"+tag(t)); code != 0 || !strings.Contains(out, "1 router taken away") {
			t.Errorf("gateway down: exit code %d:\n%s", code, out)
		}
	})
	s.layNetworks(nil, nil)
	s.layRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.wan}})
	s.layService()
	s.awaitService("ACTIVE", "")
	s.startHQ(bridgeOf(s.lan))
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	pings, spis := c.pingOn(10*time.Millisecond), c.spis()
	if code := agent.end(syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM the agent's exit code is %d:\n%s", code, agent.output)
	}
	s.restart(syscall.SIGKILL)
	agent = launch(t, nil, args...)
	agent.awaitOutput("synced", 10*time.Second)
	c.put(client.Object{"name": "renamed", "initiator": "response-only"}) // seen by the new agent
	c.awaitActive()
	c.keepsSPIs("agent and server restarted", spis)
	pings.stopWithoutLoss("agent and server restart", 10)
	if code := agent.end(syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM the agent's exit code is %d:\n%s", code, agent.output)
	}
}
