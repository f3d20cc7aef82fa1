package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/sitetest"
)

// TestGatewayDownElsewhere names a folder that no gateway was for: nothing is made, and the run folders that exist are named.
func TestGatewayDownElsewhere(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	s.End(unix.SIGTERM)
	dirs := sitetest.Glob(t, "/run/culvert/*/"+s.Router)
	if len(dirs) != 1 {
		t.Fatalf("the router's folders: %q", dirs)
	}
	run1 := filepath.Dir(dirs[0])
	for _, args := range [][]string{{"--data", "/nowhere/" + sitetest.Tag(t)}, {"--server", "https://" + sitetest.Tag(t) + ".example.net"}, {"--run-dir", "/run/culvert/no" + sitetest.Tag(t)}} {
		code, out := sitetest.Run(t, nil, append([]string{"gateway", "down"}, args...)...)
		said := "culvert: nothing here for " + strings.Join(args, " ") + "; run folders on this machine"
		if code != 1 || !strings.HasPrefix(out, said) || !strings.Contains(out, run1+" (1 router)") || strings.Count(out, "\n") != 1 {
			t.Errorf("gateway down %v: exit code %d and:\n%s\nwant 1 and one line with %q and %s", args, code, out, said, run1)
		}
	}
	if left := sitetest.Glob(t, "/run/culvert/no"+sitetest.Tag(t)); len(left) > 0 {
		t.Errorf("it made %q", left)
	}
	c.Ping()
	if code, out := sitetest.Run(t, nil, "gateway", "down", "--data", s.Data); code != 0 || out != "1 router taken away\n" {
		t.Errorf("exit code %d and:\n%s", code, out)
	}
	if _, err := os.Stat(run1); !os.IsNotExist(err) {
		t.Errorf("the empty run folder %s is still there: %v", run1, err)
	}
}

// TestAgentsRunFolder is of the server's URL, wherever the agent is started.
func TestAgentsRunFolder(t *testing.T) {
	t.Parallel()
	s := sitetest.NewServer(t, "--gateway=none")
	folder := regexp.MustCompile(`run_dir=(\S+)`)
	var dirs []string
	for _, url := range []string{"http://" + s.Address, "http://" + s.Address + "/"} {
		a := sitetest.Launch(t, []sitetest.As{sitetest.InDir(t.TempDir())}, "agent", "--server", url, "--token-file", s.Data+"/agent.token")
		a.AwaitOutput("synced with the server", 15*time.Second)
		if m := folder.FindAllStringSubmatch(a.Output.String(), -1); len(m) != 1 {
			t.Fatalf("the agent names %d run folders; it said:\n%s", len(m), a.Output)
		} else {
			dirs = append(dirs, m[0][1])
		}
		code, out := sitetest.Run(t, nil, "gateway", "down", "--server", url)
		if code != 1 || !strings.Contains(out, "a running gateway uses it") {
			t.Errorf("gateway down --server %s beside the agent: exit code %d and:\n%s", url, code, out)
		}
		if code := a.End(unix.SIGTERM); code != 0 {
			t.Errorf("the agent's exit code is %d:\n%s", code, a.Output)
		}
	}
	if dirs[0] != dirs[1] || !strings.HasPrefix(dirs[0], "/run/culvert/") {
		t.Errorf("one server, run folders %q", dirs)
	}
	if _, err := os.Stat(dirs[0]); !os.IsNotExist(err) {
		t.Errorf("an agent without a router leaves %s: %v", dirs[0], err)
	}
}
