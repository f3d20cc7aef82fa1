// Package udpbuf gives the UDP sockets of another process more room. strongSwan has no setting for it, and in userland
// ESP every packet of a tunnel passes through one socket: with Linux's default of 208 KiB a daemon that gets no CPU
// time for a quarter of a second loses what arrives at 1,000 packets a second.
package udpbuf

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// room in bytes of each socket. The kernel takes memory for what waits only.
const room = 4 << 20

// Enlarge makes the receive buffer of each UDP socket of a process hold 4 MiB, whatever net.core.rmem_max says, and
// answers how many it has enlarged. It needs the rights to trace the process and to administer the network.
func Enlarge(pid int) (n int, err error) {
	sockets, err := of(pid)
	if err != nil {
		return 0, fmt.Errorf("receive buffers of process %d: %w", pid, err)
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("receive buffers of process %d: %w", pid, err)
	}
	defer unix.Close(process)
	for _, fd := range sockets {
		if err := enlarge(process, fd); err != nil {
			return n, fmt.Errorf("receive buffer of descriptor %d of process %d: %w", fd, pid, err)
		}
		n++
	}
	return n, nil
}

func enlarge(process, theirs int) error {
	ours, err := unix.PidfdGetfd(process, theirs, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ours)
	return unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
}

// of are the descriptors of a process that are UDP sockets.
func of(pid int) (fds []int, err error) {
	inodes, err := inodes(pid)
	if err != nil {
		return nil, err
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		fd, numErr := strconv.Atoi(filepath.Base(link))
		if err == nil && numErr == nil && inodes[to] { // one that is closed meanwhile is none
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// inodes are the UDP sockets in the process's network namespace, as links below /proc/PID/fd read.
func inodes(pid int) (map[string]bool, error) {
	out := map[string]bool{}
	for _, table := range []string{"udp", "udp6"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if errors.Is(err, fs.ErrNotExist) && table == "udp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if column := strings.Fields(lines.Text()); len(column) > 9 { // proc(5): the tenth is the inode
				out["socket:["+column[9]+"]"] = true
			}
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
