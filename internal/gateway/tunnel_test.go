package gateway

import (
	"net/netip"
	"testing"
	"time"

	"culvert/internal/gateway/gatewaytest"
)

// site is a router of a gateway, a host on its inner network, and the branch.
type site struct {
	*fixture
	router string
	branch *gatewaytest.Branch
	host   *gatewaytest.Host
}

func newSite(t *testing.T, router, swanctl string) *site {
	t.Helper()
	needRoot(t)
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	s := &site{router: router}
	spec := testSpec(router)
	s.branch = startBranch(t, gatewaytest.Config{
		Name: "b-" + short(router)[:8], Bridge: BridgeName(spec.External.Network), Address: prefixes("192.0.2.2/24"),
		LAN: addrs("10.2.0.1", "10.3.0.1"), RunDir: runDir + "-b", Swanctl: swanctl,
	})
	s.host = startHost(t, gatewaytest.HostConfig{
		Name: "h-" + short(router)[:8], Bridge: BridgeName(spec.Internal[0].Network), Address: prefixes("10.1.0.10/24"), Gateway: addrs("10.1.0.1"),
	})
	s.fixture = newFixture(t, runDir)
	return s
}

func (s *site) ping(lan string) {
	s.t.Helper()
	there, here := netip.MustParseAddr(lan), netip.MustParseAddr("10.1.0.10")
	for _, p := range []struct {
		host     *gatewaytest.Host
		from, to netip.Addr
	}{{s.host, here, there}, {s.branch.Host, there, here}} {
		got, err := p.host.Ping(s.t.Context(), p.from, p.to, 3, 5*time.Millisecond)
		if err != nil || got.Received != 3 {
			s.t.Fatalf("ping %s from %s: %v, %v", p.to, p.from, got, err)
		}
	}
}

func TestTunnel(t *testing.T) {
	s := newSite(t, "aaaaaaaa-1111-4111-8111-111111111111", branchSwanctl(testPSK, child("net", "10.2.0.0/24", "10.1.0.0/24")))
	spec := testSpec(s.router, testConnection("c1"))
	start := time.Now()
	s.set(spec)
	t.Logf("set: %s", time.Since(start))
	s.awaitUp(s.router, "c1")
	t.Logf("up: %s", time.Since(start))
	s.ping("10.2.0.1")
}
