package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// TestPhysicalNetworks maps the outer and the inner network to what the operator has: once to bridges, once to plain
// interfaces.
func TestPhysicalNetworks(t *testing.T) {
	for kind, lay := range map[string]func(t *testing.T, name string) (iface, bridge string){"bridge": operatorBridge, "interface": operatorInterface} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			wan, wanBridge := lay(t, "w")
			lan, lanBridge := lay(t, "l")
			s := &sitetest.Site{Server: sitetest.NewServer(t, "--physical-network", "wan="+wan, "--physical-network", "lan="+lan)}
			s.LayNetworks(client.Object{"provider:physical_network": "wan"}, client.Object{"provider:physical_network": "lan"})
			s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}})
			s.LayService()
			s.AwaitService("ACTIVE", "")
			s.StartHQ(lanBridge)
			o := sitetest.NewOffice(0)
			o.Bridge = wanBridge
			c := s.NewTunnel(o, nil)
			c.AwaitActive()
			c.Ping()
			for _, network := range []string{s.WAN, s.LAN} {
				if _, err := os.Stat("/sys/class/net/" + sitetest.BridgeOf(network)); err == nil {
					t.Errorf("a mapped network has the bridge %s", sitetest.BridgeOf(network))
				}
			}
			s.Remove(c.Path())
			s.Remove("/v2.0/vpn/vpnservices/" + s.Service)
			sitetest.Poll(t, sitetest.WaitGone, "the router's namespace is gone", func() bool { _, err := os.Stat("/run/netns/" + s.Namespace()); return err != nil })
			for _, iface := range []string{wan, lan} {
				if _, err := os.Stat("/sys/class/net/" + iface); err != nil {
					t.Errorf("the operator's interface went with the router: %v", err)
				}
			}
		})
	}
}

// operatorBridge makes a bridge that the gateway and the other side share.
func operatorBridge(t *testing.T, name string) (iface, bridge string) {
	t.Helper()
	name += "br" + sitetest.Tag(t)
	link(t, "add", name, "type", "bridge")
	link(t, "add", name+"p", "type", "veth", "peer", "name", name+"o")
	link(t, "set", name+"p", "master", name) // a port of the operator's
	link(t, "set", name, "up")
	t.Cleanup(func() { link(t, "del", name); link(t, "del", name+"p") })
	return name, name
}

// operatorInterface makes a cable: one end for the gateway, the other in a bridge of the other side.
func operatorInterface(t *testing.T, name string) (iface, bridge string) {
	t.Helper()
	iface, other, bridge := name+"if"+sitetest.Tag(t), name+"of"+sitetest.Tag(t), name+"ob"+sitetest.Tag(t)
	link(t, "add", iface, "type", "veth", "peer", "name", other)
	link(t, "add", bridge, "type", "bridge")
	link(t, "set", other, "master", bridge)
	for _, l := range []string{iface, other, bridge} {
		link(t, "set", l, "up")
	}
	t.Cleanup(func() { link(t, "del", bridge); link(t, "del", iface) })
	return iface, bridge
}

// link runs ip link.
func link(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", append([]string{"link"}, args...)...).CombinedOutput(); err != nil {
		t.Errorf("ip link %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// TestUnmappedPhysicalNetwork says what is missing, and comes up when it is there.
func TestUnmappedPhysicalNetwork(t *testing.T) {
	t.Parallel()
	s := &sitetest.Site{Server: sitetest.NewServer(t)}
	s.LayNetworks(client.Object{"provider:physical_network": "wan"}, nil)
	s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}})
	s.LayService()
	unmapped(t, s.AwaitService("ERROR", ""))
	s.Args = append(s.Args, "--physical-network", "wan=no"+sitetest.Tag(t))
	s.Restart(sitetest.StopSignal)
	s.AwaitOutput("this machine has no such interface yet", 5*time.Second)
	sitetest.Poll(t, 20*time.Second, "the log names the interface", func() bool {
		return strings.Contains(s.Output.String(), "interface no"+sitetest.Tag(t)+" of physical network")
	})
	unmapped(t, s.AwaitService("ERROR", ""))
	if n := strings.Count(s.Output.String(), "level=ERROR"); n != 1 {
		t.Errorf("the log has %d errors, want 1:\n%s", n, sitetest.Tail(s.Output.String(), 40))
	}
	s.Args = nil
	wan, _ := operatorBridge(t, "w")
	s.Args = append(s.Args, "--physical-network", "wan="+wan)
	s.Restart(sitetest.StopSignal)
	s.AwaitService("ACTIVE", "")
}

// unmapped looks at the reason of a service whose network the gateway has no way to. Of the gateway's host it names nothing.
func unmapped(t *testing.T, o client.Object) {
	t.Helper()
	why, _ := o["status_reason"].(client.Object)
	want := "the gateway host could not connect the router to its networks; its log has the details"
	if why["summary"] != want || why["hint"] != "check --physical-network wan=… of the gateway" {
		t.Errorf("the reason does not say what and what to check: %v", why)
	}
}
