package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"culvert/internal/testbox"
	"culvert/internal/uml"
)

// TestKernelESP runs tests of this package again in a guest whose kernel does ESP: the program there, with --dataplane auto,
// finds that out by itself (sitetest.NewSite checks it).
func TestKernelESP(t *testing.T) {
	t.Parallel()
	guest, err := uml.Start(t.Context(), uml.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	start := time.Now()
	passed, err := guest.Tests(ctx, testbox.InGuest(), 4, "^Test(TunnelCarriesOnlyESP|RestartUnderPings|NoPlaintext|DeleteLeavesNothing)$",
		"-test.parallel=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the guest was up after %s; passed in it in %s: %s", guest.Booted, time.Since(start), strings.Join(passed, ", "))
}
