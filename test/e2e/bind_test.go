package e2e

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

const forwarding = "/proc/sys/net/ipv4/ip_forward" // of the sandbox

// TestBindRouter is a branch gateway box, which the sandbox's own network plays: one WAN and one LAN interface, with the
// operator's addresses. The router is bound to it with --bind-router ID=host after it was made; restarts cost nothing, and
// `culvert gateway down` leaves the box as it was. It runs alone: the network is everybody's.
func TestBindRouter(t *testing.T) {
	s := &sitetest.Site{Server: sitetest.NewServer(t)}
	s.LayNetworks(nil, nil)
	s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN, "external_fixed_ips": []client.Object{{"ip_address": "198.51.100.7"}}}})
	s.LayService()
	s.AwaitService("ACTIVE", "")
	s.StartHQ(sitetest.BridgeOf(s.LAN))
	o := sitetest.NewOffice(0)
	branch := s.StartBranch(o)

	s.Args = append(s.Args, "--bind-router", s.Router+"=host")
	s.Restart(syscall.SIGTERM)
	c := &sitetest.Tunnel{Site: s, Branch: branch, Remote: sitetest.FirstOf(sitetest.Network(o.N))}
	c.Connect(o, nil)
	c.AwaitDown("local_address_missing")
	if _, err := os.Stat("/run/netns/" + s.Namespace()); !os.IsNotExist(err) {
		t.Errorf("the namespace that the router had until now: %v", err)
	}

	before, err := os.ReadFile(forwarding)
	if err != nil {
		t.Fatal(err)
	}
	forward := func(value string) {
		if err := os.WriteFile(forwarding, []byte(value), 0); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { forward(string(before)) })
	forward("0")
	ip := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, l := range []struct{ name, bridge, address string }{
		// The LAN first: with the other one the tunnel comes up, and on kernel ESP charon makes a route then or never, by the
		// router's address in the local network.
		{"lan" + sitetest.Tag(t), sitetest.BridgeOf(s.LAN), "10.10.0.1/24"}, {"wan" + sitetest.Tag(t), sitetest.BridgeOf(s.WAN), "198.51.100.7/24"},
	} {
		ip("link", "add", l.name, "type", "veth", "peer", "name", l.name+"p")
		t.Cleanup(func() { ip("link", "del", l.name) })
		ip("link", "set", l.name+"p", "master", l.bridge, "up")
		ip("link", "set", l.name, "up")
		ip("addr", "add", l.address, "dev", l.name)
	}
	s.Await(c.Path(), "ipsec_site_connection", 20*time.Second, "ACTIVE", "forwarding_off")
	forward("1")
	s.Await(c.Path(), "ipsec_site_connection", 20*time.Second, "ACTIVE", "")
	c.Ping()

	spis, pings := c.Settle(), c.PingOn(10*time.Millisecond)
	s.Restart(syscall.SIGKILL)
	c.AwaitActive()
	pings.StopWithoutLoss("a restart", 10)
	c.KeepsSPIs("a restart", spis)

	s.End(syscall.SIGTERM)
	if code, said := sitetest.Run(t, nil, "gateway", "down", "--data", s.Data); code != 0 {
		t.Errorf("gateway down: %d: %s", code, said)
	}
	left := ip("-br", "link") + ip("rule") + ip("route", "show", "table", "all")
	tables, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if left += string(tables); err != nil || strings.Contains(left, "culvert") || strings.Contains(left, "ipsec0") || strings.Contains(left, "lookup 220") {
		t.Errorf("after gateway down: %s, %v", left, err)
	}
	for _, own := range []string{"198.51.100.7/24", "10.10.0.1/24"} {
		if addresses := ip("-4", "addr"); !strings.Contains(addresses, own) {
			t.Errorf("the box has lost %s: %s", own, addresses)
		}
	}
	s.Start()
	sitetest.Poll(t, 20*time.Second, "the tunnel is there again", func() bool {
		got, err := s.HQ.Ping(t.Context(), sitetest.Addr(sitetest.HQHost), sitetest.Addr(c.Remote), 1, 0)
		return err == nil && got.Received == 1
	})
	c.AwaitActive()
}
