package gateway

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/testbox"
	"culvert/internal/vpn"
)

// cloudRouter makes what a cloud's L3 agent makes of a router: its namespace with wired and addressed interfaces, a default
// route and forwarding, and things of its own that are nobody else's business.
func cloudRouter(t *testing.T, name string, spec vpn.Spec) {
	t.Helper()
	output(t, "ip", "netns", "add", name)
	in := func(args ...string) { output(t, append([]string{"ip", "netns", "exec", name}, args...)...) }
	in("ip", "link", "set", "lo", "up")
	in("ip", "addr", "add", "203.0.113.77/32", "dev", "lo")
	for _, i := range wantedInterfaces(spec) {
		host := "l3" + i.name[1:]
		output(t, "ip", "link", "add", host, "type", "veth", "peer", "name", i.name, "address", i.link.MAC, "netns", name)
		output(t, "ip", "link", "set", host, "master", BridgeName(i.link.Network), "up")
		in("ip", "addr", "add", i.link.Addresses[0].String(), "dev", i.name)
		in("ip", "link", "set", i.name, "up")
	}
	in("ip", "route", "add", "default", "via", spec.External.Gateways[0].String())
	in("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=1")
	for _, line := range cloudFirewall {
		in("nft", line)
	}
}

// cloudFirewall is Neutron's way, and a little more: what did not come by an interface of its own leaves by none, and NAT is
// for everybody.
var cloudFirewall = []string{
	"add table ip cloud",
	"add chain ip cloud marks { type filter hook prerouting priority mangle; }",
	"add rule ip cloud marks iifname != ipsec0 meta mark set meta mark & 0x0000ffff ^ 0x04000000",
	"add chain ip cloud scope { type filter hook forward priority filter; }",
	"add rule ip cloud scope oifname qr-* meta mark & 0xffff0000 != 0x04000000 drop",
	"add chain ip cloud leaving { type nat hook postrouting priority srcnat; }",
	"add rule ip cloud leaving masquerade",
}

func removeCloudRouter(t *testing.T, name string, spec vpn.Spec) {
	t.Helper()
	for _, i := range wantedInterfaces(spec) {
		_ = exec.Command("ip", "link", "del", "l3"+i.name[1:]).Run() // it may be gone
	}
	if _, err := os.Stat(filepath.Join(netnsDir, name)); err == nil {
		output(t, "ip", "netns", "del", name)
	}
}

// picture is what a cloud's router looks like, but for what charon does in it.
func picture(t *testing.T, name string) string {
	t.Helper()
	var out []string
	for _, args := range [][]string{{"ip", "-4", "-br", "addr"}, {"ip", "-br", "link"}, {"ip", "route"}, {"ip", "rule"}, {"nft", "list", "tables"},
		{"sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.all.rp_filter"}} {
		out = append(out, output(t, append([]string{"ip", "netns", "exec", name}, args...)...))
	}
	return peerIndex.ReplaceAllString(strings.Join(out, ""), "")
}

var peerIndex = regexp.MustCompile(`@[\w-]+`)

// In a namespace that a cloud made, tunnels stand as in our own; nothing of the cloud's is touched, and Remove leaves it as
// it was. A namespace that is made anew gets its tunnel again.
func TestBorrowedNamespace(t *testing.T) {
	t.Parallel()
	const router = "aaaaabc1-1111-4111-8111-111111111111"
	s := newSite(t, router, branchSwanctl(testPSK, netA))
	spec := testSpec(router, testConnection("c1"))
	spec.Namespace, spec.Mark = "qrouter-"+router, &vpn.Mark{Value: 0x04000000, Mask: 0xffff0000}
	t.Cleanup(func() { removeCloudRouter(t, spec.Namespace, spec) })
	cloudRouter(t, spec.Namespace, spec)
	before := picture(t, spec.Namespace)
	s.set(spec)
	s.awaitUp(router, "c1")
	s.ping("10.2.0.1")

	// A selector in which the router has no address: userland ESP needs one, beside the cloud's own; the kernel needs none.
	more := testConnection("c2")
	more.PeerAddress, more.PeerID = "192.0.2.3", "192.0.2.3"
	more.Local, more.Peer = prefixes("10.9.0.0/24"), prefixes("10.8.0.0/24")
	s.set(testSpecIn(spec, append(slices.Clone(spec.Connections), more)))
	if lo := output(t, "ip", "netns", "exec", spec.Namespace, "ip", "-br", "addr", "show", "dev", "lo"); strings.Contains(lo, "10.9.0.1/32") == testbox.KernelESP() || !strings.Contains(lo, "203.0.113.77/32") {
		t.Errorf("lo with a selector that needs an address: %s", lo)
	}
	s.set(spec)
	s.ping("10.2.0.1")

	// The cloud does as it likes, and tells nobody: the gateway looks.
	in := func(args ...string) { output(t, append([]string{"ip", "-n", spec.Namespace}, args...)...) }
	qg := wantedInterfaces(spec)[0].name
	in("addr", "del", "192.0.2.1/24", "dev", qg) // as on a host that is standby from now on
	if why := s.awaitReason(router, "c1", "local_address_missing"); !strings.Contains(why.Summary, "192.0.2.1") || !strings.Contains(why.Summary, spec.Namespace) {
		t.Errorf("without its address: %+v", why)
	}
	in("addr", "add", "192.0.2.1/24", "dev", qg)
	in("route", "replace", "default", "via", spec.External.Gateways[0].String())
	s.awaitUp(router, "c1")
	s.ping("10.2.0.1")
	removeCloudRouter(t, spec.Namespace, spec)
	spec.Rev = s.rev
	if err := s.Set(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "L3 agent") {
		t.Fatalf("set without the namespace: %v", err)
	}
	cloudRouter(t, spec.Namespace, spec)
	s.awaitPing("10.2.0.1")
	s.awaitUp(router, "c1")

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := newFixture(t, s.runDir) // it knows of the namespace from the folder alone
	if err := next.Remove(t.Context(), router); err != nil {
		t.Fatal(err)
	}
	if after := picture(t, spec.Namespace); after != before {
		t.Errorf("the cloud's router before:\n%s\nand after:\n%s", before, after)
	}
	if _, err := os.Stat(next.folderOf(router)); !os.IsNotExist(err) {
		t.Errorf("the folder after Remove: %v", err)
	}
}

func testSpecIn(spec vpn.Spec, conns []vpn.ConnectionSpec) vpn.Spec {
	spec.Connections = conns
	return spec
}

// awaitPing waits until a ping through the tunnel is answered.
func (s *site) awaitPing(lan string) {
	s.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; {
		got, err := s.host.Ping(s.t.Context(), netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr(lan), 1, 0)
		if err == nil && got.Received == 1 {
			return
		}
		if err != nil || time.Now().After(deadline) {
			s.t.Fatalf("ping %s: %v, %v", lan, got, err)
		}
	}
}
