package gateway

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/internal/vpn"
)

// machine is what ip and nft print of a router, without what changes from run to run.
func machine(t *testing.T, router string) string {
	t.Helper()
	ns := NamespaceName(router)
	var out strings.Builder
	for _, args := range []string{"-4 -br addr", "-6 -br addr show scope global", "link show type veth", "route", "-6 route show default"} {
		text := output(t, append([]string{"ip", "-n", ns}, strings.Fields(args)...)...)
		fmt.Fprintf(&out, "# ip %s\n%s", args, volatile.ReplaceAllString(text, ""))
	}
	fmt.Fprintf(&out, "# sysctl\n%s", output(t, "ip", "netns", "exec", ns, "sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding",
		"net.ipv4.conf.all.rp_filter", "net.ipv6.conf.default.accept_ra"))
	return out.String()
}

var volatile = regexp.MustCompile(`(?m)@[\w-]+|^\d+: | link-netnsid \d+| qlen \d+| state [A-Z]+| +(?:UP|UNKNOWN|DOWN|LOWERLAYERDOWN) | *$`)

func dualStack(spec vpn.Spec) vpn.Spec {
	spec.External.Addresses = append(spec.External.Addresses, prefixes("2001:db8::1/64")...)
	spec.External.Gateways = append(spec.External.Gateways, addrs("2001:db8::fe")...)
	c := testConnection("c2")
	c.Local, c.Peer = prefixes("10.1.0.0/24", "10.8.0.0/24"), prefixes("10.2.0.0/24", "0.0.0.0/0")
	c6 := testConnection("c3")
	c6.Local, c6.Peer = prefixes("2001:db8:1::/64"), prefixes("2001:db8:2::/64")
	c6.AdminStateUp = false
	spec.Connections = append(spec.Connections, c, c6)
	for i := range spec.Connections {
		spec.Connections[i].Initiate = false
	}
	return spec
}

func TestLinks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const router = "bbbbbbb1-1111-4111-8111-111111111111"
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	f := newFixture(t, runDir)
	spec := dualStack(testSpec(router))
	f.set(spec)
	want := machine(t, router)
	golden(t, "links.txt", want)
	golden(t, "guard.txt", output(t, "ip", "netns", "exec", NamespaceName(router), "nft", "-s", "list", "ruleset"))

	// What somebody breaks is mended by the same Spec.
	ns := NamespaceName(router)
	qr, qg := "qr-"+short(spec.Internal[0].Port), "qg-"+short(spec.External.Port)
	for _, args := range []string{
		"addr add 10.9.9.9/24 dev " + qr, "addr del 10.1.0.1/24 dev " + qr, "link set " + qg + " mtu 1300",
		"route del default", "link set " + qr + " address 02:00:00:00:00:01",
	} {
		output(t, append([]string{"ip", "-n", ns}, strings.Fields(args)...)...)
	}
	output(t, "ip", "link", "set", hostEnd(spec.Internal[0].Port), "nomaster")
	output(t, "ip", "netns", "exec", ns, "nft", "flush", "chain", "inet", "culvert", "forward")
	f.set(spec) // at once for the guard; for links, which must not keep tunnels waiting, a moment later
	golden(t, "guard.txt", output(t, "ip", "netns", "exec", ns, "nft", "-s", "list", "ruleset"))
	if took := f.awaitRewired(router); took > 3*time.Second {
		t.Errorf("the links were looked at %s after Set, want 3 s", took)
	}
	if got := machine(t, router); got != want {
		t.Errorf("mended:\n%s\nwant:\n%s", got, want)
	}
	if master := output(t, "ip", "-br", "link", "show", "master", BridgeName(spec.Internal[0].Network)); !strings.Contains(master, hostEnd(spec.Internal[0].Port)) {
		t.Errorf("the bridge has %q", master)
	}

	// A network that goes takes its link and bridge with it; a port that changes is replaced.
	spec.Internal = nil
	f.set(spec)
	if got := machine(t, router); strings.Contains(got, "qr-") {
		t.Errorf("without internal links:\n%s", got)
	}
	if links := output(t, "ip", "-br", "link"); strings.Contains(links, BridgeName("10"+router)) {
		t.Errorf("the bridge is left:\n%s", links)
	}
}

// awaitRewired waits until the look at the links that a Set asks for is over, and answers how long that took.
func (f *fixture) awaitRewired(router string) time.Duration {
	f.t.Helper()
	r, start := f.find(router), time.Now()
	for ; ; time.Sleep(5 * time.Millisecond) {
		r.op.Lock() // held while links are looked at
		pending := r.rewire
		r.op.Unlock()
		if took := time.Since(start); !pending {
			return took
		} else if took > 15*time.Second {
			f.t.Fatalf("the links are not looked at within %s", took)
		}
	}
}

// TestPhysical maps one network to a bridge and one to a plain interface.
func TestPhysical(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const router = "bbbbbbb2-1111-4111-8111-111111111111"
	for _, args := range []string{"link add gwt-br type bridge", "link set gwt-br up", "link add gwt-a type veth peer name gwt-b", "link set gwt-a up"} {
		output(t, append([]string{"ip"}, strings.Fields(args)...)...)
	}
	t.Cleanup(func() { output(t, "ip", "link", "del", "gwt-br"); output(t, "ip", "link", "del", "gwt-a") })
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	f := newFixture(t, runDir)
	f.cfg.Physical = map[string]string{"wan": "gwt-a", "lan": "gwt-br"}
	spec := testSpec(router)
	spec.External.Physical, spec.Internal[0].Physical = "wan", "lan"
	f.set(spec)
	if text := output(t, "ip", "-d", "-n", NamespaceName(router), "link", "show", "type", "macvlan"); !strings.Contains(text, "macvlan mode bridge") ||
		!strings.Contains(text, "qg-") || !strings.Contains(text, "fa:16:3e:00:00:01") {
		t.Errorf("no macvlan: %s", text)
	}
	if text := output(t, "ip", "-br", "link", "show", "master", "gwt-br"); !strings.Contains(text, "ch-") {
		t.Errorf("the bridge has %q", text)
	}
	f.set(spec)
	spec.External.Physical = "elsewhere"
	if err := f.Set(t.Context(), spec); err == nil || !strings.Contains(err.Error(), `"elsewhere"`) {
		t.Errorf("an unmapped physical network: %v", err)
	}
}

// TestFailureNamesNothingOfTheHost has each step fail that an operator's mistake can make fail: the error, which is logged, names
// what was not there, the reason, which tenants read, what could not be done.
func TestFailureNamesNothingOfTheHost(t *testing.T) {
	needRoot(t)
	const router = "bbbbbbb6-1111-4111-8111-111111111111"
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	f := newFixture(t, runDir)
	charon := f.program
	for _, x := range []struct {
		secret, step, hint string
		spoil              func(g *Gateway, s *vpn.Spec)
	}{
		{"gwt-secret0", "connect the router to its networks", "check --physical-network wan=… of the gateway", func(g *Gateway, s *vpn.Spec) {
			g.cfg.Physical = map[string]string{"wan": "gwt-secret0"}
			s.External.Physical = "wan"
		}},
		{"/gwt/secret1", "start the router's IKE daemon", "", func(g *Gateway, s *vpn.Spec) { g.program = "/gwt/secret1" }},
		{"gwt-secret2", "enter the router's network namespace", "the cloud's L3 agent has not made this router on the gateway's host", func(g *Gateway, s *vpn.Spec) { s.Namespace = "gwt-secret2" }},
	} {
		spec := testSpec(router, testConnection("c1"))
		f.rev++
		spec.Rev = f.rev
		x.spoil(f.Gateway, &spec)
		r, err := f.Gateway.router(router)
		if err == nil {
			err = r.set(t.Context(), spec)
		}
		if err == nil || !strings.Contains(err.Error(), x.secret) {
			t.Errorf("%s: the error is %v", x.step, err)
			continue
		}
		r.mu.Lock()
		why := *r.failure
		r.mu.Unlock()
		if want := "the gateway host could not " + x.step + "; its log has the details"; why.Summary != want || x.hint != "" && why.Hint != x.hint || strings.Contains(why.Hint, x.secret) {
			t.Errorf("the reason is %+v, want %q, %q", why, want, x.hint)
		}
		f.program, f.cfg.Physical = charon, nil
	}
}

// TestKernelGuard shows what nft makes of the guard of the kernel path, in a namespace of our own and in the host's network; the
// rules need no ESP to be loaded.
func TestKernelGuard(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, namespace := range map[string]string{"guard_kernel.txt": "", "guard_kernel_host.txt": HostNetwork} {
		t.Run(name, func(t *testing.T) {
			ns, err := createNamespace("gwt-guard")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ns.Close()
				if err := deleteNamespace("gwt-guard"); err != nil {
					t.Error(err)
				}
			})
			spec := dualStack(testSpec("r"))
			spec.Namespace, spec.Mark = namespace, &vpn.Mark{Value: 0x04000000, Mask: 0xffff0000} // the mark is of no use on this path
			if out, err := (guard{ns}).set(guardRules(spec, Kernel), true); err != nil || out.extra {
				t.Fatal(out, err)
			}
			golden(t, name, output(t, "ip", "netns", "exec", "gwt-guard", "nft", "-s", "list", "ruleset"))
		})
	}
}
