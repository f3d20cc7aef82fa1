package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// TestChangesWhileTheGatewayIsAway changes and deletes with no gateway running: the tunnels go on until it is back, and
// then everything is as it was last asked for.
func TestChangesWhileTheGatewayIsAway(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	stays, goes, o := s.NewTunnel(sitetest.NewOffice(0), nil), s.NewTunnel(sitetest.NewOffice(1), nil), sitetest.NewOffice(2)
	changes := s.NewTunnel(o, nil)
	for _, c := range []*sitetest.Tunnel{stays, goes, changes} {
		c.AwaitActive()
	}
	spis, pings := stays.Settle(), stays.PingOn(10*time.Millisecond)
	s.End(unix.SIGKILL)
	s.Args = []string{"--gateway=none"}
	s.Start()
	s.Remove(goes.Path())
	o.PSK = "changed-meanwhile"
	changes.Put(client.Object{"psk": o.PSK, "admin_state_up": false})
	goes.Ping() // nobody has told charon yet
	s.End(unix.SIGKILL)
	s.Args = nil
	s.Start()

	changes.AwaitDown("admin_down")
	goes.AwaitNoSAs(10 * time.Second)
	sitetest.Poll(t, 5*time.Second, "the guard and charon forget the deleted connection", func() bool {
		return !strings.Contains(s.Ruleset(), sitetest.Network(1)) && !strings.Contains(s.CharonConns(), goes.ID)
	})
	changes.AwaitNoSAs(10 * time.Second)
	changes.Load(o)
	changes.Put(client.Object{"admin_state_up": true})
	changes.AwaitActive()
	changes.Ping()
	stays.AwaitActive()
	stays.KeepsSPIs("others were changed while the gateway was away", spis)
	pings.StopWithoutLoss("others are changed while the gateway is away", 50)
}

// TestDeleteAndKill kills the server at once after it has answered a DELETE (decision D9).
func TestDeleteAndKill(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	for _, path := range []string{c.Path(), "/v2.0/vpn/vpnservices/" + s.Service} {
		if status, body, err := s.API.Do(t.Context(), "DELETE", path, nil); err != nil || status != 204 {
			t.Fatalf("DELETE %s: %d %s, %v; want 204", path, status, body, err)
		}
	}
	s.Restart(unix.SIGKILL)
	c.AwaitNoSAs(10 * time.Second)
	sitetest.Poll(t, sitetest.WaitGone, "the router's namespace is gone", func() bool { _, err := os.Stat("/run/netns/" + s.Namespace()); return err != nil })
	for _, path := range []string{c.Path(), "/v2.0/vpn/vpnservices/" + s.Service} {
		if status, body, err := s.API.Do(t.Context(), "GET", path, nil); err != nil || status != 404 {
			t.Errorf("GET of the deleted %s: %d %s, %v; want 404", path, status, body, err)
		}
	}
}

// TestGatewayDownOfARunningGateway is refused, and touches nothing.
func TestGatewayDownOfARunningGateway(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	spis := c.Settle()
	code, out := sitetest.Run(t, nil, "gateway", "down", "--data", s.Data)
	if code != 1 || !strings.Contains(out, "running gateway") {
		t.Errorf("exit code %d and:\n%s\nwant 1 and the reason", code, out)
	}
	c.KeepsSPIs("gateway down was refused", spis)
	c.Ping()
}

// TestOnAllAddressesBehindAProxy listens on every address where the environment names a proxy: the server's own gateway
// must not go through that, or keys would.
func TestOnAllAddressesBehindAProxy(t *testing.T) {
	t.Parallel()
	proxy := func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1")
	}
	const own = "192.0.2.77" // no loopback address, which proxies are never used for
	if out, err := exec.Command("ip", "addr", "add", own+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("ip addr add: %v: %s", err, out)
	}
	for _, host := range []string{"", "0.0.0.0", "[::]", own} {
		p := sitetest.Launch(t, []sitetest.As{proxy}, "server", "--data", filepath.Join(t.TempDir(), "data"), "--listen", host+":0", "--run-dir", "/run/culvert/"+sitetest.Tag(t))
		p.AwaitOutput("synced with the server", 15*time.Second)
		if out := p.Output.String(); strings.Contains(out, "the watch ended") || strings.Contains(out, "http://[::]:") || strings.Contains(out, "http://0.0.0.0:") {
			t.Errorf("on %q:\n%s", host, out)
		}
		if code := p.End(unix.SIGTERM); code != 0 {
			t.Errorf("on %q: exit code %d:\n%s", host, code, p.Output)
		}
	}
}

// TestAfterReboot takes away what does not outlive a machine: everything but the data folder.
func TestAfterReboot(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	s.End(unix.SIGKILL)
	s.KillCharon()
	for _, args := range [][]string{{"ip", "netns", "del", s.Namespace()}, {"rm", "-r", s.RouterFile("")}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	s.Start()
	s.AwaitCharonSAs()
	c.AwaitActive()
	c.Ping()
}

// TestNeutronDefaults lays an IKEv1 tunnel with two networks, one CHILD_SA each, by the old defaults.
func TestNeutronDefaults(t *testing.T) {
	t.Parallel()
	s := &sitetest.Site{Server: sitetest.NewServer(t, "--defaults", "neutron")}
	s.LayNetworks(nil, nil)
	s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}})
	s.LayService()
	s.AwaitService("ACTIVE", "")
	s.StartHQ(sitetest.BridgeOf(s.LAN))
	o := sitetest.NewOffice(0)
	o.Version, o.Proposals, o.ESP = 1, "aes128-sha256-modp1536", "aes128-sha256-modp1536"
	o.Networks = sitetest.Network(0)
	c := &sitetest.Tunnel{Site: s, Branch: s.StartBranch(o), Remote: sitetest.FirstOf(sitetest.Network(0))}
	c.Connect(o, client.Object{"dpd": client.Object{"action": "hold", "interval": 1, "timeout": 5}})
	c.AwaitActive()
	installed := func(spis int) { // in IKEv1 the answering side installs one message later
		t.Helper()
		sitetest.Poll(t, 5*time.Second, "the branch has installed its SAs", func() bool { return len(c.SPIs()) == spis })
	}
	installed(2)
	c.Ping()
	group := s.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "cidr", "endpoints": []string{sitetest.Network(0), sitetest.SecondNetwork(0)}})
	c.Put(client.Object{"peer_ep_group_id": group})
	c.AwaitDown("ts_unacceptable", "child_proposal_mismatch", "child_failed") // the branch has one of the two: not ACTIVE
	o.Children = sitetest.SecondNetwork(0)
	c.Load(o)
	c.AwaitActive()
	installed(4)
	c.Ping()
	c.PingTo(sitetest.FirstOf(sitetest.SecondNetwork(0)))
}
