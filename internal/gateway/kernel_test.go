package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"culvert/internal/testbox"
	"culvert/internal/uml"
)

// The scenarios of the guest: first those with a limit of time, one after the other, then the others. Those that look at nft
// rules stay on the host: Debian's user-mode-linux has no nftables for inet, and the guard there is the SPD alone.
const (
	timed     = "^TestCharonDies$"
	scenarios = "^Test(TunnelInitiatedByUs|TunnelInitiatedByPeer|TunnelIKEv1|TunnelIPv6|TunnelAH|PeerKilledAndBack|OtherConnectionsKeepTheirSAs|" +
		"CountersMatchWhatWasSent|Probe|WhyDown|Siblings|NoPlaintext|NoPacketLost|RemoveLeavesNothing|Linger)$"
)

// TestKernelESP runs tests of this package again in a guest whose kernel does ESP: the same scenarios on the other data plane,
// which the gateway there finds by itself. It comes before the parallel tests, since the guest has one processor.
func TestKernelESP(t *testing.T) {
	guest, err := uml.Start(t.Context(), uml.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	t.Logf("the guest was up after %s", guest.Booted)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	for _, run := range []struct {
		count             int
		pattern, parallel string
	}{{1, timed, "-test.parallel=1"}, {15, scenarios, "-test.parallel=4"}} {
		start := time.Now()
		passed, err := guest.Tests(ctx, testbox.InGuest(), run.count, run.pattern, run.parallel)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("passed in the guest in %s: %s", time.Since(start), strings.Join(passed, ", "))
	}
}
