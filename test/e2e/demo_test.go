package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/sitetest"
	"culvert/internal/testbox"
)

// The demo's tests run alone: they look at everything in the sandbox.

func TestDemo(t *testing.T) {
	testbox.LeavesNothing(t, func() {
		dir := t.TempDir()
		d := startDemo(t, dir)
		if code := d.End(syscall.SIGINT); code != 0 {
			t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, sitetest.Tail(d.Output.String(), 40))
		}
		if left := slices.Concat(sitetest.Glob(t, dir+"/*"), sitetest.Glob(t, dir+"/var/*"), sitetest.Glob(t, dir+"/var/demo/*")); !slices.Equal(left, []string{dir + "/var",
			dir + "/var/demo", dir + "/var/demo/culvert-demo", dir + "/var/demo/server.log"}) {
			t.Errorf("after Ctrl-C there is %q", left)
		}
	})
}

// TestDemoTouchesNoOthersFiles gives the demo folders and files that are somebody else's.
func TestDemoTouchesNoOthersFiles(t *testing.T) {
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	s.End(syscall.SIGKILL)
	home := t.TempDir()
	letter, clouds := filepath.Join(home, "letter"), filepath.Join(t.TempDir(), "clouds.yaml")
	for _, path := range []string{letter, clouds} {
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for said, args := range map[string][]string{
		"--data " + home + " is not a demo's folder: choose an empty one":   {"--data", home},
		"--data " + s.Data + " is not a demo's folder: choose an empty one": {"--data", s.Data},
		"--clouds " + clouds + " was not written by a demo: choose another": {"--clouds", clouds},
	} {
		code, out := sitetest.Run(t, []sitetest.As{sitetest.InDir(t.TempDir())}, append([]string{"demo", "--listen", s.Address}, args...)...)
		if code != 1 || !strings.Contains(out, said) || strings.Count(out, "\n") != 1 {
			t.Errorf("demo %v: exit code %d and:\n%s\nwant 1 and one line with %q", args, code, out, said)
		}
	}
	for _, path := range []string{letter, clouds} {
		if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
			t.Errorf("%s is now %q, %v", path, text, err)
		}
	}
	c.Ping()
	s.Start()
	c.AwaitActive()
}

// TestDemoFolderOfAServer makes a killed demo's folder a server's: it is no demo's any more.
func TestDemoFolderOfAServer(t *testing.T) {
	testbox.LeavesNothing(t, func() {
		dir := t.TempDir()
		data := filepath.Join(dir, "var/demo")
		startDemo(t, dir).End(syscall.SIGKILL)
		p := sitetest.Launch(t, nil, "server", "--gateway=none", "--data", data, "--listen", "127.0.0.1:0")
		p.AwaitOutput("Culvert serves on", 20*time.Second)
		p.End(syscall.SIGTERM)
		code, out := sitetest.Run(t, []sitetest.As{sitetest.InDir(dir)}, "demo", "--listen", sitetest.Listen(t))
		if code != 1 || !strings.Contains(out, "is not a demo's folder") {
			t.Errorf("exit code %d and:\n%s", code, out)
		}
		startDemo(t, t.TempDir()).End(syscall.SIGINT) // takes away what the killed one left, wherever its data is
	})
}

// TestSecondDemo is refused, and the first one goes on.
func TestSecondDemo(t *testing.T) {
	testbox.LeavesNothing(t, func() {
		dir := t.TempDir()
		d := startDemo(t, dir)
		for _, in := range []string{dir, t.TempDir()} {
			code, out := sitetest.Run(t, []sitetest.As{sitetest.InDir(in)}, "demo", "--listen", "127.0.0.1:0")
			if code != 1 || out != "culvert: another demo or sandbox is running on this machine\n" {
				t.Errorf("exit code %d and:\n%s", code, out)
			}
		}
		if out, err := exec.Command("ip", "netns", "exec", "cvd-hq", "ping", "-c", "1", "-W", "5", "192.168.40.1").CombinedOutput(); err != nil {
			t.Errorf("the first demo's tunnel: %v\n%s", err, out)
		}
		if code := d.End(syscall.SIGINT); code != 0 {
			t.Errorf("the first demo's exit code is %d:\n%s", code, sitetest.Tail(d.Output.String(), 40))
		}
	})
}

func TestDemoKilled(t *testing.T) {
	testbox.LeavesNothing(t, func() {
		dir := t.TempDir()
		startDemo(t, dir).End(syscall.SIGKILL)
		d := startDemo(t, dir)
		if !strings.Contains(d.Output.String(), "Cleaned up after an earlier demo: 1 router.") {
			t.Errorf("the second demo does not say what it cleaned up:\n%s", sitetest.Tail(d.Output.String(), 80))
		}
		d.End(syscall.SIGKILL)
		d = startDemo(t, dir)
		if code := d.End(syscall.SIGINT); code != 0 {
			t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, sitetest.Tail(d.Output.String(), 40))
		}
	})
}

// TestDemoInterruptedEarly ends the demo at moments while it lays its tunnel.
func TestDemoInterruptedEarly(t *testing.T) {
	for _, at := range []string{"shown this once", "VPN service on the router", "a plain strongSwan"} {
		testbox.LeavesNothing(t, func() {
			d := sitetest.Launch(t, []sitetest.As{sitetest.InDir(t.TempDir())}, "demo", "--listen", sitetest.Listen(t))
			d.AwaitOutput(at, 20*time.Second)
			d.End(syscall.SIGINT)
		})
	}
}

// TestDemoWithoutItsTerminal closes the terminal that the demo runs in.
func TestDemoWithoutItsTerminal(t *testing.T) {
	testbox.LeavesNothing(t, func() { startDemo(t, t.TempDir()).End(syscall.SIGHUP) })
}

func TestDemoOnAPortInUse(t *testing.T) {
	s, dir := sitetest.NewServer(t, "--gateway=none"), t.TempDir()
	code, out := sitetest.Run(t, []sitetest.As{sitetest.InDir(dir)}, "demo", "--listen", s.Address)
	want := "culvert: listen on " + s.Address + ": another process uses this address: choose another with --listen\n"
	if left := sitetest.Glob(t, dir+"/*"); code != 1 || out != want || len(left) > 0 {
		t.Errorf("exit code %d, files %v and:\n%s\nwant 1, none and %q", code, left, out, want)
	}
}

// startDemo starts the demo and waits until its tunnel stands.
func startDemo(t *testing.T, dir string) *sitetest.Process {
	t.Helper()
	d := sitetest.Launch(t, []sitetest.As{sitetest.InDir(dir)}, "demo", "--listen", sitetest.Listen(t))
	d.AwaitOutput("The tunnel stays up until Ctrl-C", 30*time.Second)
	for _, said := range []string{"POST to ACTIVE", "5 sent, 5 received", `"status": "ACTIVE"`, "curl -s http://" + sitetest.Listen(t), "openstack", "culvert\" is in " + dir + "/var/clouds.yaml", "OS_CLIENT_CONFIG_FILE=" + dir + "/var/clouds.yaml"} {
		if !strings.Contains(d.Output.String(), said) {
			t.Errorf("the demo does not say %q; it said:\n%s", said, d.Output)
		}
	}
	return d
}
