package uml

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/testbox"
)

const orphanVariable = "CULVERT_UML_TEST_ORPHAN"

func TestMain(m *testing.M) {
	Main()
	if os.Getenv(orphanVariable) != "" {
		if err := bootAndWait(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	testbox.Main(m, nil)
}

func start(t *testing.T, cfg Config) *Guest {
	t.Helper()
	g, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("the guest was up after %s", g.Booted)
	return g
}

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestGuest asks a guest for what the data plane's tests need, and looks whether its files reach the host.
func TestGuest(t *testing.T) {
	dir := t.TempDir()
	layer := t.TempDir()
	if err := os.WriteFile(filepath.Join(layer, "from-the-layer"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	g, ctx := start(t, Config{Layers: []string{layer}}), limit(t)
	check := func(command, want string) {
		t.Helper()
		out, err := g.Run(ctx, "/bin/sh", "-c", command)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: %q, want %q", command, err, out, want)
		}
	}
	check("uname -r; ls /from-the-layer", "6.")
	check("ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 7 mode tunnel aead 'rfc4106(gcm(aes))' 0x"+strings.Repeat("00", 20)+" 128 && ip xfrm state", "rfc4106")
	check("ip link add name a type veth peer name b && ip -o link", "a@b")
	check("touch "+dir+"/written && ls "+dir, "written")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the guest wrote %v to the host's disk: %v", left, err)
	}
	if _, err := g.Run(ctx, "/bin/sh", "-c", "exit 3"); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("exit 3: %v", err)
	}
	if _, err := g.Run(ctx, "/no/such/program"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// TestEmulated asks the other kernel for what user-mode-linux lacks.
func TestEmulated(t *testing.T) {
	if g, err := Start(t.Context(), Config{Emulated: true, Taps: []string{"tap0"}}); err == nil {
		t.Error(g.Close(), "an emulated guest with a tap")
	}
	dir := t.TempDir()
	g, ctx := start(t, Config{Emulated: true}), limit(t)
	for command, want := range map[string]string{
		"uname -v": "Debian",
		"nft 'add table inet a; add chain inet a b { type filter hook forward priority 0; }; add rule inet a b rt ipsec missing drop' && nft list ruleset":           "rt ipsec missing drop",
		"ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 7 mode tunnel aead 'rfc4106(gcm(aes))' 0x" + strings.Repeat("00", 20) + " 128 && ip xfrm state": "rfc4106",
		"touch " + dir + "/written && ls " + dir: "written",
	} {
		out, err := g.Run(ctx, "/bin/sh", "-c", command)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: %q, want %q", command, err, out, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the guest wrote %v to the host's disk: %v", left, err)
	}
}

func TestSignalsAndOrphans(t *testing.T) {
	g, ctx := start(t, Config{}), limit(t)
	p, err := g.Start(Command{Args: []string{"/bin/sleep", "600"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(ctx); code != -1 || err != nil {
		t.Errorf("after SIGTERM: %d, %v; want -1", code, err)
	}
	// A daemon holds its starter's output: that must not keep the starter's end from being told.
	if _, err := g.Run(ctx, "/bin/sh", "-c", "sleep 600 & sleep 0.01 &"); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := g.Run(ctx, "/bin/sh", "-c", "cat /proc/[0-9]*/stat")
		if err == nil && strings.Count(out, "(sleep)") == 1 && !strings.Contains(out, ") Z 1 ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("orphans are not reaped: %v\n%s", err, out)
		}
	}
}

// TestEndsWithItsParent kills a process that has a guest.
func TestEndsWithItsParent(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	out := &bytes.Buffer{}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env, cmd.Stderr = append(os.Environ(), orphanVariable+"=yes"), out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(ready, &pid); err != nil {
		t.Fatalf("%v, %v: %s", err, cmd.Wait(), out)
	}
	if err := errors.Join(unix.Kill(pid, 0), cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for deadline := time.Now().Add(5 * time.Second); unix.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the guest's process %d outlives its parent", pid)
		}
	}
}

// bootAndWait has a guest, prints its process id and waits to be killed.
func bootAndWait() error {
	g, err := Start(context.Background(), Config{})
	if err != nil {
		return err
	}
	fmt.Println(g.cmd.Process.Pid)
	select {}
}
