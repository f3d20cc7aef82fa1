package gateway

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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
	in("nft", "add table ip cloud")
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
	for _, args := range [][]string{{"ip", "-4", "-br", "addr"}, {"ip", "-br", "link"}, {"ip", "route"}, {"nft", "list", "tables"},
		{"sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.all.rp_filter"}} {
		out = append(out, output(t, append([]string{"ip", "netns", "exec", name}, args...)...))
	}
	return peerIndex.ReplaceAllString(strings.Join(out, ""), "")
}

var peerIndex = regexp.MustCompile(`@if\d+`)

// In a namespace that a cloud made, tunnels stand as in our own; nothing of the cloud's is touched, and Remove leaves it as
// it was. A namespace that is made anew gets its tunnel again.
func TestBorrowedNamespace(t *testing.T) {
	t.Parallel()
	const router = "aaaaabc1-1111-4111-8111-111111111111"
	s := newSite(t, router, branchSwanctl(testPSK, netA))
	spec := testSpec(router, testConnection("c1"))
	spec.Namespace = "qrouter-" + router
	if err := s.Set(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "L3 agent") {
		t.Fatalf("set without the namespace: %v", err)
	}
	t.Cleanup(func() { removeCloudRouter(t, spec.Namespace, spec) })
	cloudRouter(t, spec.Namespace, spec)
	before := picture(t, spec.Namespace)
	s.set(spec)
	s.awaitUp(router, "c1")
	s.ping("10.2.0.1")

	// A selector in which the router has no address: userland ESP needs one, beside the cloud's own.
	more := testConnection("c2")
	more.PeerAddress, more.PeerID = "192.0.2.3", "192.0.2.3"
	more.Local, more.Peer = prefixes("10.9.0.0/24"), prefixes("10.8.0.0/24")
	s.set(testSpecIn(spec, append(slices.Clone(spec.Connections), more)))
	if lo := output(t, "ip", "netns", "exec", spec.Namespace, "ip", "-br", "addr", "show", "dev", "lo"); !strings.Contains(lo, "10.9.0.1/32") || !strings.Contains(lo, "203.0.113.77/32") {
		t.Errorf("lo with a selector that needs an address: %s", lo)
	}
	s.set(spec)
	s.ping("10.2.0.1")

	removeCloudRouter(t, spec.Namespace, spec)
	cloudRouter(t, spec.Namespace, spec)
	s.set(spec)
	s.awaitUp(router, "c1")
	s.ping("10.2.0.1")

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
