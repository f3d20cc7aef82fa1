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
)

// TestChangesWhileTheGatewayIsAway changes and deletes with no gateway running: the tunnels go on until it is back, and
// then everything is as it was last asked for.
func TestChangesWhileTheGatewayIsAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stays, goes, o := s.newTunnel(newOffice(0), nil), s.newTunnel(newOffice(1), nil), newOffice(2)
	changes := s.newTunnel(o, nil)
	for _, c := range []*tunnel{stays, goes, changes} {
		c.awaitActive()
	}
	spis, pings := stays.spis(), stays.pingOn(10*time.Millisecond)
	s.end(unix.SIGKILL)
	s.args = []string{"--gateway=none"}
	s.start()
	s.remove(goes.path())
	o.psk = "changed-meanwhile"
	changes.put(client.Object{"psk": o.psk, "admin_state_up": false})
	goes.ping() // nobody has told charon yet
	s.end(unix.SIGKILL)
	s.args = nil
	s.start()

	changes.awaitDown("admin_down")
	goes.awaitNoSAs(10 * time.Second)
	poll(t, 5*time.Second, "the guard and charon forget the deleted connection", func() bool {
		return !strings.Contains(s.ruleset(), network(1)) && !strings.Contains(s.charonConns(), goes.id)
	})
	changes.awaitNoSAs(10 * time.Second)
	changes.load(o)
	changes.put(client.Object{"admin_state_up": true})
	changes.awaitActive()
	changes.ping()
	stays.awaitActive()
	stays.keepsSPIs("others were changed while the gateway was away", spis)
	pings.stopWithoutLoss("others are changed while the gateway is away", 50)
}

// TestDeleteAndKill kills the server at once after it has answered a DELETE (decision D9).
func TestDeleteAndKill(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	for _, path := range []string{c.path(), "/v2.0/vpn/vpnservices/" + s.service} {
		if status, body, err := s.api.Do(t.Context(), "DELETE", path, nil); err != nil || status != 204 {
			t.Fatalf("DELETE %s: %d %s, %v; want 204", path, status, body, err)
		}
	}
	s.restart(unix.SIGKILL)
	c.awaitNoSAs(10 * time.Second)
	poll(t, waitGone, "the router's namespace is gone", func() bool { _, err := os.Stat("/run/netns/" + s.namespace()); return err != nil })
	for _, path := range []string{c.path(), "/v2.0/vpn/vpnservices/" + s.service} {
		if status, body, err := s.api.Do(t.Context(), "GET", path, nil); err != nil || status != 404 {
			t.Errorf("GET of the deleted %s: %d %s, %v; want 404", path, status, body, err)
		}
	}
}

// TestGatewayDownOfARunningGateway is refused, and touches nothing.
func TestGatewayDownOfARunningGateway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	spis := c.spis()
	code, out := run(t, nil, "gateway", "down", "--data", s.data)
	if code != 1 || !strings.Contains(out, "running gateway") {
		t.Errorf("exit code %d and:\n%s\nwant 1 and the reason", code, out)
	}
	c.keepsSPIs("gateway down was refused", spis)
	c.ping()
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
		p := launch(t, []as{proxy}, "server", "--data", filepath.Join(t.TempDir(), "data"), "--listen", host+":0", "--run-dir", "/run/culvert/"+tag(t))
		p.awaitOutput("synced with the server", 15*time.Second)
		if out := p.output.String(); strings.Contains(out, "the watch ended") || strings.Contains(out, "http://[::]:") || strings.Contains(out, "http://0.0.0.0:") {
			t.Errorf("on %q:\n%s", host, out)
		}
		if code := p.end(unix.SIGTERM); code != 0 {
			t.Errorf("on %q: exit code %d:\n%s", host, code, p.output)
		}
	}
}

// TestAfterReboot takes away what does not outlive a machine: everything but the data folder.
func TestAfterReboot(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	s.end(unix.SIGKILL)
	s.killCharon()
	for _, args := range [][]string{{"ip", "netns", "del", s.namespace()}, {"rm", "-r", s.routerFile("")}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	s.start()
	s.awaitCharonSAs()
	c.awaitActive()
	c.ping()
}

// TestNeutronDefaults lays an IKEv1 tunnel with two networks, one CHILD_SA each, by the old defaults.
func TestNeutronDefaults(t *testing.T) {
	t.Parallel()
	s := &site{server: newServer(t, "--defaults", "neutron")}
	s.layNetworks(nil, nil)
	s.layRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.wan}})
	s.layService()
	s.awaitService("ACTIVE", "")
	s.startHQ(bridgeOf(s.lan))
	o := newOffice(0)
	o.version, o.proposals, o.esp = 1, "aes128-sha256-modp1536", "aes128-sha256-modp1536"
	o.networks = network(0)
	c := &tunnel{s: s, branch: s.startBranch(o), remote: firstOf(network(0))}
	c.connect(o, client.Object{"dpd": client.Object{"action": "hold", "interval": 1, "timeout": 5}})
	c.awaitActive()
	installed := func(spis int) { // in IKEv1 the answering side installs one message later
		t.Helper()
		poll(t, 5*time.Second, "the branch has installed its SAs", func() bool { return len(c.spis()) == spis })
	}
	installed(2)
	c.ping()
	group := s.make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "cidr", "endpoints": []string{network(0), secondNetwork(0)}})
	c.put(client.Object{"peer_ep_group_id": group})
	c.awaitDown("ts_unacceptable", "child_proposal_mismatch", "child_failed") // the branch has one of the two: not ACTIVE
	o.children = secondNetwork(0)
	c.load(o)
	c.awaitActive()
	installed(4)
	c.ping()
	c.pingTo(firstOf(secondNetwork(0)))
}
