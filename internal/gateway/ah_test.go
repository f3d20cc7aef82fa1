package gateway

import (
	"strings"
	"testing"

	"culvert/internal/testbox"
)

// TestTunnelAH has transform_protocol ah: the kernel does it, userland refuses it with a reason.
func TestTunnelAH(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaab6-1111-4111-8111-111111111111", branchSwanctl(testPSK, strings.Replace(netA, "esp_proposals = aes256-", "ah_proposals = ", 1)))
	c := testConnection("c1")
	c.ESP.Protocol = "ah"
	s.set(testSpec(s.router, c))
	if !testbox.KernelESP() {
		why := s.awaitReason(s.router, "c1", "ah_unsupported")
		t.Logf("userland: %s; %s", why.Summary, why.Hint)
		s.noPing("10.2.0.1")
		return
	}
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")
	states := output(t, "ip", "-n", NamespaceName(s.router), "xfrm", "state")
	if !strings.Contains(states, "proto ah ") || strings.Contains(states, "proto esp ") {
		t.Errorf("the kernel has the SAs:\n%s", states)
	}
}
