package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// capture counts the IPv4 packets on one link, both ways, by what they are.
type capture struct {
	fd   int
	done chan struct{}

	mu   sync.Mutex
	seen traffic
	err  error
}

// traffic is what was on the wire.
type traffic struct {
	inner    int // an address of the head office's network, in clear
	between  int // of these: from or to a private network of a branch
	esp      int // in UDP 4500
	examples []string
}

// startCapture listens on the link of a namespace whose name begins with prefix.
func startCapture(t *testing.T, namespace, prefix string) *capture {
	t.Helper()
	c := &capture{done: make(chan struct{})}
	if err := c.open(namespace, prefix); err != nil {
		t.Fatalf("capture on %s* in %s: %v", prefix, namespace, err)
	}
	go c.read()
	t.Cleanup(func() { _ = c.stop() }) // for a test that failed before
	return c
}

// open makes the socket inside the namespace; it then works from any thread.
func (c *capture) open(namespace, prefix string) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- c.openHere(namespace, prefix)
	}()
	return <-done
}

func (c *capture) openHere(namespace, prefix string) error {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if !strings.HasPrefix(l.Attrs().Name, prefix) {
			continue
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index}); err != nil {
			return err
		}
		return unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})
	}
	return fmt.Errorf("there is no such link")
}

func (c *capture) read() {
	buffer := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(c.fd, buffer, 0)
		select {
		case <-c.done:
			_ = unix.Close(c.fd)
			return
		default:
		}
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		c.mu.Lock()
		if err != nil {
			c.err = err
		} else if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Protocol == binary.NativeEndian.Uint16([]byte{8, 0}) {
			c.seen.take(buffer[:n])
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *traffic) take(packet []byte) {
	if len(packet) < 20 {
		return
	}
	src, dst := netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
	hq := netip.MustParsePrefix(hqCIDR)
	if hq.Contains(src) || hq.Contains(dst) {
		s.inner++
		if other := map[bool]netip.Addr{true: dst, false: src}[hq.Contains(src)]; other.IsPrivate() {
			s.between++
			s.examples = append(s.examples, fmt.Sprintf("%s > %s protocol %d", src, dst, packet[9]))
		}
	}
	header := int(packet[0]&15) * 4
	if packet[9] != unix.IPPROTO_UDP || len(packet) < header+12 {
		return
	}
	udp := packet[header:]
	on4500 := binary.BigEndian.Uint16(udp) == 4500 || binary.BigEndian.Uint16(udp[2:]) == 4500
	if on4500 && binary.BigEndian.Uint32(udp[8:]) != 0 { // zero is IKE's marker (RFC 3948 section 2.2)
		s.esp++
	}
}

// now is what has been seen so far.
func (c *capture) now() traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// stop ends the capture.
func (c *capture) stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
	default:
		close(c.done)
	}
	return c.err
}

// nothingInClear fails if a packet between the head office and a branch was on the wire as it is.
func (c *capture) nothingInClear(t *testing.T) {
	t.Helper()
	if err := c.stop(); err != nil {
		t.Fatalf("capture: %v", err)
	}
	if got := c.now(); got.between > 0 {
		t.Errorf("%d packets were on the wire in clear: %s", got.between, strings.Join(got.examples[:min(5, len(got.examples))], "; "))
	}
}
