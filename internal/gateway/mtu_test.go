package gateway

import (
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The routes to the peer's networks have the connection's mtu, a change of it is no affair of the SAs, and rekeying keeps it.
func TestRouteMTU(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaac3-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	c := testConnection("c1")
	c.MTU = 1300
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	routes := func(want string, there bool) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			got := output(t, "ip", "-n", NamespaceName(s.router), "route", "show", "table", "220")
			if strings.Contains(got, "10.2.0.0/24") && strings.Contains(got, want) == there {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("charon's routes: %s; %q wanted: %t", got, want, there)
			}
		}
	}
	routes("mtu lock 1300", true)
	spis, writes := s.settle(s.router, "c1"), s.Writes()
	routes("mtu lock 1300", true)
	c.MTU = 1280
	s.set(testSpec(s.router, c))
	routes("mtu lock 1280", true)
	c.MTU = 1500
	s.set(testSpec(s.router, c))
	routes("mtu", false)
	if now := s.spis(s.router, "c1"); now != spis || s.Writes() != writes {
		t.Errorf("another mtu: %d VICI writes, SPIs %s, before %s", s.Writes()-writes, now, spis)
	}
	s.ping("10.2.0.1")
}

// What is larger than the connection's mtu, and may not be fragmented, is refused with the mtu's name; what is as large passes.
// TCP learns it from its handshake, both ways.
func TestMTUOnTheWire(t *testing.T) {
	t.Parallel()
	const mtu = 1300
	s := newSite(t, "aaaaaac4-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	c := testConnection("c1")
	c.MTU = mtu
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	s.settle(s.router, "c1")
	s.ping("10.2.0.1")
	ping := func(size int) (string, error) {
		out, err := exec.Command("ip", "netns", "exec", s.host.Namespace(), "ping", "-n", "-M", "do", "-c", "1", "-W", "3", "-s", strconv.Itoa(size-28), "10.2.0.1").CombinedOutput()
		return string(out), err
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the route is sized a moment after the tunnel is up
		said, err := ping(mtu + 1)
		if err != nil && strings.Contains(said, "mtu = "+strconv.Itoa(mtu)) || strings.Contains(said, "mtu="+strconv.Itoa(mtu)) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a packet of %d bytes: %v: %s", mtu+1, err, said)
		}
	}
	if said, err := ping(mtu); err != nil {
		t.Errorf("a packet of %d bytes: %v: %s", mtu, err, said)
	}
	for _, way := range []struct{ from, source, to, target string }{
		{s.host.Namespace(), "10.1.0.10", s.branch.Namespace(), "10.2.0.1"}, {s.branch.Namespace(), "10.2.0.1", s.host.Namespace(), "10.1.0.10"},
	} {
		// What the receiver of the SYN may send in a segment: the MSS of the SYN without its timestamps (RFC 7323 section 3.2).
		if got := segment(t, way.from, way.source, way.to, way.target); got != mtu-40-12 {
			t.Errorf("%s to %s: segments of %d bytes, want %d", way.source, way.target, got, mtu-40-12)
		}
	}
}

// segment connects from one namespace to another by TCP and answers the largest segment that the other side sends.
func segment(t *testing.T, from, source, to, target string) (size int) {
	t.Helper()
	inside := func(name string, fn func() error) {
		t.Helper()
		ns, err := openNamespace(name)
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.do(fn); err != nil {
			t.Fatal(err)
		}
	}
	address := &net.TCPAddr{IP: net.ParseIP(target), Port: 7002}
	var listener *net.TCPListener
	inside(to, func() (err error) { listener, err = net.ListenTCP("tcp", address); return err })
	defer listener.Close()
	var dialed net.Conn
	inside(from, func() (err error) {
		dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		dialed, err = dialer.Dial("tcp", address.String())
		return err
	})
	defer dialed.Close()
	conn, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	var asked error
	if err := raw.Control(func(fd uintptr) { info, asked = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil || asked != nil {
		t.Fatal(err, asked)
	}
	return int(info.Snd_mss)
}
