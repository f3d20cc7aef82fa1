package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/internal/sitetest"
	"culvert/internal/testbox"
	"culvert/internal/uml"
)

// unpacked is where packaging/install-deps puts libreswan, whose package conflicts with strongSwan.
const unpacked = "/var/cache/culvert-test/libreswan"

const pluto = "/usr/libexec/ipsec/pluto"

// libreswan is a branch office in a guest: its address is on the guest's vec0, a tap on the bridge of the outer network.
type libreswan struct {
	t      *testing.T
	site   *sitetest.Site
	office sitetest.Office
	guest  *uml.Guest
	daemon *uml.Process
	log    *testbox.Transcript
}

func startLibreswan(s *sitetest.Site, o sitetest.Office) *libreswan {
	s.T.Helper()
	if _, err := os.Stat(unpacked + pluto); err != nil {
		s.T.Fatalf("libreswan: %v: packaging/install-deps test unpacks it", err)
	}
	tap := "lsw" + sitetest.Tag(s.T)
	if err := addTap(tap, sitetest.BridgeOf(s.WAN)); err != nil {
		s.T.Fatalf("tap %s: %v", tap, err)
	}
	guest, err := uml.Start(s.T.Context(), uml.Config{Taps: []string{tap}, Layers: []string{unpacked}})
	if err != nil {
		s.T.Fatal(err)
	}
	l := &libreswan{t: s.T, site: s, office: o, guest: guest}
	s.T.Cleanup(func() {
		if s.T.Failed() && l.log != nil {
			s.T.Logf("pluto:\n%s\nthe router's charon:\n%s", sitetest.Tail(l.log.String(), 60), sitetest.Tail(s.CharonLog(), 40))
		}
		if err := errors.Join(guest.Close(), removeLink(tap)); err != nil {
			s.T.Error(err)
		}
	})
	l.run("/bin/sh", "-ec", fmt.Sprintf(`ip addr add %s/24 dev vec0
ip addr add %s/32 dev lo
ip link set vec0 up
ip route add default via %s
mkdir -p /run/pluto /var/lib/ipsec/nss
certutil -N -d sql:/var/lib/ipsec/nss --empty-password`, o.Address(), sitetest.FirstOf(o.Networks), s.External))
	return l
}

// addTap makes a tap on a bridge.
func addTap(name, bridge string) error {
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_DEFAULTS}
	if err := netlink.LinkAdd(tap); err != nil {
		return err
	}
	for _, f := range tap.Fds {
		if err := f.Close(); err != nil {
			return err
		}
	}
	return errors.Join(netlink.LinkSetMaster(tap, master), netlink.LinkSetUp(tap))
}

func removeLink(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(l)
}

// run runs a program in the guest, which must succeed.
func (l *libreswan) run(args ...string) string {
	l.t.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *libreswan) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	return l.guest.Run(ctx, args...)
}

// write makes a file in the guest, whose disk is its memory.
func (l *libreswan) write(path, text string) {
	l.t.Helper()
	l.run("/bin/sh", "-c", `umask 077; printf %s "$1" > "$2"`, "sh", text, path)
}

const ipsecConf = `config setup
	ikev1-policy=accept
conn hq
	ikev2=%[1]s
	authby=secret
	left=%[2]s
	leftid=%[2]s
	leftsubnet=%[3]s
	right=%[4]s
	rightid=%[4]s
	rightsubnet=%[5]s
	ike=aes256-sha2_256;modp2048
	esp=aes256-sha2_256;modp2048
	leftupdown=%%disabled
	retransmit-timeout=5s
	auto=ignore
`

// configure writes its configuration by hand and makes a daemon that runs read it.
func (l *libreswan) configure(version int, psk string) {
	l.t.Helper()
	v2 := map[int]string{1: "no", 2: "insist"}[version]
	l.write("/etc/ipsec.conf", fmt.Sprintf(ipsecConf, v2, l.office.Address(), l.office.Networks, l.site.External, sitetest.HQNet))
	l.write("/etc/ipsec.secrets", fmt.Sprintf("%s %s : PSK \"%s\"\n", l.office.Address(), l.site.External, psk))
	if l.daemon != nil {
		l.read()
	}
}

func (l *libreswan) read() {
	l.t.Helper()
	l.whack("--rereadsecrets")
	l.whack("--delete", "--name", "hq")
	l.run("/usr/libexec/ipsec/addconn", "--config", "/etc/ipsec.conf", "--ctlsocket", "/run/pluto/pluto.ctl", "hq")
}

func (l *libreswan) start() {
	l.t.Helper()
	began := time.Now()
	l.log = &testbox.Transcript{}
	daemon, err := l.guest.Start(uml.Command{Args: []string{pluto, "--nofork", "--stderrlog", "--config", "/etc/ipsec.conf", "--nssdir", "/var/lib/ipsec/nss"}, Output: l.log})
	if err != nil {
		l.t.Fatal(err)
	}
	l.daemon = daemon
	sitetest.Poll(l.t, 20*time.Second, "pluto listens", func() bool {
		_, err := l.try("/usr/libexec/ipsec/whack", "--listen")
		return err == nil
	})
	l.read()
	l.t.Logf("libreswan was ready after %s", time.Since(began))
}

// kill ends the daemon without a word to its peers.
func (l *libreswan) kill() {
	l.t.Helper()
	if err := l.daemon.Signal(unix.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	if _, err := l.daemon.Wait(ctx); err != nil {
		l.t.Fatal(err)
	}
	l.daemon = nil
}

// whack controls the daemon; what it says of a connection that is not there is no failure.
func (l *libreswan) whack(args ...string) string {
	l.t.Helper()
	out, err := l.try(append([]string{"/usr/libexec/ipsec/whack"}, args...)...)
	if err != nil && !strings.Contains(err.Error(), "exit code") {
		l.t.Fatal(err)
	}
	return out
}

// spis are those of the guest's kernel.
func (l *libreswan) spis() (out []string) {
	l.t.Helper()
	for line := range strings.Lines(l.run("/usr/sbin/ip", "xfrm", "state")) {
		if words := strings.Fields(line); len(words) > 3 && words[0] == "proto" && words[2] == "spi" {
			out = append(out, words[1]+" "+words[3])
		}
	}
	return out
}
