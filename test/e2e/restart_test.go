package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/sitetest"
	"culvert/internal/testbox"
)

// TestRestartUnderPings ends the server in every way while pings run through a tunnel of its gateway.
func TestRestartUnderPings(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	spis, pid := c.Settle(), s.CharonPID()
	pings := c.PingOn(10 * time.Millisecond)
	for _, signal := range []syscall.Signal{unix.SIGKILL, unix.SIGKILL, unix.SIGTERM} {
		log := s.CharonLog()
		code := s.End(signal)
		if signal == unix.SIGTERM && code != 0 {
			t.Errorf("after SIGTERM the exit code is %d:\n%s", code, sitetest.Tail(s.Output.String(), 40))
		}
		c.Ping()
		s.Start()
		s.AwaitOutput("synced with the server", 10*time.Second)
		s.AwaitService("ACTIVE", "")
		c.AwaitActive()
		c.Put(map[string]any{"description": "after " + signal.String()}) // no affair of the gateway's
		c.AwaitActive()
		c.KeepsSPIs("restarted after "+signal.String(), spis)
		if now := s.CharonPID(); now != pid {
			t.Errorf("%v: charon has the process id %s, before %s", signal, now, pid)
		}
		for line := range strings.Lines(s.CharonLog()[len(log):]) {
			for _, write := range []string{"added vici", "updated vici", "removed", "loaded", "unload", "vici initiate", "vici terminate", "initiating"} {
				if strings.Contains(line, write) {
					t.Errorf("%v: VICI writes after the restart: %s", signal, line)
				}
			}
		}
	}
	pings.StopWithoutLoss("the server restarts", 50)
}

// TestNoPlaintext kills charon while packets for the branch come in, first with the gateway running and then without.
func TestNoPlaintext(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	c.Ping()
	wire := sitetest.StartCapture(t, "", "gt-"+c.Branch.Namespace())                                                                          // the branch is the router's next hop too
	if _, err := s.HQ.Ping(t.Context(), sitetest.Addr(sitetest.HQHost), sitetest.Addr(sitetest.NextHop), 2, 5*time.Millisecond); err != nil { // no network of the tunnel's
		t.Fatal(err)
	}
	sitetest.Poll(t, 2*time.Second, "the capture sees what the router forwards in clear", func() bool { return wire.Now().Inner > 0 })

	pings, spis := c.PingOn(2*time.Millisecond), c.Settle()
	s.KillCharon()
	c.AwaitRenewed(spis)
	if got := pings.Stop(); got.Lost() == 0 && !testbox.KernelESP() || got.Received == 0 { // the kernel's SAs outlive charon
		t.Errorf("pings while charon is killed: %s; want some lost and some answered", got)
	}
	c.Ping()

	s.End(unix.SIGKILL)
	s.KillCharon()
	got, err := s.HQ.Ping(t.Context(), sitetest.Addr(sitetest.HQHost), sitetest.Addr(c.Remote), 200, 2*time.Millisecond)
	if err != nil || got.Received > 0 && !testbox.KernelESP() { // likewise
		t.Errorf("pings without charon: %s, %v; want all lost", got, err)
	}
	s.Start()
	pings = c.PingOn(2 * time.Millisecond)
	s.AwaitCharonSAs()
	c.AwaitActive()
	c.Ping()
	pings.Stop()
	wire.NothingInClear(t)
}
