package dataplane

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// The API's algorithms (api-contract section 3.2), in swanctl's words. They are written here once more, apart from the
// gateway's own table.
var (
	ciphers = [][2]string{{"3des", "3des"}, {"aes-128", "aes128"}, {"aes-192", "aes192"}, {"aes-256", "aes256"},
		{"aes-128-ctr", "aes128ctr"}, {"aes-192-ctr", "aes192ctr"}, {"aes-256-ctr", "aes256ctr"},
		{"aes-128-ccm-8", "aes128ccm8"}, {"aes-128-ccm-12", "aes128ccm12"}, {"aes-128-ccm-16", "aes128ccm16"},
		{"aes-192-ccm-8", "aes192ccm8"}, {"aes-192-ccm-12", "aes192ccm12"}, {"aes-192-ccm-16", "aes192ccm16"},
		{"aes-256-ccm-8", "aes256ccm8"}, {"aes-256-ccm-12", "aes256ccm12"}, {"aes-256-ccm-16", "aes256ccm16"},
		{"aes-128-gcm-8", "aes128gcm8"}, {"aes-128-gcm-12", "aes128gcm12"}, {"aes-128-gcm-16", "aes128gcm16"},
		{"aes-192-gcm-8", "aes192gcm8"}, {"aes-192-gcm-12", "aes192gcm12"}, {"aes-192-gcm-16", "aes192gcm16"},
		{"aes-256-gcm-8", "aes256gcm8"}, {"aes-256-gcm-12", "aes256gcm12"}, {"aes-256-gcm-16", "aes256gcm16"}}
	hashes = [][2]string{{"md5", "md5"}, {"sha1", "sha1"}, {"sha256", "sha256"}, {"sha384", "sha384"}, {"sha512", "sha512"},
		{"aes-xcbc", "aesxcbc"}, {"aes-cmac", "aescmac"}, {"sha2-256", "sha256"}, {"sha2-384", "sha384"}, {"sha2-512", "sha512"}}
	groups = [][2]string{{"group1", "modp768"}, {"group2", "modp1024"}, {"group5", "modp1536"}, {"group14", "modp2048"}, {"group15", "modp3072"},
		{"group16", "modp4096"}, {"group17", "modp6144"}, {"group18", "modp8192"}, {"group19", "ecp256"}, {"group20", "ecp384"}, {"group21", "ecp521"},
		{"group22", "modp1024s160"}, {"group23", "modp2048s224"}, {"group24", "modp2048s256"}, {"group25", "ecp192"}, {"group26", "ecp224"},
		{"group27", "ecp224bp"}, {"group28", "ecp256bp"}, {"group29", "ecp384bp"}, {"group30", "ecp512bp"}, {"group31", "curve25519"}}
)

// suite is one choice of algorithms, the same for IKE and ESP.
type suite struct{ cipher, hash, group [2]string }

func (s suite) aead() bool { return strings.Contains(s.cipher[0], "cm-") }

// ike and esp are the proposals that the peer must have, and it has no others.
func (s suite) ike() string {
	if s.aead() {
		return s.cipher[1] + "-prf" + s.hash[1] + "-" + s.group[1]
	}
	return s.cipher[1] + "-" + s.hash[1] + "-" + s.group[1]
}

func (s suite) esp() string {
	if s.aead() {
		return s.cipher[1] + "-" + s.group[1]
	}
	return s.cipher[1] + "-" + s.hash[1] + "-" + s.group[1]
}

// algorithmAttributes: each cipher, hash and group at least once, as tunnels between the same two routers; with CULVERT_SOAK
// every cipher with every hash, and the groups in turn.
func algorithmAttributes(t *testing.T, table *attributes) {
	var suites []suite
	hard := 0
	for i, c := range ciphers {
		suites = append(suites, suite{c, hashes[i%len(hashes)], groups[i%len(groups)]})
	}
	if soak() {
		for i, c := range ciphers {
			for j, h := range hashes {
				suites = append(suites, suite{c, h, groups[(i+j)%len(groups)]})
			}
		}
	}
	for len(suites) > 0 {
		n := min(25, len(suites))
		t.Run(fmt.Sprint("suites", hard), func(t *testing.T) { trySuites(t, table, suites[:n]) })
		suites, hard = suites[n:], hard+1
	}
}

// trySuites brings up a tunnel for each, and has each rekeyed with its group. The networks are 192.168.(100+i).0/24.
func trySuites(t *testing.T, table *attributes, suites []suite) {
	d := newDual(t)
	var peers []far
	var networks []string
	for i, s := range suites {
		networks = append(networks, fmt.Sprintf("192.168.%d.0/24", 100+i))
		peers = append(peers, far{name: fmt.Sprintf("s%d", i), local: outer4(0), remote: d.External, id: fmt.Sprintf("fqdn:far%d", i), hqID: fmt.Sprintf("fqdn:hq%d", i),
			ike: s.ike(), esp: s.esp(), nets: networks[i]})
	}
	d.peer(0, swanctl(peers...), networks...)
	conns := make([]*sitetest.Tunnel, len(suites))
	for i, s := range suites {
		words := client.Object{"encryption_algorithm": s.cipher[0], "auth_algorithm": s.hash[0], "pfs": s.group[0]}
		ike := d.Make("vpn/ikepolicies", "ikepolicy", sitetest.With(words, client.Object{"ike_version": "v2"}))
		ipsec := d.Make("vpn/ipsecpolicies", "ipsecpolicy", words)
		conns[i] = d.connect(outer4(0), networks[i:i+1], client.Object{"ikepolicy_id": ike, "ipsecpolicy_id": ipsec,
			"local_id": "hq" + strconv.Itoa(i), "peer_id": "far" + strconv.Itoa(i)})
	}
	for i, c := range conns {
		s := suites[i]
		what := fmt.Sprintf("%s, %s, %s", s.cipher[0], s.hash[0], s.group[0])
		d.Await(c.Path(), "ipsec_site_connection", 60*time.Second, "ACTIVE")
		sitetest.Poll(t, 60*time.Second, what+": rekeyed", c.Proven)
		if status, code := d.status(c); status != "ACTIVE" || code != "" {
			t.Errorf("%s: %s %s", what, status, code)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got, err := d.HQ.Ping(ctx, netip.MustParseAddr(sitetest.HQHost), netip.MustParseAddr(c.Remote), 5, 10*time.Millisecond)
		cancel()
		if err != nil || got.Received != 5 {
			t.Errorf("%s: pings: %v, %v", what, got, err)
		}
		if !soak() {
			table.saw("encryption_algorithm, auth_algorithm, pfs", what, "agreed with a peer that has only %s (IKE) and %s (ESP), also to rekey; pings pass", s.ike(), s.esp())
		}
	}
}
