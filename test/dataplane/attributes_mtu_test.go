package dataplane

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// mtuAttribute: TCP is told in its handshake, both ways, everything else by ICMP; IPv4 and IPv6.
func mtuAttribute(t *testing.T, table *attributes) {
	d := newDual(t)
	nets6 := "2001:db8:0:40::/64"
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External},
		far{name: "six", local: outer6(0), remote: d.v6.String(), nets: nets6, hqNets: lan6 + "/64"}), sitetest.Network(0), nets6)
	c4 := d.connect(outer4(0), []string{sitetest.Network(0)}, client.Object{"mtu": 1300})
	c6 := d.connect(outer6(0), []string{nets6}, client.Object{"mtu": 1320})
	c4.AwaitActive()
	c6.AwaitActive()
	atHQ := tap(t, d.HQ.Namespace(), "eth0")
	atBranch := tap(t, branch.Namespace(), "ipsec0")
	for _, way := range []struct {
		value, from, to, fromNS, toNS string
		seen                          *wire
		mss                           uint16
		what                          string
	}{
		{"1300, IPv4", sitetest.HQHost, c4.Remote, d.HQ.Namespace(), branch.Namespace(), atBranch, 1260, "SYN of the head office reaches the peer with MSS 1260"},
		{"1300, IPv4", c4.Remote, sitetest.HQHost, branch.Namespace(), d.HQ.Namespace(), atHQ, 1260, "SYN of the peer reaches the head office with MSS 1260"},
		{"1320, IPv6", hq6, c6.Remote, d.HQ.Namespace(), branch.Namespace(), atBranch, 1260, "SYN of the head office reaches the peer with MSS 1260"},
		{"1320, IPv6", c6.Remote, hq6, branch.Namespace(), d.HQ.Namespace(), atHQ, 1260, "SYN of the peer reaches the head office with MSS 1260"},
	} {
		dial(t, way.fromNS, way.toNS, way.from, way.to)
		got := uint16(0)
		sitetest.Poll(t, 3*time.Second, "a SYN from "+way.from, func() bool {
			got = mssOf(way.seen.packets(), netip.MustParseAddr(way.from))
			return got > 0
		})
		if got != way.mss {
			t.Errorf("mtu %s: SYN from %s has MSS %d, want %d", way.value, way.from, got, way.mss)
		}
		table.saw("mtu", way.value, "%s", way.what)
	}
	table.saw("encapsulation_mode", "tunnel", "between the routers ESP, and at the peer packets with the hosts' own addresses")
	for _, p := range []struct {
		value, to string
		mtu       int
	}{{"1300, IPv4", c4.Remote, 1300}, {"1320, IPv6", c6.Remote, 1320}} {
		if got := pathMTU(t, d.HQ.Namespace(), p.to, p.mtu+1); got != p.mtu {
			t.Errorf("a packet of %d bytes: the host learns the mtu %d, want %d", p.mtu+1, got, p.mtu)
		}
		pathMTU(t, d.HQ.Namespace(), p.to, p.mtu)
		largest := 0
		sitetest.Poll(t, 3*time.Second, fmt.Sprintf("a packet of %d bytes at the peer", p.mtu), func() bool {
			largest = largestTo(atBranch.packets(), netip.MustParseAddr(p.to))
			return largest >= p.mtu
		})
		if largest != p.mtu {
			t.Errorf("a packet of %d bytes came to the peer, the mtu is %d", largest, p.mtu)
		}
		table.saw("mtu", p.value, "a packet of %d bytes that may not be fragmented: ICMP tells the host mtu %d; one of %d passes", p.mtu+1, p.mtu, p.mtu)
	}
}

const mtuPort = 7000

// dial opens a TCP connection between two namespaces.
func dial(t *testing.T, fromNS, toNS, from, to string) {
	t.Helper()
	address := net.JoinHostPort(to, strconv.Itoa(mtuPort))
	var l net.Listener
	within(t, toNS, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	defer l.Close()
	within(t, fromNS, func() error {
		dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// mssOf answers the MSS option of the newest SYN from an address, 0 where there is none.
func mssOf(packets [][]byte, from netip.Addr) (mss uint16) {
	for _, p := range packets {
		source, _, protocol, tcp := addressesOf(p)
		if source != from || protocol != unix.IPPROTO_TCP || len(tcp) < 20 || tcp[13]&0x12 != 0x02 {
			continue
		}
		for options := tcp[20:min(int(tcp[12]>>4)*4, len(tcp))]; len(options) >= 4; {
			size := int(options[1])
			if options[0] == 1 { // padding, which has no length
				size = 1
			}
			if options[0] == 2 {
				mss = binary.BigEndian.Uint16(options[2:])
			}
			if size == 0 || size > len(options) {
				break
			}
			options = options[size:]
		}
	}
	return mss
}

// largestTo answers the size of the largest packet to an address.
func largestTo(packets [][]byte, to netip.Addr) (size int) {
	for _, p := range packets {
		if _, target, _, _ := addressesOf(p); target == to {
			size = max(size, len(p))
		}
	}
	return size
}

// pathMTU sends UDP packets of a size, with their headers, that may not be fragmented, until the host knows that they are too
// large, for a second at most. It answers what the host then takes for the path's MTU.
func pathMTU(t *testing.T, namespace, to string, size int) (mtu int) {
	t.Helper()
	addr := netip.MustParseAddr(to)
	family, level, discover, query, headers := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_MTU, 28
	var sockaddr unix.Sockaddr
	if addr.Is4() {
		sockaddr = &unix.SockaddrInet4{Port: mtuPort, Addr: addr.As4()}
	} else {
		family, level, discover, query, headers = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_MTU, 48
		sockaddr = &unix.SockaddrInet6{Port: mtuPort, Addr: addr.As16()}
	}
	within(t, namespace, func() error {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, level, discover, unix.IP_PMTUDISC_DO); err != nil {
			return err
		}
		if err := unix.Connect(fd, sockaddr); err != nil {
			return err
		}
		for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			_, _ = unix.Write(fd, make([]byte, size-headers)) // once the host knows, that is EMSGSIZE
			if mtu, err = unix.GetsockoptInt(fd, level, query); err != nil || mtu < size {
				return err
			}
		}
		return nil
	})
	return mtu
}

// familyAttributes: what is outside and what is inside of a tunnel have nothing to do with each other.
func familyAttributes(t *testing.T, table *attributes) {
	d := newDual(t)
	const first6, second6 = "2001:db8:0:40::/64", "2001:db8:0:41::/64"
	var peers []far
	var conns []*sitetest.Tunnel
	values := []string{"IPv4 in IPv4", "IPv6 in IPv4", "IPv4 in IPv6", "IPv6 in IPv6"}
	for i, f := range []far{
		{local: outer4(0), remote: d.External, nets: sitetest.Network(0)},
		{local: outer4(0), remote: d.External, nets: first6, hqNets: lan6 + "/64"},
		{local: outer6(0), remote: d.v6.String(), nets: sitetest.SecondNetwork(0)},
		{local: outer6(0), remote: d.v6.String(), nets: second6, hqNets: lan6 + "/64"},
	} {
		f.name = "far" + strconv.Itoa(i)
		f.id, f.hqID = "fqdn:"+f.name+".example", "fqdn:hq"+strconv.Itoa(i)+".example"
		peers = append(peers, f)
	}
	branch := d.peer(0, swanctl(peers...), sitetest.Network(0), first6, sitetest.SecondNetwork(0), second6)
	wire := tap(t, branch.Namespace(), "eth0")
	for i, f := range peers {
		conns = append(conns, d.connect(f.local, []string{f.nets}, client.Object{"local_id": "hq" + strconv.Itoa(i) + ".example", "peer_id": f.name + ".example"}))
	}
	for i, c := range conns {
		c.AwaitActive()
		before := espPackets(wire, netip.MustParseAddr(peers[i].local))
		d.passes(c.Remote)
		sitetest.Poll(t, 2*time.Second, values[i]+": five ESP packets to "+peers[i].local, func() bool {
			return espPackets(wire, netip.MustParseAddr(peers[i].local)) >= before+5
		})
		table.saw("peer_address and networks", values[i], "ESP in UDP 4500 between the outer addresses, pings pass")
	}
}

// espPackets counts ESP in UDP 4500 to an address.
func espPackets(w *wire, to netip.Addr) (n int) {
	for _, p := range w.packets() {
		_, target, protocol, udp := addressesOf(p)
		if target == to && protocol == unix.IPPROTO_UDP && len(udp) > 16 && binary.BigEndian.Uint16(udp[2:]) == 4500 {
			n++
		}
	}
	return n
}
