package gateway

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// echo is a raw ICMP socket from one address to another. What it sends must not be fragmented, and no path MTU that the
// kernel has learned bounds it. One goroutine at a time may use it.
type echo struct {
	file  *os.File // in the runtime's poller, so that many of them cost no threads
	to    netip.Addr
	token []byte // in each request, so that only answers to ours count
}

// Sizes of IP packets with an echo request, in bytes.
const (
	echoHeaders4 = 20 + 8
	echoHeaders6 = 40 + 8
	tokenLength  = 8
)

// openEcho opens it inside the namespace; it then works from any thread.
func openEcho(ns *namespace, from, to netip.Addr) (*echo, error) {
	fd := -1
	err := ns.do(func() (err error) {
		fd, err = echoSocket(from, to)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("probe %s from %s: %w", to, from, err)
	}
	e := &echo{file: os.NewFile(uintptr(fd), "icmp"), to: to, token: make([]byte, tokenLength)}
	rand.Read(e.token) // never fails (crypto/rand)
	return e, nil
}

func echoSocket(from, to netip.Addr) (int, error) {
	family, protocol, level, discover := unix.AF_INET, unix.IPPROTO_ICMP, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	if to.Is6() {
		family, protocol, level, discover = unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, err
	}
	// PROBE, the same number for both families: DF is set, and only the way out's own MTU bounds a packet.
	err = unix.SetsockoptInt(fd, level, discover, unix.IP_PMTUDISC_PROBE)
	if err == nil && to.Is6() {
		err = unix.SetsockoptInt(fd, level, unix.IPV6_DONTFRAG, 1)
	}
	if err == nil {
		err = errors.Join(unix.Bind(fd, socketAddress(from)), unix.Connect(fd, socketAddress(to)))
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func socketAddress(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

func (e *echo) close() { _ = e.file.Close() }

// smallest answers the size of the smallest packet that it can send.
func (e *echo) smallest() int {
	if e.to.Is6() {
		return echoHeaders6 + tokenLength
	}
	return echoHeaders4 + tokenLength
}

// mtu answers how large a packet the kernel takes for the way to the address as it is now: into the tunnel.
func (e *echo) mtu() (mtu int, err error) {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if e.to.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		if inner = unix.Connect(int(fd), socketAddress(e.to)); inner == nil { // looks the route up anew
			mtu, inner = unix.GetsockoptInt(int(fd), level, option)
		}
	})
	return mtu, errors.Join(err, inner)
}

// send sends a request in an IP packet of so many bytes, at least smallest.
func (e *echo) send(seq uint16, size int) error {
	headers, kind := echoHeaders4-8, byte(8)
	if e.to.Is6() {
		headers, kind = echoHeaders6-8, 128
	}
	packet := make([]byte, size-headers)
	packet[0] = kind
	copy(packet[4:6], e.token) // the identifier
	binary.BigEndian.PutUint16(packet[6:], seq)
	copy(packet[8:], e.token)
	if e.to.Is4() { // the kernel fills in that of ICMPv6
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
	}
	_, err := e.file.Write(packet)
	return err
}

// receive answers the number of the next request that was answered; os.ErrDeadlineExceeded when there was none until then.
// Errors that ICMP told the kernel are passed over: what they are about has no answer.
func (e *echo) receive(until time.Time) (seq uint16, err error) {
	if err := e.file.SetReadDeadline(until); err != nil {
		return 0, err
	}
	buffer := make([]byte, 1<<16)
	for range maxForeign {
		n, err := e.file.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
			return 0, err
		}
		if seq, ok := e.answer(buffer[:max(n, 0)]); err == nil && ok {
			return seq, nil
		}
	}
	return 0, os.ErrDeadlineExceeded
}

// maxForeign bounds how many packets that are no answers one call of receive reads.
const maxForeign = 1000

func (e *echo) answer(packet []byte) (seq uint16, ok bool) {
	kind := byte(129)
	if e.to.Is4() { // with its IP header
		if len(packet) < 20 || len(packet) < int(packet[0]&15)*4 {
			return 0, false
		}
		packet, kind = packet[int(packet[0]&15)*4:], 0
	}
	if len(packet) < 8+tokenLength || packet[0] != kind || !bytes.Equal(packet[8:8+tokenLength], e.token) {
		return 0, false
	}
	return binary.BigEndian.Uint16(packet[6:]), true
}

// checksum is RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word += uint32(b[i+1])
		}
		sum += word
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
