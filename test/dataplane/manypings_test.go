package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manyPings pings many addresses from one, all the time, and knows of each request what became of it.
type manyPings struct {
	fd   int
	mu   sync.Mutex
	to   map[netip.Addr]*series
	list []*series
}

// series is the requests to one address.
type series struct {
	to      netip.Addr
	sent    int
	waiting map[uint16]echoRequest // by sequence number
	missed  map[uint16]echoRequest // not answered within patience
	last    time.Time              // when the newest request was sent that was answered
}

// echoRequest is the nth to its address.
type echoRequest struct {
	n  int
	at time.Time
}

// On a busy machine packets wait for a charon that gets no CPU time. What comes late is not lost.
const (
	patience = 2 * time.Second
	latest   = 15 * time.Second
)

const manyID = 0x6d70 // of the requests; the namespace is the test's own

// pingMany begins to ping each address once an interval, until the test ends.
func pingMany(t *testing.T, namespace string, from netip.Addr, to []netip.Addr, interval time.Duration) *manyPings {
	t.Helper()
	p := &manyPings{to: map[netip.Addr]*series{}}
	for _, a := range to {
		s := &series{to: a, waiting: map[uint16]echoRequest{}, missed: map[uint16]echoRequest{}}
		p.to[a], p.list = s, append(p.list, s)
	}
	err := inNamespace(namespace, func() (err error) {
		p.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		return errors.Join(unix.Bind(p.fd, &unix.SockaddrInet4{Addr: from.As4()}), unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
			unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}))
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.send(ctx, interval) })
	running.Go(func() { p.receive(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); _ = unix.Close(p.fd) })
	return p
}

// send spreads the requests over the interval.
func (p *manyPings) send(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval / time.Duration(len(p.list)))
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		p.sendOne(p.list[n%len(p.list)])
		<-tick.C
	}
}

func (p *manyPings) sendOne(s *series) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for seq, r := range s.waiting {
		if now.Sub(r.at) > patience {
			delete(s.waiting, seq)
			s.missed[seq] = r
		}
	}
	s.sent++
	packet := make([]byte, 64)
	packet[0] = 8
	binary.BigEndian.PutUint16(packet[4:], manyID)
	binary.BigEndian.PutUint16(packet[6:], uint16(s.sent))
	binary.BigEndian.PutUint16(packet[2:], onesComplement(packet))
	s.waiting[uint16(s.sent)] = echoRequest{s.sent, now}
	_ = unix.Sendto(p.fd, packet, 0, &unix.SockaddrInet4{Addr: s.to.As4()}) // what is refused is lost
}

// onesComplement is the Internet checksum (RFC 1071).
func onesComplement(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (p *manyPings) receive(ctx context.Context) {
	for buffer := make([]byte, 2048); ctx.Err() == nil; {
		n, from, err := unix.Recvfrom(p.fd, buffer, 0)
		a, ok := from.(*unix.SockaddrInet4)
		if err != nil || !ok || n < 28 {
			continue
		}
		packet := buffer[int(buffer[0]&15)*4 : n]
		if packet[0] != 0 || binary.BigEndian.Uint16(packet[4:]) != manyID {
			continue
		}
		p.mu.Lock()
		if s := p.to[netip.AddrFrom4(a.Addr)]; s != nil {
			seq := binary.BigEndian.Uint16(packet[6:])
			if r := s.waiting[seq]; r.at.After(s.last) {
				s.last = r.at
			}
			delete(s.waiting, seq)
			delete(s.missed, seq)
		}
		p.mu.Unlock()
	}
}

// answerSince tells whether every address has answered a request that was sent after a time.
func (p *manyPings) answerSince(at time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.list, func(s *series) bool { return !s.last.After(at) })
}

// settled waits until every request that has been sent until now is answered or missed, and answers how many that are, by
// series.
func (p *manyPings) settled() []int { return p.settle(p.list) }

// settledOf is settled, but waits for some members of a fleet only.
func (p *manyPings) settledOf(members []*member) []int {
	var list []*series
	each(members, func(m *member) { list = append(list, p.list[m.n]) })
	return p.settle(list)
}

func (p *manyPings) settle(list []*series) []int {
	sent := make([]int, len(p.list))
	p.mu.Lock()
	for i, s := range p.list {
		sent[i] = s.sent
	}
	p.mu.Unlock()
	for ; ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		open := slices.ContainsFunc(list, func(s *series) bool { return among(s.waiting, 0, sent[slices.Index(p.list, s)]) > 0 })
		p.mu.Unlock()
		if !open {
			return sent
		}
	}
}

// lost answers how many of the requests to the n-th address after the first from, up to the to-th, are missed for good.
func (p *manyPings) lost(n, from, to int) (lost int) {
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		lost = among(p.list[n].missed, from, to)
		p.mu.Unlock()
		if lost == 0 || time.Since(start) > latest {
			return lost
		}
	}
}

// among counts the requests after the first from, up to the to-th.
func among(requests map[uint16]echoRequest, from, to int) (n int) {
	for _, r := range requests {
		if from < r.n && r.n <= to {
			n++
		}
	}
	return n
}

// answersWithin waits for an answer to a request that was sent to the n-th address after a time.
func (p *manyPings) answersWithin(n int, at time.Time, within time.Duration) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		answered := p.list[n].last.After(at)
		p.mu.Unlock()
		if answered || time.Now().After(deadline) {
			return answered
		}
	}
}
