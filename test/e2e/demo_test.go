package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// The demo's tests run alone: they look at everything in the sandbox.

func TestDemo(t *testing.T) {
	leavesNothing(t, func() {
		d := startDemo(t, t.TempDir())
		if code := d.end(syscall.SIGINT); code != 0 {
			t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, tail(d.output.String(), 40))
		}
	})
}

func TestDemoKilled(t *testing.T) {
	leavesNothing(t, func() {
		dir := t.TempDir()
		startDemo(t, dir).end(syscall.SIGKILL)
		d := startDemo(t, dir)
		if !strings.Contains(d.output.String(), "Cleaned up after an earlier demo: 1 routers") {
			t.Errorf("the second demo does not say what it cleaned up:\n%s", tail(d.output.String(), 80))
		}
		d.end(syscall.SIGKILL)
		d = startDemo(t, dir)
		if code := d.end(syscall.SIGINT); code != 0 {
			t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, tail(d.output.String(), 40))
		}
	})
}

// TestDemoInterruptedEarly ends the demo at moments while it lays its tunnel.
func TestDemoInterruptedEarly(t *testing.T) {
	for _, at := range []string{"shown this once", "VPN service on the router", "a plain strongSwan"} {
		leavesNothing(t, func() {
			d := launch(t, []as{inDir(t.TempDir())}, "demo", "--listen", listen(t))
			d.awaitOutput(at, 20*time.Second)
			d.end(syscall.SIGINT)
		})
	}
}

// TestDemoWithoutItsTerminal closes the terminal that the demo runs in.
func TestDemoWithoutItsTerminal(t *testing.T) {
	leavesNothing(t, func() { startDemo(t, t.TempDir()).end(syscall.SIGHUP) })
}

func TestDemoOnAPortInUse(t *testing.T) {
	s := newServer(t, "--gateway=none")
	code, out := run(t, []as{inDir(t.TempDir())}, "demo", "--listen", s.address)
	if code != 1 || !strings.Contains(out, s.address) {
		t.Errorf("exit code %d and:\n%s\nwant 1 and the address", code, out)
	}
}

// startDemo starts the demo and waits until its tunnel stands.
func startDemo(t *testing.T, dir string) *process {
	t.Helper()
	d := launch(t, []as{inDir(dir)}, "demo", "--listen", listen(t))
	d.awaitOutput("The tunnel stays up until Ctrl-C", 30*time.Second)
	for _, said := range []string{"POST to ACTIVE", "5 sent, 5 received", `"status": "ACTIVE"`, "curl -s http://" + listen(t), "openstack", "var/clouds.yaml"} {
		if !strings.Contains(d.output.String(), said) {
			t.Errorf("the demo does not say %q; it said:\n%s", said, d.output)
		}
	}
	return d
}
