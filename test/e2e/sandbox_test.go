package e2e

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/sitetest"
	"culvert/internal/testbox"
)

// The sandbox's tests run alone, as the demo's do.

func TestSandbox(t *testing.T) {
	testbox.LeavesNothing(t, func() {
		dir := t.TempDir()
		d := startSandbox(t, dir, "wrong-psk", "peer-deleted")
		for _, said := range []string{
			`s  wrong-psk  +DOWN +auth_failed\n +broken: +the peer has another pre-shared key\n +summary: .*\n`,
			`s  peer-deleted +DOWN +peer_deleted\n`, `hint: +\S`, `http://` + sitetest.Listen(t) + `/v2.0/vpn/ipsec-site-connections/[0-9a-f-]{36}\n`,
			`culvert" is in ` + dir + `/var/clouds.yaml`, `curl -s http://` + sitetest.Listen(t), `openstack vpn ipsec site connection list`,
		} {
			if !regexp.MustCompile(said).MatchString(d.Output.String()) {
				t.Errorf("the sandbox does not say %q; it said:\n%s", said, d.Output)
			}
		}
		if code := d.End(syscall.SIGINT); code != 0 {
			t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, sitetest.Tail(d.Output.String(), 40))
		}
		if left := sitetest.Glob(t, dir+"/var/demo/*"); strings.Join(left, " ") != dir+"/var/demo/culvert-demo "+dir+"/var/demo/server.log" {
			t.Errorf("after Ctrl-C there is %q", left)
		}
	})
}

// TestSandboxKilled leaves everything to the next demo.
func TestSandboxKilled(t *testing.T) {
	testbox.LeavesNothing(t, func() {
		startSandbox(t, t.TempDir(), "wrong-psk", "service-admin-down").End(syscall.SIGKILL)
		d := startDemo(t, t.TempDir())
		if !strings.Contains(d.Output.String(), "Cleaned up after an earlier demo: 2 routers.") {
			t.Errorf("the demo does not say what it cleaned up:\n%s", sitetest.Tail(d.Output.String(), 80))
		}
		d.End(syscall.SIGINT)
	})
}

func TestSandboxInterruptedEarly(t *testing.T) {
	for _, at := range []string{"shown this once", "Laying 2 faults"} {
		testbox.LeavesNothing(t, func() {
			d := sitetest.Launch(t, []sitetest.As{sitetest.InDir(t.TempDir())}, "sandbox", "--listen", sitetest.Listen(t), "wrong-psk", "no-gateway-host")
			d.AwaitOutput(at, 20*time.Second)
			if code := d.End(syscall.SIGINT); code != 0 {
				t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, d.Output)
			}
		})
	}
}

func TestSandboxArguments(t *testing.T) {
	for said, args := range map[string][]string{
		`culvert: there is no fault "psk"; there are wrong-psk`: {"psk"},
		`culvert: name faults to lay, or --all`:                 {},
		`culvert: --all lays every fault`:                       {"--all", "wrong-psk"},
	} {
		code, out := sitetest.Run(t, []sitetest.As{sitetest.InDir(t.TempDir())}, append([]string{"sandbox"}, args...)...)
		if code != 1 || !strings.HasPrefix(out, said) || strings.Count(out, "\n") != 1 {
			t.Errorf("sandbox %q: exit code %d and:\n%s\nwant 1 and one line with %q", args, code, out, said)
		}
	}
	code, out := sitetest.Run(t, nil, "sandbox", "--list")
	if n := strings.Count(out, "\n"); code != 0 || n < 27 || !regexp.MustCompile(`(?m)^wrong-psk +DOWN +auth_failed +the peer has another pre-shared key$`).MatchString(out) {
		t.Errorf("sandbox --list: exit code %d and %d lines:\n%s", code, n, out)
	}
}

// startSandbox lays faults and waits until the API has said what is wrong with each.
func startSandbox(t *testing.T, dir string, faults ...string) *sitetest.Process {
	t.Helper()
	d := sitetest.Launch(t, []sitetest.As{sitetest.InDir(dir)}, append([]string{"sandbox", "--listen", sitetest.Listen(t)}, faults...)...)
	d.AwaitOutput("The tunnels stay as they are until Ctrl-C", 30*time.Second)
	return d
}
