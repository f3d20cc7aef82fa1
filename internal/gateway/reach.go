package gateway

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// answer is what came of asking one port of a peer.
type answer int

const (
	silent    answer = iota
	answered         // by an IKE daemon
	refused          // ICMP port unreachable: nobody listens there, or a filter says so
	stopped          // a router on the way says that it cannot or may not deliver
	forbidden        // our own host does not let the packet out
	noWay            // our own host has no route
)

// reach is what a peer's host was found to do.
type reach struct {
	ike, natt answer // UDP 500 and 4500
	echo      bool   // it answers pings
}

// How a peer is asked: three times, and no longer than that takes.
const (
	askTimes = 3
	askEvery = 250 * time.Millisecond
	askLimit = 900 * time.Millisecond
)

// examine asks a peer's host from within a namespace: IKE on both its ports, and a ping. It returns as soon as it is clear
// why IKE is not answered, after askLimit at the latest.
func examine(ctx context.Context, ns *namespace, local, peer netip.Addr) reach {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var out reach
	var asked sync.WaitGroup
	asked.Go(func() {
		if out.ike = askIKE(ctx, ns, local, netip.AddrPortFrom(peer, 500)); out.ike > answered {
			cancel()
		}
	})
	asked.Go(func() { out.natt = askIKE(ctx, ns, local, netip.AddrPortFrom(peer, 4500)) })
	asked.Go(func() { out.echo = askEcho(ctx, ns, local, peer) })
	asked.Wait()
	return out
}

// askIKE sends what each IKE daemon must answer and none takes for the beginning of anything: a header of a version that
// does not exist yet (RFC 7296 section 2.5: INVALID_MAJOR_VERSION).
func askIKE(ctx context.Context, ns *namespace, local netip.Addr, to netip.AddrPort) answer {
	var conn net.Conn
	err := ns.do(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)), net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		return refusal(err, noWay)
	}
	err = ask(ctx, conn, ikeProbe(to.Port() == 4500), func(reply []byte) bool { return len(reply) >= ikeHeader })
	return refusal(err, stopped)
}

const ikeHeader = 28 // bytes (RFC 7296 section 3.1)

// ikeProbe is an IKE header of version 3.0, with the marker of port 4500 (RFC 3948 section 2.2) where that is wanted.
func ikeProbe(marked bool) []byte {
	header := make([]byte, ikeHeader)
	rand.Read(header[:8]) // SPI; never fails (crypto/rand)
	header[17] = 3 << 4
	header[18] = 34   // IKE_SA_INIT
	header[19] = 0x08 // from the initiator
	binary.BigEndian.PutUint32(header[24:], ikeHeader)
	if marked {
		return append(make([]byte, 4), header...)
	}
	return header
}

// refusal reads an error of a socket: errors of the network are answers too. unreachable is what a missing route means.
func refusal(err error, unreachable answer) answer {
	switch {
	case err == nil:
		return answered
	case errors.Is(err, unix.ECONNREFUSED):
		return refused
	case errors.Is(err, unix.EPERM):
		return forbidden
	case errors.Is(err, unix.ENETUNREACH):
		return unreachable
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOPROTOOPT):
		return stopped
	}
	return silent
}

// askEcho pings.
func askEcho(ctx context.Context, ns *namespace, local, peer netip.Addr) bool {
	e, err := openEcho(ns, local, peer)
	if err != nil {
		return false
	}
	defer e.close()
	defer context.AfterFunc(ctx, e.close)()
	for seq := range uint16(askTimes) {
		if err := e.send(seq, e.smallest()); err != nil {
			return false
		}
		if _, err := e.receive(time.Now().Add(askEvery)); err == nil {
			return true
		}
	}
	return false
}

// ask sends a packet again and again until one that is meant comes back, closes the socket, and answers nil then and the
// last error otherwise.
func ask(ctx context.Context, conn net.Conn, packet []byte, meant func([]byte) bool) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buffer := make([]byte, 2048)
	for range askTimes {
		if _, err := conn.Write(packet); err != nil {
			return err // also that of the packet before
		}
		if err := conn.SetReadDeadline(time.Now().Add(askEvery)); err != nil {
			return err
		}
		for {
			n, err := conn.Read(buffer)
			if err == nil && meant(buffer[:n]) {
				return nil
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return os.ErrDeadlineExceeded
}

func (a answer) String() string {
	names := []string{"silent", "answered", "refused", "stopped", "forbidden", "no way"}
	if int(a) < len(names) {
		return names[a]
	}
	return strconv.Itoa(int(a))
}
