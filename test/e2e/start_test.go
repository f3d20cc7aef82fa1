package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

func TestFirstStartPrintsThePasswordOnce(t *testing.T) {
	t.Parallel()
	s := sitetest.NewServer(t, "--gateway=none") // logs in with what it printed
	first := s.Password()
	for _, file := range []string{"keyset.json", "agent.token"} {
		info, err := os.Stat(filepath.Join(s.Data, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", file, info.Mode(), err)
		}
	}
	s.Restart(syscall.SIGTERM)
	if out := s.Output.String(); strings.Contains(out, "Password") || strings.Contains(out, first) {
		t.Errorf("the second start prints a password:\n%s", out)
	}
	s.Login(first)
	_, err := client.Login(t.Context(), "http://"+s.Address, "admin", first+"x", "admin")
	if refused, ok := err.(*client.Error); !ok || refused.Status != 401 {
		t.Errorf("login with a wrong password: %v, want 401", err)
	}
}

func TestTwoServersOnOneFolder(t *testing.T) {
	t.Parallel()
	s := sitetest.NewServer(t, "--gateway=none")
	code, out := sitetest.Run(t, nil, "server", "--gateway=none", "--data", s.Data, "--listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(out, "another culvert process uses it") || !strings.Contains(out, s.Data) {
		t.Errorf("exit code %d and:\n%s\nwant 1 and a line that names the folder and the other process", code, out)
	}
	s.Call("GET", "/v2.0/networks", nil)
	code, out = sitetest.Run(t, nil, "server", "--gateway=none", "--data", filepath.Join(t.TempDir(), "other"), "--listen", s.Address)
	if code != 1 || !strings.Contains(out, s.Address) {
		t.Errorf("on a port in use: exit code %d and:\n%s\nwant 1 and a line that names the address", code, out)
	}
}

func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(home), 0o755), os.Chmod(home, 0o777)); err != nil {
		t.Fatal(err)
	}
	t.Run("server without a gateway", func(t *testing.T) {
		s := sitetest.NewServerIn(t, filepath.Join(home, "data"), []sitetest.As{sitetest.Nobody}, "--gateway=none")
		s.Create("vpn/ikepolicies", "ikepolicy", client.Object{"name": "by nobody"})
		info, err := os.Stat(s.Data)
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != 65534 {
			t.Errorf("the data folder is not nobody's: %v", err)
		}
	})
	for _, args := range [][]string{{"server", "--data", filepath.Join(home, "d")}, {"demo"}, {"gateway", "down"}} {
		code, out := sitetest.Run(t, []sitetest.As{sitetest.Nobody, sitetest.InDir(home)}, args...)
		advised := strings.Contains(out, "server --gateway=none")
		if code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "needs root") || advised != (args[0] == "server") {
			t.Errorf("%v as nobody: exit code %d and:\n%s\nwant 1 and one line that says what it needs", args, code, out)
		}
	}
	if left := sitetest.Glob(t, home+"/*"); len(left) != 1 {
		t.Errorf("refused commands left files: %v", left)
	}
}

// flags are those that each command's help must have; other commands are found in the help itself.
var flags = map[string]string{
	"": "server agent demo gateway user project role key version",
	"server": "--physical-network --dataplane --run-dir --data --listen --database --gateway --public-url --defaults --weak-crypto " +
		"--max-pairs --page-limit --token-lifetime --quota --cors-origin CULVERT_DATA CULVERT_LISTEN CULVERT_DATABASE " +
		"CULVERT_GATEWAY CULVERT_PHYSICAL_NETWORK",
	"agent":         "--server --token-file --physical-network --dataplane --run-dir",
	"demo":          "--data --listen --clouds",
	"gateway":       "down",
	"gateway down":  "--data --run-dir",
	"key rotate":    "--data --database",
	"user password": "--data --database --password-stdin",
	"version":       "",
}

func TestHelp(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	helps(t, "", seen)
	for command := range flags {
		if !seen[command] {
			t.Errorf("no help leads to culvert %s", command)
		}
	}
}

var subcommand = regexp.MustCompile(`(?m)^  ([a-z]+(?: [a-z-]+)*) `)

// helps looks at the help of a command and of all below it.
func helps(t *testing.T, command string, seen map[string]bool) {
	t.Helper()
	seen[command] = true
	code, out := sitetest.Run(t, nil, append(strings.Fields(command), "--help")...)
	if code != 0 || !strings.HasPrefix(out, strings.TrimRight("Usage: culvert "+command, " ")) {
		t.Errorf("culvert %s --help: exit code %d and:\n%s", command, code, out)
	}
	for _, flag := range strings.Fields(flags[command] + " --help --log-level --log-format") {
		if !strings.Contains(out, flag) {
			t.Errorf("culvert %s --help does not mention %s:\n%s", command, flag, out)
		}
	}
	_, below, _ := strings.Cut(out, "\nCommands:\n")
	for _, m := range subcommand.FindAllStringSubmatch(below, -1) {
		helps(t, m[1], seen)
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for args, said := range map[string]string{
		"server --no-such-flag":                "--no-such-flag",
		"agent":                                "--server",
		"server --gateway=elsewhere":           "local",
		"nonsense":                             "nonsense",
		"server --gateway=none --max-pairs=no": "--max-pairs",
	} {
		code, out := sitetest.Run(t, nil, strings.Fields(args)...)
		if code != 2 || !strings.Contains(out, said) || !strings.Contains(out, "See: culvert ") {
			t.Errorf("culvert %s: exit code %d and:\n%s\nwant 2, %q and where help is", args, code, out, said)
		}
	}
}
