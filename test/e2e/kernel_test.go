package e2e

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/internal/testbox"
	"culvert/internal/uml"
)

// notInTheGuest are the tests of this package that do not run in TestKernelESP, and why.
func notInTheGuest() map[string]string {
	out := withoutTheKernel()
	if os.Getenv("CULVERT_SOAK") == "" {
		for _, name := range []string{"TestDemoFolderOfAServer", "TestDemoKilled", "TestDemoWithoutItsTerminal", "TestSecondDemo"} {
			out[name] = "the tunnel is that of TestDemo, and it takes long there: in make soak"
		}
	}
	return out
}

// withoutTheKernel are those that show nothing of the data plane.
func withoutTheKernel() map[string]string {
	const noTunnel = "it makes no tunnel, and a program's start takes a second there"
	const sandbox = "culvert sandbox has userland ESP everywhere, whose guard takes nftables for inet"
	return map[string]string{
		"TestTimeline":                        "charon is killed while a new process takes its first look there, which then may tell once more that the tunnel is up",
		"TestKernelESP":                       "it starts the guest",
		"TestAcknowledgedWritesOnSQLite":      noTunnel,
		"TestAcknowledgedWritesOnPostgreSQL":  noTunnel,
		"TestAgentsRunFolder":                 noTunnel,
		"TestDemoInterruptedEarly":            noTunnel,
		"TestDemoOnAPortInUse":                noTunnel,
		"TestFirstStartPrintsThePasswordOnce": noTunnel,
		"TestHelp":                            noTunnel,
		"TestKeyRotationOfNothing":            noTunnel,
		"TestOnAllAddressesBehindAProxy":      noTunnel,
		"TestPendingEnds":                     noTunnel,
		"TestTwoServersOnOneFolder":           noTunnel,
		"TestUnmappedPhysicalNetwork":         noTunnel,
		"TestWithoutRoot":                     noTunnel,
		"TestWrongUse":                        noTunnel,
		"TestSandbox":                         sandbox,
		"TestSandboxArguments":                sandbox,
		"TestSandboxInterruptedEarly":         sandbox,
		"TestSandboxKilled":                   sandbox,
	}
}

// TestKernelESP runs the tests of this package again in a guest whose kernel does ESP: the program there, with --dataplane
// auto, finds that out by itself (sitetest.NewSite checks it).
func TestKernelESP(t *testing.T) {
	t.Parallel()
	guest, err := uml.Start(t.Context(), uml.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	start := time.Now()
	passed, err := guest.Rerun(ctx, uml.Rerun{Env: testbox.InGuest(), AtOnce: 3, Except: notInTheGuest()})
	t.Logf("the guest was up after %s; passed in it in %s: %s", guest.Booted, time.Since(start), strings.Join(passed, ", "))
	if err != nil {
		t.Fatal(err)
	}
}
