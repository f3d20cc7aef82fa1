package dataplane

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// IKE exchanges (RFC 7296 section 3.1, RFC 2408 section 3.1).
const (
	exchangeMain          = 2
	exchangeAggressive    = 4
	exchangeQuick         = 32
	exchangeInit          = 34
	exchangeAuth          = 35
	exchangeCreateChild   = 36
	exchangeInformational = 37
)

// ikePacket is one IKE message on the wire.
type ikePacket struct {
	at       time.Time
	from, to netip.Addr
	version  byte // 0x10, 0x20
	exchange byte
	response bool // IKEv2 only
	message  []byte
}

// wire is a capture on one link of a namespace.
type wire struct {
	done, ended chan struct{}
	fd          int

	mu  sync.Mutex
	ike []ikePacket
	ip  [][]byte // every packet that is not IKE, from its IP header on
}

// within is inNamespace for what must work.
func within(t *testing.T, namespace string, f func() error) {
	t.Helper()
	if err := inNamespace(namespace, f); err != nil {
		t.Fatalf("in namespace %s: %v", namespace, err)
	}
}

// tap captures on a link until the test ends.
func tap(t *testing.T, namespace, link string) *wire {
	t.Helper()
	w := &wire{done: make(chan struct{}), ended: make(chan struct{})}
	within(t, namespace, func() (err error) {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index}); err != nil {
			return err
		}
		return unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})
	})
	go w.read(t)
	t.Cleanup(func() {
		close(w.done)
		<-w.ended
		_ = unix.Close(w.fd)
	})
	return w
}

func (w *wire) read(t *testing.T) {
	defer close(w.ended)
	buffer := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(w.fd, buffer, 0)
		select {
		case <-w.done:
			return
		default:
		}
		if err == unix.EAGAIN || err == unix.EINTR || err == unix.ENETDOWN {
			continue
		}
		if err != nil {
			t.Errorf("capture: %v", err)
			return
		}
		w.take(append([]byte(nil), buffer[:n]...))
	}
}

func (w *wire) take(packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := readIKE(packet); ok {
		w.ike = append(w.ike, p)
	} else if len(w.ip) < 10000 {
		w.ip = append(w.ip, packet)
	}
}

// addressesOf answers the addresses of a packet, its protocol and what follows the IP header.
func addressesOf(p []byte) (from, to netip.Addr, protocol byte, body []byte) {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4 && len(p) >= int(p[0]&15)*4:
		return netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20])), p[9], p[int(p[0]&15)*4:]
	case len(p) >= 40 && p[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), p[6], p[40:]
	}
	return
}

func readIKE(packet []byte) (p ikePacket, ok bool) {
	from, to, protocol, body := addressesOf(packet)
	if protocol != unix.IPPROTO_UDP || len(body) < 12 {
		return p, false
	}
	source, target, message := binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]), body[8:]
	switch {
	case source == 500 || target == 500:
	case (source == 4500 || target == 4500) && binary.BigEndian.Uint32(message) == 0: // RFC 3948 section 2.2
		message = message[4:]
	default:
		return p, false
	}
	if len(message) < 28 {
		return p, false
	}
	return ikePacket{at: time.Now(), from: from, to: to, version: message[17], exchange: message[18], response: message[19]&0x20 != 0, message: message}, true
}

// sent are the IKE messages from an address since a moment; with exchanges, only those of one of them.
func (w *wire) sent(from netip.Addr, since time.Time, exchanges ...byte) (out []ikePacket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.ike {
		wanted := len(exchanges) == 0
		for _, e := range exchanges {
			wanted = wanted || p.exchange == e
		}
		if wanted && p.from == from && !p.at.Before(since) {
			out = append(out, p)
		}
	}
	return out
}

// requests are those of sent that are no answers.
func (w *wire) requests(from netip.Addr, since time.Time, exchanges ...byte) (out []ikePacket) {
	for _, p := range w.sent(from, since, exchanges...) {
		if !p.response {
			out = append(out, p)
		}
	}
	return out
}

// packets are all others.
func (w *wire) packets() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([][]byte(nil), w.ip...)
}

// payload answers the first payload of a type in an unencrypted IKE message, without its header.
func (p ikePacket) payload(kind byte) []byte {
	next, rest := p.message[16], p.message[28:]
	for next != 0 && len(rest) >= 4 {
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size < 4 || size > len(rest) {
			return nil
		}
		if next == kind {
			return rest[4:size]
		}
		next, rest = rest[0], rest[size:]
	}
	return nil
}
