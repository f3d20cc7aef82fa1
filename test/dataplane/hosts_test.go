package dataplane

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/sitetest"
	"culvert/internal/testbox"
)

// TestGatewayHostGone kills the only gateway host: what it said is not said any more, its tunnel goes on, and when it is
// back the truth is. A server that starts again meanwhile finds its gateway host there, and nothing flaps.
func TestGatewayHostGone(t *testing.T) {
	t.Parallel()
	s := sitetest.NewElsewhere(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	pings := c.PingOn(10 * time.Millisecond)

	s.Restart(syscall.SIGKILL)
	for deadline := time.Now().Add(14 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got := s.Call("GET", c.Path(), nil)["ipsec_site_connection"].(client.Object); got["status"] != "ACTIVE" {
			t.Fatalf("after the server started again beside its gateway host, the connection is %v: %v", got["status"], got["status_reason"])
		}
	}
	s.Agent.End(syscall.SIGKILL)
	killed := time.Now()
	c.AwaitDown("no_gateway_host")
	after := time.Since(killed)
	s.AwaitService("DOWN", "no_gateway_host")
	if after < 9*time.Second || after > 14*time.Second {
		t.Errorf("no_gateway_host came %s after the gateway host was killed, want about 10 s", after)
	}
	s.StartAgent()
	begun := time.Now()
	c.AwaitActive()
	s.AwaitService("ACTIVE", "")
	t.Logf("no_gateway_host %.1f s after the kill; ACTIVE %.2f s after its start", after.Seconds(), time.Since(begun).Seconds())
	pings.StopWithoutLoss("the gateway host is gone and comes back", 1000)
	if code := s.Agent.End(syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM the agent's exit code is %d:\n%s", code, s.Agent.Output)
	}
}

// TestGatewayHostWithoutPower cuts the only gateway host off from the server, which hears no goodbye.
func TestGatewayHostWithoutPower(t *testing.T) {
	t.Parallel()
	bridge := "pw" + sitetest.Tag(t)
	host, err := lab.StartHost(t.Context(), lab.HostConfig{Name: "p" + sitetest.Tag(t), Bridge: bridge, Address: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("ip", "addr", "add", "192.0.2.1/24", "dev", bridge).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+bridge+"/arp_ignore", []byte("0"), 0); err != nil { // the server takes part
		t.Fatal(err)
	}
	s := &sitetest.Site{Server: sitetest.NewServer(t, "--gateway=none", "--listen", "0.0.0.0:"+strings.Split(sitetest.Listen(t), ":")[1])}
	s.LayNetworks(nil, nil)
	s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}})
	s.LayService()
	token, err := os.ReadFile(s.Data + "/agent.token")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://192.0.2.1:" + strings.Split(s.Address, ":")[1]
	watch := exec.CommandContext(t.Context(), "ip", "netns", "exec", host.Namespace(), "curl", "-sN", "-H", "Authorization: Bearer "+strings.TrimSpace(string(token)), url+"/agent/v1/watch")
	said := &testbox.Transcript{}
	watch.Stdout = said
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watch.Process.Kill(); _ = watch.Wait() })
	sitetest.Poll(t, 10*time.Second, "the gateway host watches", func() bool { return strings.Contains(said.String(), "synced") })
	if err := host.Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	cut := time.Now()
	s.Await("/v2.0/vpn/vpnservices/"+s.Service, "vpnservice", 40*time.Second, "DOWN", "no_gateway_host")
	t.Logf("no_gateway_host %.1f s after the link was cut", time.Since(cut).Seconds())
}
