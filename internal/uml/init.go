package uml

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Main must be the first thing in the TestMain of a test binary that starts guests: in the guest's first process, and in
// the one that keeps the guest's kernel, it takes over and does not return.
func Main() {

	var err error
	switch os.Getenv(roleVariable) {
	case roleHost:
		err = host()
	case roleEmulator:
		err = emulate()
	case roleInit:
		err = first(userMode())
	case roleEmulated:
		err = first(emulated())
	default:
		return
	}
	fmt.Fprintln(os.Stderr, "user-mode-linux:", err)
	os.Exit(1)
}

const (
	roleVariable   = "CULVERT_UML_ROLE"
	memoryVariable = "CULVERT_UML_MEMORY"
	layersVariable = "CULVERT_UML_LAYERS"
	roleHost       = "host"
	roleInit       = "init"
	roleEmulator   = "emulator"
	roleEmulated   = "emulated"
	serialLine     = "/dev/ttyS0"
	modulesOfUML   = "/usr/lib/uml/modules" // where the package user-mode-linux has them
)

// kind is what differs between guests, seen from within.
type kind struct {
	hostRoot func() (dir string, err error)    // has the host's root mounted, read-only, and overlays at hand
	modules  string                            // the folder with one for each release of the kernel
	line     func() (line *os.File, err error) // opens that to the test
}

func userMode() kind {
	return kind{modules: modulesOfUML, line: terminal, hostRoot: func() (string, error) {
		release, err := kernelRelease()
		if err != nil {
			return "", err
		}
		return "/", insert(filepath.Join(modulesOfUML, release, "kernel/fs/overlayfs/overlay.ko"))
	}}
}

// first is the guest's first process.
func first(k kind) error {
	root, err := k.hostRoot()
	if err != nil {
		return err
	}
	for _, step := range []func() error{func() error { return overlay(root) }, furnish, func() error { return modules(k.modules) }, loopback} {
		if err := step(); err != nil {
			return err
		}
	}
	line, err := k.line()
	if err != nil {
		return err
	}
	return serve(line)
}

// mount is one to be made.
type mount struct {
	fs, on, options string
	flags           uintptr
}

func mountAll(list ...mount) error {
	for _, m := range list {
		if err := unix.Mount(m.fs, m.on, m.fs, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.on, err)
		}
	}
	return nil
}

// overlay makes the host's root, which is mounted read-only, one that can be written to, in memory, and moves into it.
func overlay(root string) error {
	if err := mountAll(mount{fs: "tmpfs", on: "/mnt"}); err != nil {
		return err
	}
	for _, dir := range []string{"/mnt/upper", "/mnt/work", "/mnt/root"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	lower, err := layers(root)
	if err != nil {
		return err
	}
	options := "lowerdir=" + lower + ",upperdir=/mnt/upper,workdir=/mnt/work"
	if err := mountAll(mount{fs: "overlay", on: "/mnt/root", options: options}); err != nil {
		return err
	}
	if err := os.Chdir("/mnt/root"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	return os.Chdir("/")
}

// layers mounts the folders that lie over the host's root, each by itself: an overlay takes no folder and one within it.
func layers(root string) (lower string, err error) {
	for i, dir := range strings.FieldsFunc(os.Getenv(layersVariable), func(r rune) bool { return r == ':' }) {
		on := fmt.Sprintf("/mnt/layer%d", i)
		if err := os.Mkdir(on, 0o755); err != nil {
			return "", err
		}
		if err := mountAll(mount{fs: "hostfs", on: on, options: dir, flags: unix.MS_RDONLY}); err != nil {
			return "", err
		}
		lower += on + ":"
	}
	return lower + root, nil
}

func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// insert loads a module that needs no other.
func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

// furnish mounts what every Linux has.
func furnish() error {
	return mountAll(mount{fs: "proc", on: "/proc"}, mount{fs: "sysfs", on: "/sys"}, mount{fs: "devtmpfs", on: "/dev"}, mount{fs: "tmpfs", on: "/run"})
}

// loader is what the kernel calls for a module. AF_ALG (net-pf-38) is left out: strongSwan's tools would look for every
// cipher there, and for the module of each that is missing, for 10 s.
const loader = `#!/bin/sh
case "$*" in *net-pf-38) exit 1 ;; esac
exec /sbin/modprobe -d %s "$@"
`

// modules lets the kernel load modules as it needs them: kmod finds them below a root of their own, since the host may have
// no /lib/modules.
func modules(folder string) error {
	const root, helper = "/run/kmod", "/run/kmod/modprobe"
	release, err := kernelRelease()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root+"/lib/modules", 0o755); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(folder, release), filepath.Join(root, "lib/modules", release)); err != nil {
		return err
	}
	if err := os.WriteFile(helper, []byte(fmt.Sprintf(loader, root)), 0o755); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/kernel/modprobe", []byte(helper), 0)
}

func loopback() error {
	out, err := exec.Command("/bin/ip", "link", "set", "lo", "up").CombinedOutput()
	if err != nil {
		return fmt.Errorf("loopback: %w: %s", err, out)
	}
	return nil
}
