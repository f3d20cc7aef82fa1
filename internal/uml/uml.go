package uml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/testbox"
)

// Kernel is the program of the package user-mode-linux.
const Kernel = "/usr/bin/linux.uml"

// bootLimit is for a busy machine; it takes 1.3 to 2 s.
const bootLimit = 60 * time.Second

// Config of a guest.
type Config struct {
	Memory   int      // MB; 0 is 768. The host gives it as it is used
	Emulated bool     // Debian's own kernel in an emulator, which has nftables for IP; without Taps and Layers
	Taps     []string // tap devices of the present network namespace: the guest's vec0, vec1, …
	Layers   []string // folders whose files lie over the host's, such as unpacked packages
}

// Guest is a running one. Close it.
type Guest struct {
	Booted time.Duration // from its start until it answered

	cmd     *exec.Cmd // its keeper, see host
	console *testbox.Transcript
	line    io.WriteCloser // to the guest's first process
	ready   chan struct{}  // closed when the guest listens
	ended   chan struct{}

	mu    sync.Mutex
	next  int
	procs map[int]*Process
}

// Start boots a guest and waits until its first process answers. The test binary's TestMain must begin with Main.
func Start(ctx context.Context, cfg Config) (*Guest, error) {
	program := Kernel
	if cfg.Emulated {
		program = emulator
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("user-mode-linux: %w: packaging/install-deps test installs it", err)
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	start := time.Now()
	g, err := boot(cfg)
	if err != nil {
		return nil, fmt.Errorf("user-mode-linux: %w", err)
	}
	select {
	case <-g.ready:
		g.Booted = time.Since(start)
		return g, nil
	case <-g.ended:
		err = errors.New("it ended")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(fmt.Errorf("user-mode-linux did not come up: %w; its console:\n%s", err, g.Console()), g.Close())
}

// boot starts the guest's keeper and returns at once.
func boot(cfg Config) (*Guest, error) {
	toGuest, line, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromGuest, answers, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, toGuest.Close(), line.Close())
	}
	defer toGuest.Close()
	defer answers.Close()
	g := &Guest{console: &testbox.Transcript{}, line: line, ready: make(chan struct{}), ended: make(chan struct{}), procs: map[int]*Process{}}
	if g.cmd, err = keeper(cfg); err != nil {
		return nil, errors.Join(err, line.Close(), fromGuest.Close())
	}
	g.cmd.Stdout, g.cmd.Stderr = g.console, g.console
	g.cmd.ExtraFiles = []*os.File{toGuest, answers} // 3 and 4: the serial line
	if err := g.startAndFollow(); err != nil {
		return nil, errors.Join(err, line.Close(), fromGuest.Close())
	}
	go g.listen(fromGuest)
	return g, nil
}

// keeper is the command of a guest: this binary in the role of its host.
func keeper(cfg Config) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	memory := cfg.Memory
	if memory == 0 {
		memory = 768
	}
	args, role, err := arguments(cfg, self, memory)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(args, func(a string) bool { return strings.ContainsAny(a, " \"") }); i >= 0 {
		return nil, fmt.Errorf("%q cannot be on a kernel's command line", args[i])
	}
	cmd := exec.Command(self, args...)
	cmd.Env = []string{roleVariable + "=" + role, memoryVariable + "=" + fmt.Sprint(memory), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL, Setsid: true}
	return cmd, nil
}

// arguments are those on the kernel's command line; role is the keeper's.
func arguments(cfg Config, self string, memory int) (args []string, role string, err error) {
	if cfg.Emulated {
		if len(cfg.Taps)+len(cfg.Layers) > 0 {
			return nil, "", errors.New("an emulated guest has neither taps nor layers")
		}
		return []string{"console=ttyS0", "quiet", "panic=-1", "mitigations=off", roleVariable + "=" + roleEmulated}, roleEmulator, nil
	}
	args = []string{fmt.Sprintf("mem=%dM", memory), "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init=" + self, "quiet", "panic=-1",
		"con=null", "con0=null,fd:1", "ssl=null", "ssl0=fd:3,fd:4", roleVariable + "=" + roleInit}
	for i, tap := range cfg.Taps {
		args = append(args, fmt.Sprintf("vec%d:transport=tap,ifname=%s,depth=128", i, tap))
	}
	if len(cfg.Layers) > 0 {
		args = append(args, layersVariable+"="+strings.Join(cfg.Layers, ":"))
	}
	return args, roleHost, nil
}

// startAndFollow starts the keeper on a thread that waits for its end: a parent-death signal comes when the thread dies
// that started the child.
func (g *Guest) startAndFollow() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := g.cmd.Start()
		started <- err
		if err == nil {
			_ = g.cmd.Wait() // it ends by a signal of ours, or its console says why
			close(g.ended)
		}
	}()
	return <-started
}

// Console answers what the kernel and the first process have printed.
func (g *Guest) Console() string { return g.console.String() }

// Close ends the guest at once; there is nothing in it to be saved. Closing twice is no error.
func (g *Guest) Close() error {
	err := g.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-g.ended
	return errors.Join(err, g.line.Close())
}

// host is the guest's keeper, the first process of its PID namespace: it lays a tmpfs for the guest's memory, which no disk
// shall hold, and runs the kernel in it. The kernel cannot be the first process itself: it ends after a panic by a signal
// that a first process does not get.
func host() error {
	dir, err := ofMemory()
	if err != nil {
		return err
	}
	cmd := exec.Command(Kernel, append([]string{"uml_dir=" + dir + "/", "umid=guest"}, os.Args[1:]...)...)
	cmd.Env = []string{"TMPDIR=" + dir, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "to the guest"), os.NewFile(4, "from the guest")}
	return cmd.Run()
}

// ofMemory lays a tmpfs over a folder, for this process and its children.
func ofMemory() (dir string, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("private mounts: %w", err)
	}
	const on = "/mnt"
	if err := unix.Mount("guest", on, "tmpfs", 0, "size="+os.Getenv(memoryVariable)+"M,mode=700"); err != nil {
		return "", fmt.Errorf("memory of the guest: %w", err)
	}
	return on, nil
}
