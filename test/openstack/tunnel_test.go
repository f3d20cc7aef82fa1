//go:build openstack

package openstack

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/lab"
)

// shell runs a program, which must succeed.
func shell(t *testing.T, line string, a ...any) string {
	t.Helper()
	out, err := try(line, a...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func try(line string, a ...any) (string, error) {
	line = fmt.Sprintf(line, a...)
	args := strings.Fields(line)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w", line, err)
	}
	return string(out), err
}

// physical is an external network on the wire that the stack calls wan; one at a time.
var physical = object{"provider:network_type": "flat", "provider:physical_network": "wan"}

var here, there = netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr("10.2.0.1") // in the tenant's network, in the branch's

// line is a site with everything that one tunnel needs: the router's gateway is 192.0.2.1.
type line struct {
	*site
	namespace           string // of the router
	service, connection string // id, URI
	branch              *lab.Branch
	host                string // namespace of the host behind the router
}

// newLine waits until the tunnel is ACTIVE and both ends see each other.
func newLine(t *testing.T, namespace string, router object) *line {
	t.Helper()
	l := &line{site: newSiteOn(t, physical, router, "local", "--dataplane", "userland")}
	l.namespace = namespace + l.routerID
	t.Cleanup(func() { l.clear(t) })
	l.service = made(t, l.member, "/v2.0/vpn/vpnservices", "vpnservice", object{"router_id": l.routerID})
	info := object{"network_id": l.external, "external_fixed_ips": []object{{"subnet_id": l.externalSubnet, "ip_address": "192.0.2.1"}}}
	want(t, l.admin, "PUT", l.router(""), object{"router": object{"external_gateway_info": info}}, 200)
	l.branch = l.newBranch(t, "br-wan")
	l.host = l.newHost(t)
	l.until(t, "the service is ACTIVE", 90*time.Second, func() bool { return l.site.service(t, l.service)["status"] == "ACTIVE" })
	group := made(t, l.member, "/v2.0/vpn/endpoint-groups", "endpoint_group", object{"type": "subnet", "endpoints": []string{l.subnet}})
	l.connection = l.site.connection(t, l.service, group, object{})
	t.Cleanup(func() {
		if t.Failed() {
			l.tell(t)
		}
	})
	l.until(t, "the connection is ACTIVE", 60*time.Second, func() bool { return l.status(t) == "ACTIVE" })
	l.pings(t)
	return l
}

// until is eventually, and says how long it took.
func (l *line) until(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	began := time.Now()
	eventually(t, what, within, ok)
	t.Logf("%s: after %.1f s", what, time.Since(began).Seconds())
}

func (l *line) status(t *testing.T) string {
	t.Helper()
	return want(t, l.member, "GET", l.connection, nil, 200)["ipsec_site_connection"].(object)["status"].(string)
}

// newHost puts a host on a port of the tenant's network, as a compute node does: Neutron's L2 agent wires the tap that is
// called after the port.
func (s *site) newHost(t *testing.T) (namespace string) {
	t.Helper()
	port := made(t, s.admin, "/v2.0/ports", "port", object{"network_id": s.network, "project_id": s.project, "binding:host_id": "here", "device_owner": "office:desk", "port_security_enabled": false,
		"device_id": "host", "fixed_ips": []object{{"subnet_id": s.subnet, "ip_address": here.String()}}})
	mac := want(t, s.admin, "GET", "/v2.0/ports/"+port, nil, 200)["port"].(object)["mac_address"]
	namespace, tap := "h-"+s.routerID[:8], "tap"+port[:11]
	shell(t, "ip netns add %s", namespace)
	t.Cleanup(func() {
		_, err := try("ip link del %s", tap)
		_, err2 := try("ip netns del %s", namespace)
		if err != nil || err2 != nil {
			t.Error(err, err2)
		}
	})
	shell(t, "ip link add %s type veth peer name eth0 address %s netns %s", tap, mac, namespace)
	shell(t, "ip link set %s up", tap)
	shell(t, "ip -n %s link set lo up", namespace)
	shell(t, "ip -n %s link set eth0 mtu 1450 up", namespace)
	shell(t, "ip -n %s addr add %s/24 dev eth0", namespace, here)
	shell(t, "ip -n %s route add default via 10.1.0.1", namespace)
	return namespace
}

// pings sees whether packets pass both ways, in a tunnel that stands.
func (l *line) pings(t *testing.T) {
	t.Helper()
	l.pinged(t, l.host, here, there)
	l.pinged(t, l.branch.Namespace(), there, here)
}

func (l *line) pinged(t *testing.T, in string, from, to netip.Addr) {
	t.Helper()
	eventually(t, fmt.Sprintf("ping %s from %s", to, from), 10*time.Second, func() bool {
		got, err := lab.Ping(t.Context(), in, from, to, 3, 20*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		return got.Received == 3
	})
}

// while pings through the tunnel, 50 times a second, as long as fn and a second more take.
func (l *line) while(t *testing.T, what string, fn func()) (lost int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results := make(chan lab.PingResult, 1)
	go func() {
		got, err := lab.Ping(ctx, l.host, here, there, 0, 20*time.Millisecond)
		if err != nil {
			t.Error(err)
		}
		results <- got
	}()
	fn()
	time.Sleep(time.Second) // what fn has set off may take effect later
	cancel()
	got := <-results
	t.Logf("%s: %s", what, got)
	if got.Received == 0 {
		t.Errorf("%s: no ping came back", what)
	}
	return got.Lost()
}

// look is what is in the router's namespace, but for counters.
func (l *line) look(t *testing.T) string {
	t.Helper()
	in := "ip netns exec " + l.namespace
	return shell(t, "ip -n %s -br addr", l.namespace) + shell(t, "ip -n %s rule", l.namespace) + shell(t, "ip -n %s route show table all", l.namespace) +
		shell(t, in+" iptables-save") + shell(t, in+" nft list tables") + shell(t, in+" sysctl net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv4.conf.all.send_redirects")
}

// guard is our table in the namespace.
func (l *line) guard(t *testing.T) string {
	t.Helper()
	return shell(t, "ip netns exec %s nft -s list table inet culvert", l.namespace)
}

func (l *line) tell(t *testing.T) {
	_, said, _ := l.member.Do(context.WithoutCancel(t.Context()), "GET", l.connection, nil)
	log, _ := l.branch.Log()
	addresses, _ := try("ip -n %s addr", l.namespace)
	near, _ := try("ip netns exec %s ping -c 1 -W 1 10.1.0.1", l.host)
	bridges, _ := try("bridge link")
	t.Logf("the connection: %s\nthe namespace:\n%s\nfrom the host to its router:\n%s\n%s\nthe branch's charon:\n%s", said, addresses, near, bridges, log)
	for _, name := range []string{"l3", "l2"} {
		text, _ := os.ReadFile(filepath.Join(l.dir, "log", name))
		t.Logf("the end of %s's log:\n%s", name, text[max(0, len(text)-6000):])
	}
}

// clear takes the site out of Neutron, so that the next one can have its wire.
func (s *site) clear(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	admin := at(s.admin, s.neutron)
	do := func(method, path string, body any) {
		if code, out, err := admin.Do(ctx, method, path, body); err != nil || code >= 300 && code != 404 {
			t.Errorf("%s %s: %d %s %v", method, path, code, out, err)
		}
	}
	if code, _, _ := admin.Do(ctx, "GET", s.router(""), nil); code == 200 {
		do("PUT", s.router(""), object{"router": object{"external_gateway_info": object{}, "routes": []object{}}})
		do("PUT", s.router("/remove_router_interface"), object{"subnet_id": s.subnet})
		do("DELETE", s.router(""), nil)
	}
	do("DELETE", "/v2.0/networks/"+s.external, nil)
}

func closed(t *testing.T, end func() error) {
	if err := end(); err != nil {
		t.Error(err)
	}
}

// newBranch is the other side, which nobody here manages.
func (s *site) newBranch(t *testing.T, bridge string) *lab.Branch {
	t.Helper()
	swanctl := lab.Peer{Local: "192.0.2.2", Remote: "192.0.2.1", PSK: psk, IKE: "aes256-sha256-ecp256", ESP: "aes256-sha256-ecp256",
		Networks: "10.2.0.0/24", Peers: "10.1.0.0/24"}.Conf()
	b, err := lab.StartBranch(t.Context(), lab.Config{Name: "b-" + s.routerID[:8], Bridge: bridge, Address: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")},
		LAN: []netip.Addr{there}, RunDir: s.dir, Swanctl: swanctl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, b.Close) })
	return b
}
