// Package testbox runs a package's tests in a sandbox: network, process and mount namespaces of their own, so that
// nothing of theirs can stay on the machine, whatever happens, and two runs never meet. It knows no test.
//
// The test binary starts itself twice: outside it prepares and makes the sandbox; as the sandbox's first process it reaps
// orphans; and inside it runs the tests.
package testbox

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	roleVariable   = "CULVERT_TEST_ROLE"
	folderVariable = "CULVERT_TEST_FOLDER"
	kernelVariable = "CULVERT_TEST_KERNEL_ESP"
)

// Tests is a *testing.M, or what wraps one.
type Tests interface{ Run() (code int) }

// Main is a TestMain: it runs the tests in a sandbox and ends the process with their exit code, which is 1 as well when
// they left something behind (see Inventory). prepare, which may be nil, runs outside of it, with a folder that the tests
// find by Folder and that goes away with the sandbox.
func Main(m Tests, prepare func(dir string) error) {
	var code int
	var err error
	switch os.Getenv(roleVariable) {
	case "":
		code, err = outside(prepare)
	case "first":
		code, err = first()
	default:
		code, err = inside(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		code = 1
	}
	os.Exit(code)
}

// Folder is the one that prepare was given.
func Folder() string { return os.Getenv(folderVariable) }

// InGuest are the variables with which this test binary, started in a guest of user-mode-linux, runs its tests there: a
// guest is a sandbox by itself, and its kernel does ESP.
func InGuest() []string {
	return []string{roleVariable + "=guest", folderVariable + "=" + Folder(), kernelVariable + "=yes"}
}

// KernelESP tells whether the tests run where the kernel does ESP, and are to use it.
func KernelESP() bool { return os.Getenv(kernelVariable) != "" }

// Program is the program under test, where BuildProgram has prepared it.
func Program() string { return filepath.Join(Folder(), "culvert") }

// BuildProgram builds Culvert into the folder; anybody may run it.
func BuildProgram(dir string) error {
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "culvert"), "culvert")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// outside makes the sandbox, which ends with this process.
func outside(prepare func(dir string) error) (int, error) {
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("these tests need root: they make network namespaces and run strongSwan in them")
	}
	dir, err := os.MkdirTemp("", "culvert-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for programs that run as another user
		return 1, err
	}
	if prepare != nil {
		if err := prepare(dir); err != nil {
			return 1, err
		}
	}
	runtime.LockOSThread() // a parent-death signal comes when the thread dies that started the child
	cmd := again("first")
	cmd.Env = append(cmd.Env, folderVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("make the sandbox: %w", err)
	}
	go func() {
		<-stop
		_ = cmd.Process.Kill() // the Wait below sees it
	}()
	return exitCode(cmd, cmd.Wait())
}

// again is this program in another role.
func again(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func exitCode(cmd *exec.Cmd, err error) (int, error) {
	if cmd.ProcessState == nil {
		return 1, err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, err
}

// first prepares the sandbox, starts the tests and, as its first process, reaps whatever loses its parent: a killed
// server's charons go on.
func first() (int, error) {
	if err := furnish(); err != nil {
		return 1, fmt.Errorf("prepare the sandbox: %w", err)
	}
	cmd := again("tests")
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1, fmt.Errorf("wait: %w", err)
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus(), nil
		case pid == cmd.Process.Pid:
			return 1, fmt.Errorf("the tests were ended by signal %v", status.Signal())
		}
	}
}

// furnish gives the sandbox its own /proc, /sys and /run, and a loopback device.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	for _, m := range []struct{ fs, on string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/run"}} {
		if err := unix.Mount(m.fs, m.on, m.fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.on, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// inside runs the tests and then looks at what they left.
func inside(m Tests) (int, error) {
	flag.Parse()
	if err := moreParallel(); err != nil {
		return 1, err
	}
	before, err := TakeInventory()
	if err != nil {
		return 1, err
	}
	code := m.Run()
	left, err := before.AwaitNothingMore(5 * time.Second)
	if err != nil {
		return 1, err
	}
	if len(left) > 0 {
		return 1, fmt.Errorf("the tests left behind:\n%s", left)
	}
	return code, nil
}

// moreParallel lets six tests run at once unless the caller chose: most of them wait most of the time.
func moreParallel() error {
	chosen := KernelESP() // where the guest's starter has
	flag.Visit(func(f *flag.Flag) {
		chosen = chosen || f.Name == "test.parallel" && f.Value.String() != fmt.Sprint(runtime.GOMAXPROCS(0))
	})
	if chosen {
		return nil
	}
	return flag.Set("test.parallel", "6")
}
