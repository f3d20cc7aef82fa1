package uml

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An emulated guest is Debian's own kernel in qemu, without virtualisation. It sees the host's root by virtiofs.

// Debian is where packaging/install-deps unpacks Debian's own kernel.
const Debian = "/var/cache/culvert-test/linux"

const (
	emulator      = "/usr/bin/qemu-system-x86_64"
	fileServer    = "/usr/lib/qemu/virtiofsd"
	hostTag       = "host" // of the file system
	earlyModules  = "/modules"
	portsOfGuest  = "/dev/vport*p*"
	portAppearsIn = 20 * time.Second
)

// early are the modules that an emulated guest needs to see the host's root, in the order of their loading.
func early() []string {
	return []string{"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci_legacy_dev",
		"drivers/virtio/virtio_pci", "drivers/char/virtio_console", "fs/fuse/fuse", "fs/fuse/virtiofs", "fs/overlayfs/overlay"}
}

// emulate is the keeper of an emulated guest: it serves the host's files and runs the kernel.
func emulate() error {
	dir, err := ofMemory()
	if err != nil {
		return err
	}
	kernel, modules, err := debian()
	if err != nil {
		return err
	}
	if err := initialRoot(filepath.Join(dir, "initrd"), modules); err != nil {
		return err
	}
	socket := filepath.Join(dir, "files")
	files, err := serveFiles(socket)
	if err != nil {
		return err
	}
	defer func() { _ = files.Process.Kill() }() // it has ended by itself, or does with this process, the first of its PID namespace
	return emulatorCommand(kernel, filepath.Join(dir, "initrd"), socket).Run()
}

// debian answers the one kernel below Debian and its modules.
func debian() (kernel, modules string, err error) {
	kernels, err := filepath.Glob(Debian + "/boot/vmlinuz-*")
	if err != nil || len(kernels) != 1 {
		return "", "", fmt.Errorf("kernels below %s: %v, %w: packaging/install-deps test unpacks one", Debian, kernels, err)
	}
	return kernels[0], filepath.Join(Debian, "lib/modules", strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")), nil
}

// serveFiles starts the server of the host's root.
func serveFiles(socket string) (*exec.Cmd, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	passed, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer passed.Close()
	cmd := exec.Command(fileServer, "--fd=3", "-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always", "-o", "log_level=err")
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", os.Stdout, os.Stderr, []*os.File{passed}
	return cmd, cmd.Start()
}

// emulatorCommand has the line to the guest's first process on its standard streams, and the console on the keeper's.
func emulatorCommand(kernel, initrd, files string) *exec.Cmd {
	memory := os.Getenv(memoryVariable) + "M"
	cmd := exec.Command(emulator, "-accel", "tcg", "-M", "q35", "-cpu", "max", "-smp", "1", "-m", memory, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-object", "memory-backend-memfd,id=memory,share=on,size="+memory, "-numa", "node,memdev=memory",
		"-chardev", "socket,id=files,path="+files, "-device", "vhost-user-fs-pci,chardev=files,tag="+hostTag,
		"-chardev", "stdio,id=line,signal=off", "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=line",
		"-chardev", "file,id=console,path=/dev/fd/2", "-serial", "chardev:console",
		"-kernel", kernel, "-initrd", initrd, "-append", strings.Join(os.Args[1:], " "))
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	cmd.Stdin, cmd.Stdout = os.NewFile(3, "to the guest"), os.NewFile(4, "from the guest")
	return cmd
}

func emulated() kind {
	return kind{hostRoot: hostRoot, modules: filepath.Join(Debian, "lib/modules"), line: port}
}

// hostRoot loads what is needed to see the host's root, and mounts it.
func hostRoot() (dir string, err error) {
	for _, name := range early() {
		if err := insert(filepath.Join(earlyModules, filepath.Base(name)+".ko")); err != nil {
			return "", err
		}
	}
	if err := unix.Mount(hostTag, "/host", "virtiofs", unix.MS_RDONLY, ""); err != nil {
		return "", fmt.Errorf("mount the host's root: %w", err)
	}
	return "/host", nil
}

// port opens the guest's end of the line, which the kernel shows a moment after it has loaded the module.
func port() (*os.File, error) {
	for deadline := time.Now().Add(portAppearsIn); ; time.Sleep(10 * time.Millisecond) {
		if found, err := filepath.Glob(portsOfGuest); err != nil || len(found) == 1 {
			return os.OpenFile(strings.Join(found, ""), os.O_RDWR, 0)
		}
		if time.Now().After(deadline) {
			return nil, errors.New("no port of the emulator's appears")
		}
	}
}
