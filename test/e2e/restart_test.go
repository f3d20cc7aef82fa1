package e2e

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRestartUnderPings ends the server in every way while pings run through a tunnel of its gateway.
func TestRestartUnderPings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	spis, pid := c.spis(), s.charonPID()
	pings := c.pingOn(10 * time.Millisecond)
	for _, signal := range []syscall.Signal{unix.SIGKILL, unix.SIGKILL, unix.SIGTERM} {
		log := s.charonLog()
		code := s.end(signal)
		if signal == unix.SIGTERM && code != 0 {
			t.Errorf("after SIGTERM the exit code is %d:\n%s", code, tail(s.output.String(), 40))
		}
		c.ping()
		s.start()
		s.awaitOutput("synced with the server", 10*time.Second)
		s.awaitService("ACTIVE", "")
		c.awaitActive()
		c.put(map[string]any{"description": "after " + signal.String()}) // no affair of the gateway's
		c.awaitActive()
		c.keepsSPIs("restarted after "+signal.String(), spis)
		if now := s.charonPID(); now != pid {
			t.Errorf("%v: charon has the process id %s, before %s", signal, now, pid)
		}
		for line := range strings.Lines(s.charonLog()[len(log):]) {
			for _, write := range []string{"added vici", "updated vici", "removed", "loaded", "unload", "vici initiate", "vici terminate", "initiating"} {
				if strings.Contains(line, write) {
					t.Errorf("%v: VICI writes after the restart: %s", signal, line)
				}
			}
		}
	}
	pings.stopWithoutLoss("the server restarts", 50)
}

// TestNoPlaintext kills charon while packets for the branch come in, first with the gateway running and then without.
func TestNoPlaintext(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	c.ping()
	wire := startCapture(t, s.namespace(), "qg-")
	if _, err := s.hq.Ping(t.Context(), addr(hqHost), addr(nextHop), 2, 5*time.Millisecond); err != nil { // no network of the tunnel's
		t.Fatal(err)
	}
	poll(t, 2*time.Second, "the capture sees what the router forwards in clear", func() bool { return wire.now().inner > 0 })

	pings, spis := c.pingOn(2*time.Millisecond), c.spis()
	s.killCharon()
	c.awaitRenewed(spis)
	if got := pings.stop(); got.Lost() == 0 || got.Received == 0 {
		t.Errorf("pings while charon is killed: %s; want some lost and some answered", got)
	}
	c.ping()

	s.end(unix.SIGKILL)
	s.killCharon()
	got, err := s.hq.Ping(t.Context(), addr(hqHost), addr(c.remote), 200, 2*time.Millisecond)
	if err != nil || got.Received > 0 {
		t.Errorf("pings without charon: %s, %v; want all lost", got, err)
	}
	s.start()
	pings = c.pingOn(2 * time.Millisecond)
	s.awaitCharonSAs()
	c.awaitActive()
	c.ping()
	pings.stop()
	wire.nothingInClear(t)
}

// awaitCharonSAs waits until the router's charon, which may be about to start, has a CHILD_SA: until its gateway's first
// report the server answers the status from before.
func (s *site) awaitCharonSAs() {
	s.t.Helper()
	poll(s.t, 15*time.Second, "the router's charon has a CHILD_SA", func() bool {
		for _, socket := range glob(s.t, "/run/culvert/*/"+s.router+"/charon.vici") {
			out, err := exec.Command("swanctl", "--list-sas", "--uri", "unix://"+socket).CombinedOutput()
			return err == nil && strings.Contains(string(out), "INSTALLED")
		}
		return false
	})
}

// killCharon ends the router's charon as a crash does.
func (s *site) killCharon() {
	s.t.Helper()
	pid, err := strconv.Atoi(s.charonPID())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		s.t.Fatalf("kill charon: %v", err)
	}
}
