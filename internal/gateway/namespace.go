package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const netnsDir = "/run/netns" // where ip(8) looks, so that `ip netns exec` works on ours

// NamespaceName answers the network namespace of a router.
func NamespaceName(router string) string { return "culvert-" + router }

// namespace is an open network namespace with netlink sockets in it. Close it.
type namespace struct {
	name  string
	fd    netns.NsHandle
	nl    *netlink.Handle
	rules ruleset // what is known of its guard

	policies spdCounter
}

func (n *namespace) Close() {
	n.rules.close()
	n.policies.close()
	n.nl.Close()
	_ = n.fd.Close() // a descriptor of ours; nothing is buffered in it
}

// current tells whether the name still leads to this namespace.
func (n *namespace) current() bool {
	var named, open unix.Stat_t
	err := errors.Join(unix.Stat(filepath.Join(netnsDir, n.name), &named), unix.Fstat(int(n.fd), &open))
	return err == nil && named.Ino == open.Ino && named.Dev == open.Dev
}

// openNamespace opens an existing namespace. Where there is none, the error wraps os.ErrNotExist.
func openNamespace(name string) (*namespace, error) {
	path := filepath.Join(netnsDir, name)
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	if fs.Type != unix.NSFS_MAGIC { // a name whose mount went, as after a reboot
		return nil, fmt.Errorf("network namespace %s: stale name: %w", name, os.ErrNotExist)
	}
	fd, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	nl, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if err != nil {
		_ = fd.Close()
		return nil, fmt.Errorf("network namespace %s: netlink: %w", name, err)
	}
	return &namespace{name: name, fd: fd, nl: nl}, nil
}

// createNamespace makes a named namespace, in the manner of `ip netns add`.
func createNamespace(name string) (*namespace, error) {
	if err := shareNetnsDir(); err != nil {
		return nil, err
	}
	path := filepath.Join(netnsDir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o444)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	f.Close()
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "none", unix.MS_BIND, "")
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("network namespace %s: %w", name, err), os.Remove(path))
	}
	return openNamespace(name)
}

// deleteNamespace removes the name; the kernel ends the namespace with its last process and socket.
func deleteNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("network namespace %s: unmount: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	return nil
}

// shareNetnsDir makes the folder a shared mount of its own, as ip(8) does when it comes first: otherwise a later
// `ip netns add` would mount over our names and leave them undeletable.
func shareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("network namespaces: %w", err)
	}
	err := unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("network namespaces: share %s: %w", netnsDir, err)
	}
	return nil
}

// do runs fn on a thread that is inside the namespace.
func (n *namespace) do(fn func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(n.fd); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", n.name, err)
		}
		return fn()
	})
}

// onOwnThread runs fn on a thread that ends with it: whatever fn does to the thread stays there.
func onOwnThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		done <- fn()
	}()
	return <-done
}

// setting is one file below /proc/sys/net.
type setting struct{ path, value string }

// quiet are the settings that stand before any link is there. DAD is off so that addresses are usable at once: they
// come from the API, which gives none twice.
var quiet = []setting{
	{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
	{"ipv6/conf/all/accept_ra", "0"}, {"ipv6/conf/default/accept_ra", "0"},
	{"ipv6/conf/all/accept_dad", "0"}, {"ipv6/conf/default/accept_dad", "0"},
	{"ipv4/conf/all/accept_redirects", "0"}, {"ipv4/conf/default/accept_redirects", "0"},
	{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
}

// forwarding is switched on only after the guard stands.
var forwarding = []setting{{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"}}

// sysctl makes settings true in the namespace, writing only what differs: forwarding, once written, resets others.
func (n *namespace) sysctl(settings []setting) error {
	return n.do(func() error { return writeSettings(settings) })
}

func writeSettings(settings []setting) error {
	for _, s := range settings {
		path := filepath.Join("/proc/sys/net", s.path)
		now, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
			continue
		}
		if err == nil && string(now) != s.value+"\n" {
			err = os.WriteFile(path, []byte(s.value), 0)
		}
		if err != nil {
			return fmt.Errorf("sysctl %s=%s: %w", s.path, s.value, err)
		}
	}
	return nil
}
