package uml

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// initialRoot writes an emulated guest's first root: this binary as its first process, and the modules that it loads. The
// format is "newc" of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
func initialRoot(path, modules string) error {
	if err := standsAlone("/proc/self/exe"); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	a := &archive{to: bufio.NewWriter(f)}
	for _, dir := range []string{"dev", "proc", "mnt", "host", earlyModules[1:]} {
		a.add(dir, unix.S_IFDIR|0o755, nil)
	}
	a.addFile("init", "/proc/self/exe")
	for _, name := range early() {
		a.addFile(earlyModules[1:]+"/"+filepath.Base(name)+".ko", filepath.Join(modules, "kernel", name+".ko"))
	}
	a.add("TRAILER!!!", 0, nil)
	return errors.Join(a.err, a.to.Flush(), f.Close())
}

// standsAlone tells why a program cannot run where no other file is.
func standsAlone(path string) error {
	program, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
		return fmt.Errorf("this test needs %v: build it with CGO_ENABLED=0, as make does (%v)", libraries, err)
	}
	return nil
}

// archive is one that is being written.
type archive struct {
	to     *bufio.Writer
	number int // of the last file
	err    error
}

func (a *archive) addFile(name, from string) {
	content, err := os.ReadFile(from)
	if err != nil {
		a.err = errors.Join(a.err, err)
		return
	}
	a.add(name, unix.S_IFREG|0o755, content)
}

func (a *archive) add(name string, mode uint32, content []byte) {
	a.number++
	fields := []uint32{uint32(a.number), mode, 0, 0, 1, 0, uint32(len(content)), 0, 0, 0, 0, uint32(len(name) + 1), 0}
	header := "070701"
	for _, f := range fields {
		header += fmt.Sprintf("%08X", f)
	}
	for _, part := range [][]byte{[]byte(header + name + "\x00"), content} {
		padding := make([]byte, (4-len(part)%4)%4)
		for _, b := range [][]byte{part, padding} {
			if _, err := a.to.Write(b); err != nil {
				a.err = errors.Join(a.err, err)
			}
		}
	}
}
