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

// series is the requests to one address. A request without answer for patience is lost.
type series struct {
	to      netip.Addr
	sent    int
	waiting map[uint16]time.Time // by sequence number
	lost    int
	last    time.Time // when the newest request was sent that was answered
}

// patience is long because the machine may be busy; what was not sent comes back sooner or never.
const patience = 2 * time.Second

const manyID = 0x6d70 // of the requests; the namespace is the test's own

// pingMany begins to ping each address once an interval, until the test ends.
func pingMany(t *testing.T, namespace string, from netip.Addr, to []netip.Addr, interval time.Duration) *manyPings {
	t.Helper()
	p := &manyPings{to: map[netip.Addr]*series{}}
	for _, a := range to {
		s := &series{to: a, waiting: map[uint16]time.Time{}}
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
	for seq, at := range s.waiting {
		if now.Sub(at) > patience {
			delete(s.waiting, seq)
			s.lost++
		}
	}
	s.sent++
	packet := make([]byte, 64)
	packet[0] = 8
	binary.BigEndian.PutUint16(packet[4:], manyID)
	binary.BigEndian.PutUint16(packet[6:], uint16(s.sent))
	binary.BigEndian.PutUint16(packet[2:], onesComplement(packet))
	s.waiting[uint16(s.sent)] = now
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
			if at := s.waiting[seq]; at.After(s.last) {
				s.last = at
			}
			delete(s.waiting, seq)
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

// count is how a series stands.
type count struct{ sent, lost int }

// settled waits until it is known what became of every request that has been sent until now, and answers the counts.
func (p *manyPings) settled() []count { return p.settle(p.list) }

// settledOf is settled for some members of a fleet.
func (p *manyPings) settledOf(members []*member) []count {
	var list []*series
	each(members, func(m *member) { list = append(list, p.list[m.n]) })
	return p.settle(list)
}

func (p *manyPings) settle(list []*series) []count {
	marks := make([]int, len(list))
	out := make([]count, len(list))
	p.mu.Lock()
	for i, s := range list {
		marks[i] = s.sent
	}
	p.mu.Unlock()
	for ; ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		open := false
		for i, s := range list {
			out[i] = count{marks[i], s.lost}
			for seq := range s.waiting {
				if int16(uint16(marks[i])-seq) >= 0 { // sequence numbers wrap
					open = true
				}
			}
		}
		p.mu.Unlock()
		if !open {
			return out
		}
	}
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
