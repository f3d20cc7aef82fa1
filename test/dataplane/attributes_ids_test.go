package dataplane

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// Types of an ID payload (RFC 7296 section 3.5); in IKEv1's aggressive mode it is not encrypted.
const (
	payloadID1 = 5
	idIPv4     = 1
	idFQDN     = 2
	idEmail    = 3
	idIPv6     = 5
	idKeyID    = 11
)

// idAttributes: type and bytes of an identity, on the wire in IKEv1's aggressive mode. With IKEv2, where they are encrypted, the
// peer's charon compares both with those in its own configuration, where the type is spelt out.
func idAttributes(t *testing.T, table *attributes) {
	d := newDual(t)
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External}), sitetest.Network(0))
	wire := tap(t, branch.Namespace(), "eth0")
	aggressive := d.Make("vpn/ikepolicies", "ikepolicy", client.Object{"encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group19",
		"ike_version": "v1", "phase1_negotiation_mode": "aggressive"})
	c := d.connect(outer4(0), []string{sitetest.Network(0)}, client.Object{"ikepolicy_id": aggressive})
	for _, id := range []struct {
		value, peer string
		kind        byte
		data        []byte
		what        string
	}{
		{"192.0.2.77", "192.0.2.78", idIPv4, []byte{192, 0, 2, 77}, "ID_IPV4_ADDR, 4 bytes"},
		{"2001:db8::77", "2001:db8::78", idIPv6, netip.MustParseAddr("2001:db8::77").AsSlice(), "ID_IPV6_ADDR, 16 bytes"},
		{"hq.example.com", "far.example.com", idFQDN, []byte("hq.example.com"), "ID_FQDN hq.example.com"},
		{"@at.example.com", "@farat.example.com", idFQDN, []byte("at.example.com"), "ID_FQDN at.example.com, without @"},
		{"hq@example.com", "far@example.com", idEmail, []byte("hq@example.com"), "ID_RFC822_ADDR hq@example.com"},
		{"key/7=x", "key/8=x", idKeyID, []byte("key/7=x"), "ID_KEY_ID key/7=x"},
	} {
		for _, version := range []int{1, 2} {
			peer := far{local: outer4(0), remote: d.External, version: version, aggressive: version == 1, hqID: typedID(id.kind, id.value), id: typedID(id.kind, id.peer)}
			if err := branch.Load(t.Context(), swanctl(peer)); err != nil {
				t.Fatal(err)
			}
			since := time.Now()
			c.Put(client.Object{"local_id": id.value, "peer_id": id.peer, "ikepolicy_id": map[int]string{1: aggressive, 2: d.ike}[version]})
			c.AwaitActive()
			d.answers(c.Remote)
			if version == 2 {
				continue
			}
			var p []byte // of the newest: an attempt with the values before may have been under way
			for _, m := range wire.requests(d.v4, since, exchangeAggressive) {
				if encrypted := m.message[19]&1 != 0; !encrypted {
					p = m.payload(payloadID1)
				}
			}
			if len(p) < 4 || p[0] != id.kind || !bytes.Equal(p[4:], id.data) {
				t.Errorf("local_id %s: ID payload %x, want type %d and %x", id.value, p, id.kind, id.data)
			}
		}
		table.saw("local_id", id.value, "ID payload %s (IKEv1 aggressive); accepted as such by the peer (both versions)", id.what)
		table.saw("peer_id", id.peer, "the peer's identity of this type is accepted (both versions)")
	}
}

// typedID is an identity as swanctl.conf has it with its type spelt out; an address is one.
func typedID(kind byte, api string) string {
	if api[0] == '@' {
		api = api[1:]
	}
	return map[byte]string{idFQDN: "fqdn:", idEmail: "email:", idKeyID: "keyid:"}[kind] + api
}

// peerNameAttribute: a name that does not resolve, then does, then leads elsewhere; the API keeps the name.
func peerNameAttribute(t *testing.T, table *attributes) {
	const name = "branch.attributes.example"
	hosts := newHosts(t)
	d := newDual(t)
	first := d.peer(0, swanctl(far{local: outer4(0), remote: d.External, id: "fqdn:far.example"}), sitetest.Network(0))
	d.peer(1, swanctl(far{local: outer4(1), remote: d.External, id: "fqdn:far.example"}), sitetest.Network(0))
	wire := tap(t, first.Namespace(), "eth0")
	c := d.connect(name, []string{sitetest.Network(0)}, client.Object{"peer_id": "far.example", "dpd": client.Object{"action": "restart", "interval": 1, "timeout": 3}})
	d.Await(c.Path(), "ipsec_site_connection", 10*time.Second, "DOWN", "peer_unresolved")
	table.saw("peer_address", "a name that does not resolve", "DOWN peer_unresolved; nothing is sent")
	if n := len(wire.sent(d.v4, time.Time{})); n > 0 {
		t.Errorf("an unresolved name: %d IKE messages", n)
	}
	hosts.lead(name, outer4(0))
	c.AwaitActive()
	d.passes(c.Remote)
	hosts.lead(name, outer4(1))
	if err := first.KillCharon(); err != nil {
		t.Fatal(err)
	}
	d.Await(c.Path(), "ipsec_site_connection", 15*time.Second, "DOWN")
	table.saw("peer_address", "the name resolves", "looked up again by itself, IKE to its address, ACTIVE")
	if got := d.Call("GET", c.Path(), nil)["ipsec_site_connection"].(client.Object)["peer_address"]; got != name {
		t.Errorf("peer_address is %v in the API, want %s", got, name)
	}
	table.saw("peer_address", "in the API", "stays the name")
	d.Await(c.Path(), "ipsec_site_connection", 15*time.Second, "ACTIVE")
	d.passes(c.Remote)
	table.saw("peer_address", "the name leads elsewhere, and the tunnel is lost", "looked up again at once, IKE to the new address, ACTIVE")
}

// hosts is /etc/hosts of the sandbox, for the server that the test starts after it.
type hosts struct {
	t    *testing.T
	file string
}

// newHosts puts a file of the test's own in its place; the sandbox has mounts of its own.
func newHosts(t *testing.T) *hosts {
	t.Helper()
	h := &hosts{t: t, file: filepath.Join(t.TempDir(), "hosts")}
	if err := os.WriteFile(h.file, []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(h.file, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("own /etc/hosts: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/etc/hosts", unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return h
}

// lead has a name lead to an address. The file stays the same one: it is mounted.
func (h *hosts) lead(name, address string) {
	h.t.Helper()
	if err := os.WriteFile(h.file, []byte("127.0.0.1 localhost\n"+address+" "+name+"\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// unavailableAlgorithm: a charon that lacks an algorithm says so in advance. Here it is Debian's with two plugins less.
func unavailableAlgorithm(t *testing.T, table *attributes) {
	dir := t.TempDir()
	charon, err := exec.LookPath("charon-systemd")
	if err != nil {
		charon = "/usr/sbin/charon-systemd"
	}
	script := "#!/bin/sh\nsed -i -E '/^ *load =/s/ (aesni|xcbc)\\b//g' \"$STRONGSWAN_CONF\"\nexec " + charon + "\n"
	if err := os.WriteFile(filepath.Join(dir, "charon-systemd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	lame := func(cmd *exec.Cmd) { cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "LC_ALL=C"} }
	d := layDual(t, sitetest.NewServerIn(t, filepath.Join(t.TempDir(), "data"), []sitetest.As{lame}))
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External}), sitetest.Network(0))
	wire := tap(t, branch.Namespace(), "eth0")
	xcbc := d.Make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{"auth_algorithm": "aes-xcbc", "pfs": "group19"})
	c := d.connect(outer4(0), []string{sitetest.Network(0)}, client.Object{"ipsecpolicy_id": xcbc})
	o := d.Await(c.Path(), "ipsec_site_connection", 10*time.Second, "ERROR", "algorithm_unavailable")
	t.Logf("status_reason: %v", o["status_reason"])
	if n := len(wire.sent(d.v4, time.Time{})); n > 0 {
		t.Errorf("%d IKE messages for an algorithm that is not there", n)
	}
	table.saw("auth_algorithm", "aes-xcbc, on a charon that lacks it", "ERROR algorithm_unavailable, which names it; nothing is sent")
	c.Put(client.Object{"ipsecpolicy_id": d.ipsec})
	c.AwaitActive()
	d.passes(c.Remote)
}

// refusedValues: what cannot be is refused at once, or with a reason.
func refusedValues(t *testing.T, table *attributes) {
	d := newDual(t)
	for _, r := range []struct{ attribute, value string }{{"encapsulation_mode", "transport"}, {"transform_protocol", "ah-esp"}} {
		status, body, err := d.API.Do(t.Context(), "POST", "/v2.0/vpn/ipsecpolicies", client.Object{"ipsecpolicy": client.Object{r.attribute: r.value}})
		if err != nil || status != 400 {
			t.Errorf("%s %s: %d %s, %v; want 400", r.attribute, r.value, status, body, err)
		}
		table.saw(r.attribute, r.value, "400")
	}
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External}), sitetest.Network(0))
	wire := tap(t, branch.Namespace(), "eth0")
	ah := d.Make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{"transform_protocol": "ah"})
	c := d.connect(outer4(0), []string{sitetest.Network(0)}, client.Object{"ipsecpolicy_id": ah})
	d.Await(c.Path(), "ipsec_site_connection", 10*time.Second, "ERROR", "ah_unsupported")
	if n := len(wire.sent(d.v4, time.Time{})); n > 0 {
		t.Errorf("AH in userland: %d IKE messages", n)
	}
	table.saw("transform_protocol", "ah, on userland ESP", "ERROR ah_unsupported; nothing is sent")
}
