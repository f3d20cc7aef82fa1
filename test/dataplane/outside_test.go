package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// captureRoom is what may wait to be read of a capture, in bytes: seconds of traffic.
const captureRoom = 32 << 20

// outside is a capture on the gateway's outside link, or rather on its other end in the sandbox: so it stands before the
// link does, and sees the link again when it is made anew.
type outside struct {
	link        string
	local, peer []netip.Prefix // the selectors, however wide
	fd          int
	done, ended chan struct{}

	mu    sync.Mutex
	seen  packets
	names map[int]string // of links, by index
}

// packets is what was on the link.
type packets struct {
	encrypted int // ESP in UDP 4500 (RFC 3948)
	plain     int // between the selectors, as they are
	others    int // of the local networks, to elsewhere: the link does carry what is not in the selectors
	example   string
}

func (p packets) since(before packets) packets {
	return packets{p.encrypted - before.encrypted, p.plain - before.plain, p.others - before.others, p.example}
}

// watch captures on every link of the sandbox, present and to come, and counts what passes the one of that name.
func watch(t *testing.T, link string, local, peer []netip.Prefix) *outside {
	t.Helper()
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all))
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureRoom)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})
	}
	if err != nil {
		t.Fatalf("capture: %v", err)
	}
	o := &outside{link: link, local: local, peer: peer, fd: fd, done: make(chan struct{}), ended: make(chan struct{}), names: map[int]string{}}
	go o.read(t)
	t.Cleanup(func() {
		close(o.done)
		<-o.ended
		o.missedNothing(t)
		_ = unix.Close(fd)
	})
	return o
}

// missedNothing fails where the kernel dropped packets that the capture was too slow for.
func (o *outside) missedNothing(t *testing.T) {
	stats, err := unix.GetsockoptTpacketStats(o.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		t.Errorf("capture: %v", err)
	} else if t.Logf("the capture got %d packets of all links, and missed %d", stats.Packets-stats.Drops, stats.Drops); stats.Drops > 0 {
		t.Errorf("the capture missed %d packets, so that nobody knows what they were", stats.Drops)
	}
}

func (o *outside) read(t *testing.T) {
	defer close(o.ended)
	buffer := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(o.fd, buffer, 0)
		select {
		case <-o.done:
			return
		default:
		}
		switch ll, ok := from.(*unix.SockaddrLinklayer); {
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != nil:
			t.Errorf("capture: %v", err)
			return
		case ok && n >= 20 && o.name(ll.Ifindex) == o.link:
			o.take(buffer[:n])
		}
	}
}

// name of a link that is there, or was when a packet of it was seen first.
func (o *outside) name(index int) string {
	if name, ok := o.names[index]; ok {
		return name
	}
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return ""
	}
	o.names[index] = l.Attrs().Name
	return o.names[index]
}

func (o *outside) take(packet []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	src, dst, protocol, body := addressesOf(packet)
	switch {
	case in(o.local, src) && in(o.peer, dst), in(o.peer, src) && in(o.local, dst):
		o.seen.plain++
		o.seen.example = fmt.Sprintf("%s > %s protocol %d", src, dst, protocol)
	case in(o.local, src) || in(o.local, dst):
		o.seen.others++
	case isESP(protocol, body):
		o.seen.encrypted++
	}
}

func in(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// isESP tells ESP in UDP from IKE, whose marker is four zero bytes (RFC 3948 section 2.2).
func isESP(protocol byte, udp []byte) bool {
	if protocol != unix.IPPROTO_UDP || len(udp) < 12 {
		return false
	}
	on4500 := binary.BigEndian.Uint16(udp) == 4500 || binary.BigEndian.Uint16(udp[2:]) == 4500
	return on4500 && binary.BigEndian.Uint32(udp[8:]) != 0
}

// now is what has been seen so far.
func (o *outside) now() packets {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen
}
