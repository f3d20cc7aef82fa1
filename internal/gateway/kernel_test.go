package gateway

import (
	"context"
	"regexp"
	"testing"
	"time"

	"culvert/internal/testbox"
	"culvert/internal/uml"
)

// The scenarios of the guest: first those with a limit of time, one after the other, then the others. Those that look at nft
// rules stay on the host: Debian's user-mode-linux has no nftables for inet, and the guard there is the SPD alone.
const (
	timed     = "^TestCharonDies$"
	scenarios = "^Test(TunnelInitiatedByUs|TunnelInitiatedByPeer|TunnelIKEv1|TunnelIPv6|PeerKilledAndBack|OtherConnectionsKeepTheirSAs|" +
		"CountersMatchWhatWasSent|Probe|WhyDown|Siblings|NoPlaintext|NoPacketLost|RemoveLeavesNothing)$"
)

// TestKernelESP runs this package's tests again in a guest whose kernel does ESP: the same scenarios on the other data plane,
// which the gateway there finds by itself. It comes before the parallel tests, since the guest has one processor.
func TestKernelESP(t *testing.T) {
	if testbox.KernelESP() {
		return // this is the guest's run
	}
	guest, err := uml.Start(t.Context(), uml.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	t.Logf("the guest was up after %s", guest.Booted)
	runInGuest(t, guest, 1, timed, "-test.parallel=1")
	runInGuest(t, guest, 13, scenarios, "-test.parallel=4")
}

func runInGuest(t *testing.T, guest *uml.Guest, count int, tests string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	start := time.Now()
	out, err := guest.Rerun(ctx, testbox.InGuest(), append(args, "-test.v", "-test.run="+tests)...)
	passed := regexp.MustCompile(`(?m)^--- PASS: (\S+) \((\S+)s\)`).FindAllStringSubmatch(out, -1)
	if err != nil || len(passed) != count {
		t.Fatalf("%d of %d tests passed in the guest, %v\n%s\nthe guest's console:\n%s", len(passed), count, err, out, guest.Console())
	}
	t.Logf("%d tests passed in the guest in %s", len(passed), time.Since(start))
	for _, test := range passed {
		if test[2] >= "1" {
			t.Logf("%s s  %s", test[2], test[1])
		}
	}
}
