package cli_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/server"
)

const lastAdmin = "No user that is enabled has the role admin any more. To make one: culvert user create NAME --project admin --role admin"

// Who takes the last admin away reads how to make one again, and that works.
func TestLastAdmin(t *testing.T) {
	eachEngine(t, func(t *testing.T, o *office) {
		o.stop()
		o.must("", "user", "create", "eve", "--project", "admin", "--role", "admin")
		o.must("", "user", "set", "admin", "--disable") // eve is left
		for _, args := range [][]string{
			{"role", "revoke", "admin", "eve", "--project", "admin"}, {"user", "set", "eve", "--disable", "--json"}, {"user", "delete", "eve"},
		} {
			out, errs, code := o.run("", args...)
			if code != 0 || out == "" || errs != lastAdmin+"\n" {
				t.Errorf("culvert %v: exit code %d: %s%s\nwant the advice", args, code, out, errs)
			}
		}
		o.must("again", "user", "create", "joe", "--project", "admin", "--role", "admin", "--password-stdin")
		o.start()
		if o.login("joe", "again", "admin") == "" {
			t.Error("the new admin cannot log in")
		}
	})
}

// Advice names the folder and the database where the next command would not find them by itself; a password is not shown.
func TestAdviceNamesTheData(t *testing.T) {
	o := newOffice(t, "")
	o.stop()
	there := o.cfg.Data
	o.cfg.Data = filepath.Join(t.TempDir(), "elsewhere")
	out, errs, code := o.run("", "user", "set", "admin", "--disable", "--data", there)
	if code != 0 || errs != lastAdmin+" --data "+there+"\n" {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	file := filepath.Join(there, "culvert.db")
	for _, database := range []string{file, "sqlite:" + file} {
		out = o.must("x", "user", "password", "admin", "--password-stdin", "--data", there, "--database", database)
		if want := "The user is disabled: culvert user set admin --enable --data " + there + " --database " + database + "\n"; !strings.HasSuffix(out, want) {
			t.Errorf("got %q, want %q", out, want)
		}
	}
}

// A database that is not there is one line with the cause, on every command, and no password is in it.
func TestUnreachableDatabase(t *testing.T) {
	o := newOffice(t, "")
	o.stop()
	o.cfg.Database = "postgres://culvert:hunter2-secret@127.0.0.1:1/vpn"
	for _, args := range [][]string{{"server", "--gateway=none", "--listen", "127.0.0.1:0"}, {"user", "list"}, {"key", "rotate"}} {
		out, errs, code := o.run("", args...)
		if code != 1 || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, `culvert: connect to the database "vpn": 127.0.0.1:1 `) ||
			!strings.Contains(errs, "connection refused") || strings.Contains(errs, "hunter2") {
			t.Errorf("culvert %v: exit code %d: %s%s", args, code, out, errs)
		}
	}
	for _, args := range [][]string{{"server", "--help"}, {"user", "list", "--help"}, {"key", "rotate", "--help"}} {
		help := strings.Join(strings.Fields(o.must("", args...)), " ")
		for _, form := range []string{"postgres://", "postgresql://", "sqlite:FILE"} {
			if !strings.Contains(help, form) {
				t.Errorf("culvert %v does not name %s: %s", args, form, help)
			}
		}
	}
}

// Who may not read the data reads just that.
func TestPermissionDenied(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: only root can become somebody else")
	}
	home := t.TempDir()
	nobody := asNobody(t, home)
	o := &office{TB: t, cfg: server.Config{Data: filepath.Join(home, "data")}}
	if err := os.Mkdir(o.cfg.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	for said, args := range map[string][]string{
		"culvert: may not read " + o.cfg.Data + "/keyset.json: run as root or as the server's user\n":             {"user", "list"},
		"culvert: may not make " + home + "/new: run as root or as the server's user, or choose another folder\n": {"server", "--gateway=none", "--listen", "127.0.0.1:0", "--data", home + "/new"},
	} {
		cmd := nobody(args...)
		cmd.Env = append(cmd.Env, "CULVERT_DATA="+o.cfg.Data)
		out, _ := cmd.CombinedOutput() // the exit code is looked at below
		if cmd.ProcessState.ExitCode() != 1 || string(out) != said {
			t.Errorf("culvert %v as nobody: exit code %d:\n%s\nwant 1 and %q", args, cmd.ProcessState.ExitCode(), out, said)
		}
	}
}

// asNobody answers a function that makes commands of this program, in home, for a user without rights.
func asNobody(t *testing.T, home string) func(args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(home, "culvert")
	if err := errors.Join(os.WriteFile(program, binary, 0o755), os.Chmod(home, 0o755), os.Chmod(filepath.Dir(home), 0o755)); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), asCommand+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd
	}
}

// What the help and a refusal advise to those who are not root works for them.
func TestAdviceWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: only root can become somebody else")
	}
	home := t.TempDir()
	nobody := asNobody(t, home)
	help, err := nobody("--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	refused, err := nobody("server").CombinedOutput()
	if err == nil {
		t.Fatalf("culvert server as nobody: %s", refused)
	}
	_, tried, _ := strings.Cut(strings.TrimSpace(string(refused)), "or try culvert ")
	for line := range strings.SplitSeq(string(help), "\n") {
		if command, what, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "culvert "), "   "); strings.Contains(what, "needs no root") {
			tried += "\n" + command
		}
	}
	advice := strings.Split(strings.TrimSpace(tried), "\n")
	if len(advice) != 2 {
		t.Fatalf("advised is %q, want a command by the help and one by the refusal", advice)
	}
	for i, command := range advice {
		dir := filepath.Join(home, fmt.Sprint("data", i))
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		serves(t, nobody(append(strings.Fields(strings.ReplaceAll(command, "DIR", dir)), "--listen", "127.0.0.1:0")...))
	}
}

// serves starts a server and ends it once it serves.
func serves(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) // then its output ends
	defer late.Stop()
	said := false
	for lines := bufio.NewScanner(out); !said && lines.Scan(); {
		said = strings.HasPrefix(lines.Text(), "Culvert serves on ")
	}
	_ = cmd.Process.Kill()
	if _ = cmd.Wait(); !said {
		t.Errorf("%v does not serve: %s", cmd.Args, errs.String())
	}
}
