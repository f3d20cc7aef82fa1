package gateway

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/internal/vpn"
)

func bind(router, name string) func(*Config) {
	return func(c *Config) { c.Bind = map[string]string{router: name} }
}

// box makes of a network namespace, "" for the test's own, a branch gateway box: a WAN and a LAN interface on the site's
// bridges, forwarding, and masquerading of all that leaves. It answers how to run programs there.
func box(t *testing.T, name string, spec vpn.Spec) (in func(args ...string) string) {
	t.Helper()
	in = func(args ...string) string { return output(t, args...) }
	target := "1"
	if name == "" { // what the bridges here carry is the box's own traffic once more: no rule is meant to see it twice
		keepSetting(t, "net/bridge/bridge-nf-call-iptables", "0")
		keepSetting(t, "net/ipv4/ip_forward", "1")
	} else {
		output(t, "ip", "netns", "add", name)
		t.Cleanup(func() { output(t, "ip", "netns", "del", name) })
		in = func(args ...string) string {
			return output(t, append([]string{"ip", "netns", "exec", name}, args...)...)
		}
		target = name
	}
	for _, l := range []struct{ name, bridge, address string }{
		{"wan" + spec.Router[:6], BridgeName(spec.External.Network), "192.0.2.1/24"},
		{"lan" + spec.Router[:6], BridgeName(spec.Internal[0].Network), "10.1.0.1/24"},
	} {
		output(t, "ip", "link", "add", "b"+l.name, "type", "veth", "peer", "name", l.name, "netns", target)
		t.Cleanup(func() { output(t, "ip", "link", "del", "b"+l.name) })
		output(t, "ip", "link", "set", "b"+l.name, "master", l.bridge, "up")
		in("ip", "link", "set", l.name, "up")
		in("ip", "addr", "add", l.address, "dev", l.name)
	}
	t.Cleanup(func() { in("nft", "delete table ip box") })
	masquerade(in, spec)
	in("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	return in
}

func masquerade(in func(args ...string) string, spec vpn.Spec) {
	in("nft", "add table ip box; add chain ip box leaving { type nat hook postrouting priority srcnat; }; add rule ip box leaving oifname wan"+spec.Router[:6]+" masquerade")
}

// keepSetting sets one of the sandbox itself until the test ends.
func keepSetting(t *testing.T, name, value string) {
	t.Helper()
	path := filepath.Join("/proc/sys", name)
	before, err := os.ReadFile(path)
	if os.IsNotExist(err) { // of a module that is not there
		return
	}
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, before, 0); err != nil {
			t.Error(err)
		}
	})
}

// A router that the operator has bound to a namespace, or to the host's network itself: tunnels stand there with the
// addresses and links that are there; nothing else is touched; another process finds it all again, and Remove leaves it as
// it was. The host's is the sandbox's.
func TestBind(t *testing.T) {
	for _, c := range []struct{ title, router, name, bind string }{
		{"a namespace", "baaaaac1-1111-4111-8111-111111111111", "boxbaa", "boxbaa"},
		{"the host", "bbaaaac1-1111-4111-8111-111111111111", "", HostNetwork},
	} {
		t.Run(c.title, func(t *testing.T) {
			s := newSite(t, c.router, branchSwanctl(testPSK, netA), bind(c.router, c.bind))
			spec := testSpec(c.router, testConnection("c1"))
			in := box(t, c.name, spec)
			look := func() string {
				text := in("ip", "-4", "-o", "addr") + in("ip", "route") + in("ip", "rule") + in("nft", "list", "tables")
				return peerIndex.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
			}
			before := look()
			s.set(spec)
			s.awaitUp(c.router, "c1")
			s.ping("10.2.0.1")
			if lo := in("ip", "-4", "-br", "addr", "show", "dev", "lo"); strings.Contains(lo, "10.1") {
				t.Errorf("lo: %s", lo)
			}
			if _, err := os.Stat(filepath.Join(netnsDir, NamespaceName(c.router))); !os.IsNotExist(err) {
				t.Errorf("a namespace of our own: %v", err)
			}

			s.next(bind(c.router, c.bind))
			spis := s.spis(c.router, "c1")
			s.set(spec)
			s.awaitUp(c.router, "c1")
			if again := s.spis(c.router, "c1"); again != spis || s.Writes() != 0 {
				t.Errorf("after a restart: %s, before: %s; %d writes", again, spis, s.Writes())
			}

			// So are its nft rules, and whoever loads them anew may begin with a flush.
			guard := func() string { return sorted(in("nft", "-s", "list", "table", "inet", "culvert")) }
			want := guard()
			in("nft", "flush", "ruleset")
			masquerade(in, spec)
			awaitSame(t, "nft flush ruleset", want, func() string {
				if !strings.Contains(in("nft", "list", "tables"), "inet culvert") {
					return ""
				}
				return guard()
			})
			s.ping("10.2.0.1")

			// Its forwarding is its owner's. What the tunnel is then good for is said.
			in("sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
			s.await(c.router, "c1", "up with a warning", 10*time.Second, func(r vpn.ConnectionReport) bool {
				return r.State == vpn.StateUp && r.Reason != nil && r.Reason.Code == "forwarding_off"
			})
			in("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
			s.await(c.router, "c1", "up without a warning", 10*time.Second, func(r vpn.ConnectionReport) bool {
				return r.State == vpn.StateUp && r.Reason == nil
			})
			s.ping("10.2.0.1")

			s.next() // such as `culvert gateway down`, which knows of no binding
			if err := s.Remove(t.Context(), c.router); err != nil {
				t.Fatal(err)
			}
			if after := look(); after != before {
				t.Errorf("before:\n%s\nand after:\n%s", before, after)
			}
			if links := in("ip", "-br", "link"); strings.Contains(links, tunDevice) {
				t.Errorf("links after: %s", links)
			}
		})
	}
}

// next is another process on the same run directory.
func (s *site) next(with ...func(*Config)) {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	rev := s.rev
	s.fixture = newFixture(s.t, s.runDir, with...)
	s.rev = rev
}

// An operator may bind a router that has had a namespace of its own until now, and take that back: what was there goes.
func TestBindLater(t *testing.T) {
	t.Parallel()
	const router = "bcaaaac1-1111-4111-8111-111111111111"
	s := newSite(t, router, branchSwanctl(testPSK, netA))
	spec := testSpec(router, testConnection("c1"))
	s.set(spec)
	s.awaitUp(router, "c1")
	s.ping("10.2.0.1")

	own := filepath.Join(netnsDir, NamespaceName(router))
	s.next(bind(router, "boxbca"))
	if err := s.Set(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "--bind-router") || !strings.Contains(err.Error(), "boxbca") {
		t.Errorf("bound to a namespace that is not there: %v", err)
	}
	if _, err := os.Stat(own); !os.IsNotExist(err) {
		t.Errorf("the namespace of our own: %v", err)
	}
	in := box(t, "boxbca", spec)
	s.awaitUp(router, "c1")                                            // by itself, as soon as it is there
	output(t, "ip", "-n", s.host.Namespace(), "neigh", "flush", "all") // its gateway has another MAC now
	s.ping("10.2.0.1")

	s.next()
	s.set(spec)
	s.awaitUp(router, "c1")
	if left := in("nft", "list", "tables") + in("ip", "-br", "link"); !strings.HasPrefix(left, "table ip box\n") || strings.Contains(left, "culvert") || strings.Contains(left, tunDevice) {
		t.Errorf("left in the box: %s", left)
	}
	if _, err := os.Stat(own); err != nil {
		t.Error(err)
	}
}

func TestCheckBind(t *testing.T) {
	const a, b = "aaaaaaaa-1111-4111-8111-111111111111", "bbbbbbbb-1111-4111-8111-111111111111"
	for _, c := range []struct {
		bind map[string]string
		says string
	}{
		{map[string]string{a: "box", b: HostNetwork}, ""},
		{map[string]string{"../x": "box"}, "no router's id"},
		{map[string]string{a: "a/b"}, "network namespace's name"},
		{map[string]string{a: ""}, "network namespace's name"},
		{map[string]string{b: "box", a: "box"}, "routers " + a + " and " + b},
		{map[string]string{b: HostNetwork, a: HostNetwork}, "same network namespace"},
	} {
		err := CheckBind(c.bind)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.bind, err, c.says)
		}
	}
}

// An address that no interface has is nothing to speak IKE from.
func TestAddressAway(t *testing.T) {
	for _, c := range []struct {
		namespace string
		bound     bool
		says      []string
	}{
		{"qrouter-1", false, []string{"192.0.2.1", "namespace qrouter-1", "L3 agent"}},
		{"box", true, []string{"namespace box", "--bind-router", "external_fixed_ips"}},
		{HostNetwork, true, []string{"this machine's network", "--bind-router"}},
	} {
		why := addressAway(netip.MustParseAddr("192.0.2.1"), c.namespace, c.bound)
		for _, text := range c.says {
			if !strings.Contains(why.Summary+" "+why.Hint, text) {
				t.Errorf("%+v lacks %q", why, text)
			}
		}
	}
}
