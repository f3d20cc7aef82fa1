package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// PingResult is what a series of echo requests came to.
type PingResult struct {
	Sent, Received int
	Fastest        time.Duration // round trip; 0 where nothing came back
	Slowest        time.Duration // likewise
	Unanswered     []time.Time   // when the lost ones were sent; of a long series the newest 65536
}

// Lost answers how many requests had no answer.
func (p PingResult) Lost() int { return p.Sent - p.Received }

func (p PingResult) String() string {
	return fmt.Sprintf("%d sent, %d received, fastest %s", p.Sent, p.Received, p.Fastest.Round(10*time.Microsecond))
}

// lastAnswer is how long the answer to the last request is waited for.
const lastAnswer = time.Second

// Ping sends count echo requests from an address of the namespace, one an interval, and counts the answers. count 0
// means until ctx ends. It ends early with ctx; that is no error.
func (h *Host) Ping(ctx context.Context, from, to netip.Addr, count int, interval time.Duration) (PingResult, error) {
	return Ping(ctx, h.cfg.Name, from, to, count, interval)
}

// Ping is Host.Ping in any named network namespace.
func Ping(ctx context.Context, namespace string, from, to netip.Addr, count int, interval time.Duration) (PingResult, error) {
	p := pinger{from: from, to: to, sent: map[uint16]time.Time{}}
	if err := p.open(namespace); err != nil {
		return PingResult{}, fmt.Errorf("ping %s from %s in %s: %w", to, from, namespace, err)
	}
	defer unix.Close(p.fd)
	next := time.Now()
	for ctx.Err() == nil && (count == 0 || p.result.Sent < count) {
		p.send()
		next = next.Add(interval)
		if now := time.Now(); next.Before(now) { // a machine that was late sends no burst: it would lose answers itself
			next = now
		}
		p.receiveUntil(ctx, next, false)
	}
	p.receiveUntil(context.WithoutCancel(ctx), time.Now().Add(lastAnswer), true)
	p.result.Unanswered = slices.SortedFunc(maps.Values(p.sent), time.Time.Compare)
	return p.result, nil
}

type pinger struct {
	fd       int
	from, to netip.Addr
	id       uint16
	sent     map[uint16]time.Time // unanswered, by sequence number
	result   PingResult
}

// open makes the socket inside the namespace; it then works from any thread.
func (p *pinger) open(namespace string) error {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if p.to.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(ns)
		if err == nil {
			p.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return err
	}
	p.id = uint16(time.Now().UnixNano() >> 10)
	timeout := unix.Timeval{Usec: 20000} // so that a wait sees its context end
	return errors.Join(unix.Bind(p.fd, sockaddr(p.from)), unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// send counts a request that the kernel refuses, as for want of a route, as sent and lost.
func (p *pinger) send() {
	p.result.Sent++
	seq := uint16(p.result.Sent)
	packet := make([]byte, 64)
	packet[0] = 8
	if p.to.Is6() {
		packet[0] = 128 // the kernel fills in this one's checksum
	}
	binary.BigEndian.PutUint16(packet[4:], p.id)
	binary.BigEndian.PutUint16(packet[6:], seq)
	if p.to.Is4() {
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
	}
	p.sent[seq] = time.Now()
	_ = unix.Sendto(p.fd, packet, 0, sockaddr(p.to))
}

func (p *pinger) receiveUntil(ctx context.Context, end time.Time, all bool) {
	buffer := make([]byte, 2048)
	for {
		left := max(0, time.Until(end))
		if ctx.Err() != nil || (all && len(p.sent) == 0) {
			return
		}
		wait := unix.NsecToTimeval(min(left, 20*time.Millisecond).Nanoseconds())
		wait.Usec = max(wait.Usec, 1)
		if err := unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return
		}
		how := 0
		if left == 0 {
			how = unix.MSG_DONTWAIT // what has come is taken, even if it is late
		}
		n, from, err := unix.Recvfrom(p.fd, buffer, how)
		if err == nil {
			p.take(buffer[:n], from)
		} else if left == 0 {
			return
		}
	}
}

func (p *pinger) take(packet []byte, from unix.Sockaddr) {
	reply := byte(129)
	if p.to.Is4() {
		if len(packet) < 20 {
			return
		}
		packet, reply = packet[int(packet[0]&15)*4:], 0
	}
	if len(packet) < 8 || packet[0] != reply || binary.BigEndian.Uint16(packet[4:]) != p.id || addrOf(from) != p.to {
		return
	}
	seq := binary.BigEndian.Uint16(packet[6:])
	at, ok := p.sent[seq]
	if !ok {
		return
	}
	delete(p.sent, seq)
	p.result.Received++
	trip := time.Since(at)
	if p.result.Slowest = max(p.result.Slowest, trip); p.result.Fastest == 0 || trip < p.result.Fastest {
		p.result.Fastest = trip
	}
}

func addrOf(s unix.Sockaddr) netip.Addr {
	switch a := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr)
	}
	return netip.Addr{}
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
