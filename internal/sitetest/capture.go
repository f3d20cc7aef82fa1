package sitetest

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

// Capture counts the IPv4 packets on one link, both ways, by what they are.
type Capture struct {
	fd   int
	done chan struct{}

	mu   sync.Mutex
	seen Traffic
	err  error
}

// Traffic is what was on the wire.
type Traffic struct {
	Inner    int // an address of the head office's network, in clear
	Between  int // of these: from or to a private network of a branch
	ESP      int // as protocol 50, or in UDP 4500
	Native   int // of these: as protocol 50
	Examples []string
}

// StartCapture listens on the link of a namespace, "" for the present one, whose name begins with prefix. Where a kernel does
// ESP, only a link outside of both ends shows the wire: at their own, what the kernel has decrypted comes in once more.
func StartCapture(t *testing.T, namespace, prefix string) *Capture {
	t.Helper()
	c := &Capture{done: make(chan struct{})}
	if err := c.open(namespace, prefix); err != nil {
		t.Fatalf("capture on %s* in %s: %v", prefix, namespace, err)
	}
	go c.read()
	t.Cleanup(func() { _ = c.Stop() }) // for a test that failed before
	return c
}

// open makes the socket inside the namespace; it then works from any thread.
func (c *Capture) open(namespace, prefix string) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- c.openHere(namespace, prefix)
	}()
	return <-done
}

func (c *Capture) openHere(namespace, prefix string) error {
	if namespace != "" {
		ns, err := netns.GetFromName(namespace)
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return err
		}
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

func (c *Capture) read() {
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

func (s *Traffic) take(packet []byte) {
	if len(packet) < 20 {
		return
	}
	src, dst := netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
	hq := netip.MustParsePrefix(HQNet)
	if hq.Contains(src) || hq.Contains(dst) {
		s.Inner++
		if other := map[bool]netip.Addr{true: dst, false: src}[hq.Contains(src)]; other.IsPrivate() {
			s.Between++
			s.Examples = append(s.Examples, fmt.Sprintf("%s > %s protocol %d", src, dst, packet[9]))
		}
	}
	if packet[9] == unix.IPPROTO_ESP {
		s.ESP++
		s.Native++
	}
	header := int(packet[0]&15) * 4
	if packet[9] != unix.IPPROTO_UDP || len(packet) < header+12 {
		return
	}
	udp := packet[header:]
	on4500 := binary.BigEndian.Uint16(udp) == 4500 || binary.BigEndian.Uint16(udp[2:]) == 4500
	if on4500 && binary.BigEndian.Uint32(udp[8:]) != 0 { // zero is IKE's marker (RFC 3948 section 2.2)
		s.ESP++
	}
}

// Now is what has been seen so far.
func (c *Capture) Now() Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// Stop ends the capture.
func (c *Capture) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
	default:
		close(c.done)
	}
	return c.err
}

// NothingInClear fails if a packet between the head office and a branch was on the wire as it is.
func (c *Capture) NothingInClear(t *testing.T) {
	t.Helper()
	if err := c.Stop(); err != nil {
		t.Fatalf("capture: %v", err)
	}
	if got := c.Now(); got.Between > 0 {
		t.Errorf("%d packets were on the wire in clear: %s", got.Between, strings.Join(got.Examples[:min(5, len(got.Examples))], "; "))
	}
}
