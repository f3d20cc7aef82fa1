package sitetest

import (
	"strings"
	"testing"

	"culvert/internal/client"
)

// Elsewhere is a site whose gateway host is a process of its own, as on another machine.
type Elsewhere struct {
	*Site
	Agent  *Process
	RunDir string // of the gateway
}

// NewElsewhere lays everything but tunnels, as NewSite does. After the test the gateway is taken down: one router.
func NewElsewhere(t *testing.T) *Elsewhere {
	t.Helper()
	s := &Elsewhere{Site: &Site{Server: NewServer(t, "--gateway=none")}, RunDir: "/run/culvert/" + Tag(t)}
	s.StartAgent()
	t.Cleanup(func() {
		if code, out := Run(t, nil, "gateway", "down", "--run-dir", s.RunDir); code != 0 || !strings.Contains(out, "1 router taken away") {
			t.Errorf("gateway down: exit code %d:\n%s", code, out)
		}
	})
	s.LayNetworks(nil, nil)
	s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}})
	s.LayService()
	s.AwaitService("ACTIVE", "")
	s.StartHQ(BridgeOf(s.LAN))
	return s
}

// StartAgent starts the gateway host; the one before has ended.
func (s *Elsewhere) StartAgent() {
	s.T.Helper()
	s.Agent = Launch(s.T, nil, "agent", "--server", "http://"+s.Address, "--token-file", s.Data+"/agent.token", "--run-dir", s.RunDir)
}
