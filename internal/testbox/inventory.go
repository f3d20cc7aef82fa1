package testbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Inventory is what tests could leave behind in the sandbox, each thing as a line for people.
type Inventory []string

// TakeInventory lists network namespaces, links, other processes, nft tables of the host's namespace, and the files of
// gateways and branches.
func TakeInventory() (Inventory, error) {
	var out Inventory
	for what, pattern := range map[string]string{"namespace": "/run/netns/*", "file": "/run/culvert/*/*", "branch file": "/run/e2e/*/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			out = append(out, what+" "+f)
		}
	}
	links, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) { // something changed meanwhile
		links, err = netlink.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		out = append(out, "link "+l.Attrs().Name)
	}
	tables, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("nft list tables: %w: %s", err, tables)
	}
	for line := range strings.Lines(string(tables)) {
		out = append(out, "nft "+strings.TrimSpace(line))
	}
	processes, err := otherProcesses()
	return append(out, processes...), err
}

// otherProcesses are all of the sandbox but its first one and this one.
func otherProcesses() (out []string, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		command, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if errors.Is(err, os.ErrNotExist) || len(command) == 0 { // gone, or ended and not yet reaped
			continue
		}
		if err != nil && !strings.Contains(err.Error(), "no such process") {
			return nil, err
		}
		out = append(out, fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " ")))
	}
	return out, nil
}

// AwaitNothingMore answers what is there and was not before, once it is nothing or the time is over: the kernel takes
// namespaces and links away a little later.
func (before Inventory) AwaitNothingMore(within time.Duration) (left Inventory, err error) {
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		now, err := TakeInventory()
		if err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(slices.Clone(now), func(thing string) bool { return slices.Contains(before, thing) })
		if len(left) == 0 || time.Now().After(deadline) {
			return left, nil
		}
	}
}

// LeavesNothing runs fn, after which nothing may be there that was not there before. Tests that call it do not run in
// parallel with others.
func LeavesNothing(t *testing.T, fn func()) {
	t.Helper()
	before, err := TakeInventory()
	if err != nil {
		t.Fatal(err)
	}
	fn()
	left, err := before.AwaitNothingMore(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind:\n%s", left)
	}
}

func (i Inventory) String() string { return strings.Join(i, "\n") }
