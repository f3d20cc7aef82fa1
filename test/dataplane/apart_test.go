package dataplane

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// apart is a site whose server and gateway are processes of their own.
type apart struct {
	*sitetest.Site
	agent *sitetest.Process // nil: none runs
}

func (a *apart) runDir() string { return "/run/culvert/" + sitetest.Tag(a.T) }

// newApart starts the server and lays networks and router, but starts no agent.
func newApart(t *testing.T) *apart {
	t.Helper()
	a := &apart{Site: &sitetest.Site{Server: sitetest.NewServer(t, "--gateway=none")}}
	t.Cleanup(func() { // after Launch's, which has ended the agent
		if code, out := sitetest.Run(t, nil, "gateway", "down", "--run-dir", a.runDir()); code != 0 {
			t.Errorf("gateway down: exit code %d:\n%s", code, out)
		}
	})
	a.LayNetworks(nil, nil)
	a.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": a.WAN}})
	return a
}

// startAgent starts the agent and waits until it has every Spec.
func (a *apart) startAgent() {
	a.T.Helper()
	a.launchAgent()
	a.agent.AwaitOutput("synced with the server", 20*time.Second)
}

func (a *apart) launchAgent() {
	a.T.Helper()
	a.agent = sitetest.Launch(a.T, nil, "agent", "--server", "http://"+a.Address, "--token-file", a.Data+"/agent.token", "--run-dir", a.runDir(), "--log-level", "debug")
}

func (a *apart) endAgent(signal syscall.Signal) {
	a.T.Helper()
	a.agent.End(signal)
	a.agent = nil
}

// outsideLink is the host's end of the gateway's outside link; the link itself need not be there yet.
func (a *apart) outsideLink() string {
	a.T.Helper()
	ports := a.Call("GET", "/v2.0/ports?device_id="+a.Router+"&device_owner=network:router_gateway", nil)["ports"].([]any)
	if len(ports) != 1 {
		a.T.Fatalf("the router has %d gateway ports, want 1", len(ports))
	}
	return "ch-" + ports[0].(client.Object)["id"].(string)[:11]
}

// guards tells whether the router's guard has rules for a network.
func (a *apart) guards(network string) bool {
	return strings.Contains(a.Ruleset(), network)
}
