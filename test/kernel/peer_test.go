package kernel

import (
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/sitetest"
)

// TestLibreswan has an independent peer with a real kernel data path, which nobody manages, through the API: both IKE
// versions, both directions of initiation, rekeys by either side, and two reasons why it is down.
func TestLibreswan(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	o := sitetest.NewOffice(1)
	peer := startLibreswan(s, o)
	t.Logf("the guest was up after %s", peer.guest.Booted)
	c := &conn{Tunnel: &sitetest.Tunnel{Site: s, Remote: sitetest.FirstOf(o.Networks)}, peer: peer}
	peer.configure(2, "another one")
	peer.start()
	c.Connect(o, nil)
	t.Logf("wrong PSK: %v", c.AwaitDown("auth_failed", "psk_mismatch")["summary"])

	for _, version := range []int{2, 1} {
		c.Put(client.Object{"admin_state_up": false})
		c.AwaitDown("admin_down")
		s.Call("PUT", "/v2.0/vpn/ikepolicies/"+c.IKEPolicy, client.Object{"ikepolicy": client.Object{"ike_version": map[int]string{1: "v1", 2: "v2"}[version]}})
		peer.configure(version, sitetest.PSK)
		c.weInitiate(version)
		c.itInitiates(version)
	}
	peer.kill()
	t.Logf("pluto killed: %v", c.AwaitDown("liveness_lost", "peer_not_listening")["summary"])
}

// conn is the connection under test with libreswan at its other end.
type conn struct {
	*sitetest.Tunnel
	peer *libreswan
}

func (c *conn) weInitiate(version int) {
	t := c.Site.T
	t.Helper()
	start := time.Now()
	c.Put(client.Object{"admin_state_up": true, "initiator": "bi-directional"})
	c.active()
	up := time.Since(start)
	c.ping()
	c.renewed("rekeyed by us", func() {
		c.Site.Output1("swanctl", "--rekey", "--child", c.child(), "--uri", "unix://"+c.Site.RouterFile("charon.vici"))
	})
	again := map[int]string{1: "--initiate", 2: "--rekey-ipsec"}[version] // with IKEv1 a rekey is another quick mode
	c.renewed("rekeyed by libreswan", func() { c.peer.whack(again, "--name", "hq", "--asynchronous") })
	t.Logf("IKEv%d, we initiate: ACTIVE after %s; SPIs of the guest's kernel %v", version, up, c.peer.spis())
}

func (c *conn) itInitiates(version int) {
	t := c.Site.T
	t.Helper()
	c.Put(client.Object{"admin_state_up": false})
	c.AwaitDown("admin_down")
	c.Put(client.Object{"admin_state_up": true, "initiator": "response-only"})
	c.AwaitDown("not_initiated")
	start := time.Now()
	c.peer.whack("--initiate", "--name", "hq", "--asynchronous")
	c.active()
	up := time.Since(start)
	c.ping()
	t.Logf("IKEv%d, libreswan initiates: ACTIVE after %s", version, up)
}

// active waits for ACTIVE, with or without a warning.
func (c *conn) active() {
	c.Site.T.Helper()
	c.Site.Await(c.Path(), "ipsec_site_connection", 20*time.Second, "ACTIVE")
}

// ping sends packets from the head office, and from the guest.
func (c *conn) ping() {
	t := c.Site.T
	t.Helper()
	send := func(count int) (lab.PingResult, error) {
		return c.Site.HQ.Ping(t.Context(), sitetest.Addr(sitetest.HQHost), sitetest.Addr(c.Remote), count, 10*time.Millisecond)
	}
	sitetest.Poll(t, 5*time.Second, "libreswan, which may have been told a little later, answers", func() bool {
		got, err := send(1)
		return err == nil && got.Received == 1
	})
	got, err := send(20)
	if err != nil || got.Lost() > 0 {
		t.Fatalf("ping %s: %v, %v", c.Remote, got, err)
	}
	out := c.peer.run("/usr/bin/ping", "-q", "-c", "5", "-i", "0.02", "-W", "2", "-I", c.Remote, sitetest.HQHost)
	if !strings.Contains(out, " 0% packet loss") {
		t.Fatalf("ping from the guest:\n%s", out)
	}
}

// renewed does something after which there are other SAs, while pings pass. libreswan uses a new SA at once, and so what it
// sends before charon has it too is lost.
func (c *conn) renewed(what string, do func()) {
	t := c.Site.T
	t.Helper()
	before := c.peer.spis()
	pings := c.PingOn(10 * time.Millisecond)
	do()
	sitetest.Poll(t, 15*time.Second, what+": other SAs than "+strings.Join(before, ", "), func() bool {
		now := c.peer.spis()
		return len(now) >= 2 && slices.ContainsFunc(now, func(spi string) bool { return !slices.Contains(before, spi) })
	})
	c.ping()
	if got := pings.Stop(); got.Sent < 10 || got.Lost() > 15 {
		t.Errorf("%s: %s; want at least 10 sent and at most 15 lost", what, got)
	} else {
		t.Logf("%s: %s", what, got)
	}
}

// child is the name of the connection's CHILD_SA in the router's charon.
func (c *conn) child() string {
	c.Site.T.Helper()
	for line := range strings.Lines(c.Site.Output1("swanctl", "--list-sas", "--uri", "unix://"+c.Site.RouterFile("charon.vici"))) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && strings.HasPrefix(name, c.ID+"-") && strings.Contains(line, "INSTALLED") {
			return name
		}
	}
	c.Site.T.Fatal("charon lists no CHILD_SA of the connection")
	return ""
}
