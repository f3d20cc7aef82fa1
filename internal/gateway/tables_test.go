package gateway

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/lab"
	"culvert/internal/testbox"
)

// TestTablesHoldAlone takes away all that does IPsec in the router's namespace, with nobody there to mend it: the nft rules
// alone then hold back both ways what would be in clear. On kernel ESP that is to say that they know such packets from those of
// a tunnel; the SPD's entries of the guard are gone too. Without the rules the packets pass.
func TestTablesHoldAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaab9-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	other := startHost(t, lab.HostConfig{Name: "x-aaaaaab9", Bridge: BridgeName(testSpec(s.router).External.Network),
		Address: prefixes("192.0.2.254/24", "10.2.0.1/32"), Gateway: addrs("192.0.2.1")})
	s.set(testSpec(s.router, testConnection("c1")))
	s.awaitUp(s.router, "c1")
	s.ping("10.2.0.1")
	if n := s.heldBack(); n != 0 {
		t.Errorf("the rules held back %d packets of a tunnel that stands", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.withoutIPsec()
	s.noPing("10.2.0.1")
	if n := s.heldBack(); n != 3 {
		t.Errorf("the rules held back %d of 3 packets on their way out", n)
	}
	if n := comeIn(t, other, s.host); n != 0 {
		t.Errorf("%d packets came in, in clear", n)
	}
	output(t, "ip", "netns", "exec", NamespaceName(s.router), "nft", "delete", "table", "inet", tableName)
	s.answers("10.2.0.1")
	if n := comeIn(t, other, s.host); n != datagrams {
		t.Errorf("without the rules %d of %d packets came in", n, datagrams)
	}
}

// withoutIPsec ends charon and takes away what it and the guard have in the kernel, but for the nft rules.
func (s *site) withoutIPsec() {
	s.t.Helper()
	c := adoptCharon(folder(s.folderOf(s.router)))
	if c == nil {
		s.t.Fatal("no charon runs")
	}
	if err := unix.Kill(c.pid, unix.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	in := []string{"ip", "-n", NamespaceName(s.router)}
	for deadline := time.Now().Add(5 * time.Second); isCharonOf(c.pid, folder(s.folderOf(s.router))); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("charon does not end")
		}
	}
	output(s.t, append(in, "route", "flush", "table", strconv.Itoa(charonTable))...)
	if testbox.KernelESP() {
		output(s.t, append(in, "xfrm", "policy", "flush")...)
		output(s.t, append(in, "xfrm", "state", "flush")...)
	}
}

// heldBack is what the counters of the forward chain say.
func (s *site) heldBack() (packets int) {
	s.t.Helper()
	chain := output(s.t, "ip", "netns", "exec", NamespaceName(s.router), "nft", "list", "chain", "inet", tableName, "forward")
	for _, m := range regexp.MustCompile(`counter packets (\d+)`).FindAllStringSubmatch(chain, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			s.t.Fatal(err)
		}
		packets += n
	}
	return packets
}

const datagrams = 5

// comeIn sends datagrams in clear from an address of the branch's network to the router's host, and answers how many arrive.
func comeIn(t *testing.T, from, to *lab.Host) (arrived int) {
	t.Helper()
	target := netip.MustParseAddrPort("10.1.0.10:7001")
	var receiver, sender *net.UDPConn
	open := func(h *lab.Host, listen func() error) {
		t.Helper()
		ns, err := openNamespace(h.Namespace())
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.do(listen); err != nil {
			t.Fatal(err)
		}
	}
	open(to, func() (err error) {
		receiver, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(target))
		return err
	})
	defer receiver.Close()
	open(from, func() (err error) {
		sender, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.2.0.1:7001")))
		return err
	})
	defer sender.Close()
	for range datagrams {
		if _, err := sender.WriteToUDPAddrPort([]byte("in clear"), target); err != nil {
			t.Fatal(err)
		}
	}
	buffer := make([]byte, 16)
	for err := receiver.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); arrived < datagrams; arrived++ {
		if err == nil {
			_, err = receiver.Read(buffer)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return arrived
}
