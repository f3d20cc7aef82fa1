package gateway

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/testbox"
	"culvert/internal/uml"
)

// takesTables are the tests that take nftables for IP: of the guard, or for a packet filter on the way. User-mode-linux has none,
// and there the guard is the SPD alone.
func takesTables() []string {
	return []string{"TestBind", "TestBindLater", "TestBorrowedNamespace", "TestExamine", "TestKernelGuard", "TestMTUBlackHole", "TestMTUOnTheWire",
		"TestOneWayTraffic", "TestProbeIPv6", "TestProbeLost", "TestSilentPeers", "TestTablesHoldAlone"}
}

// TestKernelESP runs the tests of this package again in a guest whose kernel does ESP: the same scenarios on the other data
// plane, which the gateway there finds by itself. It comes before the parallel tests, since the guest has one processor.
func TestKernelESP(t *testing.T) {
	except := map[string]string{
		"TestKernelESP":               "it starts the guest",
		"TestKernelTables":            "likewise",
		"TestEndedAttemptSaysNothing": "IKE alone, with a packet filter and limits of time",
		"TestLinks":                   "links know no data plane; the rules, as text, are TestKernelGuard's",
		"TestPreference":              "IKE alone, with 12 daemons one after the other",
		"TestJournalIsBounded":        "a file, which takes long there",
	}
	for _, name := range takesTables() {
		except[name] = "runs in TestKernelTables"
	}
	rerun(t, uml.Config{}, uml.Rerun{AtOnce: 4, Alone: []string{"TestCharonDies", "TestLinger", "TestMeterAsksSeldom"}, Except: except})
}

// TestKernelTables runs those that user-mode-linux cannot on Debian's own kernel, in an emulator, which is slower.
func TestKernelTables(t *testing.T) {
	rerun(t, uml.Config{Emulated: true}, uml.Rerun{AtOnce: 2, Only: append(takesTables(), "TestNoPlaintext")})
}

func rerun(t *testing.T, guest uml.Config, tests uml.Rerun) {
	t.Helper()
	g, err := uml.Start(t.Context(), guest)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	start := time.Now()
	tests.Env = testbox.InGuest()
	passed, err := g.Rerun(ctx, tests)
	if err != nil {
		t.Fatal(err)
	}
	passed = slices.DeleteFunc(passed, func(test string) bool { return strings.HasSuffix(test, "(0.00s)") }) // those without a tunnel
	t.Logf("the guest was up after %s; passed in it in %s: %s", g.Booted, time.Since(start), strings.Join(passed, ", "))
}
