package gateway

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/vpn"
)

// TestPreference asks a real charon with other configurations each time: what it takes is what it was given.
func TestPreference(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaad5-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	none := testSpec(s.router)
	s.set(none)
	ns, err := openNamespace(NamespaceName(s.router))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	from := asker{ns, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.2:500")}
	for _, tt := range []struct {
		proposal, peers string // the branch's; IKE version 1 or 2
		own, group      string // ours
		version, takes  string
		group2          string
	}{
		{"aes128-sha256-ecp256", "2", "v2", "group19", "v2", "aes-128, sha256, group19", ""},
		{"aes192-sha512-modp4096", "2", "v2", "group19", "v2", "aes-192, sha512, group16", "group16"},
		{"aes256gcm16-prfsha384-curve25519", "2", "v2", "group14", "v2", "aes-256-gcm-16, sha384, group31", "group31"},
		{"aes256ctr-aesxcbc-prfaesxcbc-ecp521", "2", "v2", "group21", "v2", "aes-256-ctr, aes-xcbc, group21", ""},
		{"3des-md5-modp1024", "2", "v2", "group14", "v2", "3des, md5, group2", "group2"},
		{"aes256-sha256-modp2048s256", "2", "v2", "group14", "v2", "", "group24"},
		{"aes256-sha256-ecp256bp", "2", "v2", "group28", "v2", "", "group28"},
		{"aes256-sha256-ecp256", "1", "v2", "group19", "v1", "aes-256, sha256, group19", ""},
		{"aes256-sha384-modp3072", "1", "v1", "group14", "v1", "aes-256, sha384, group15", ""},
		{"3des-sha1-modp1024", "1", "v1", "group14", "v1", "3des, sha1, group2", ""},
		{"aes128-sha256-ecp384", "2", "v1", "group14", "v2", "aes-128, sha256, group20", "group20"},
	} {
		text := strings.Replace(branchSwanctl(testPSK, netA), "proposals = aes256-sha256-ecp256\n    local", "proposals = "+tt.proposal+"\n    local", 1)
		if err := s.branch.Load(t.Context(), strings.Replace(text, "version = 2", "version = "+tt.peers, 1)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.branch.StopCharon(), s.branch.StartCharon(t.Context())); err != nil { // no half-open IKE_SAs
			t.Fatal(err)
		}
		start := time.Now()
		got := preferenceOf(t.Context(), from, vpn.IKESpec{Version: tt.own, Group: tt.group})
		takes := ""
		if got.takes != nil {
			takes = got.takes.String()
		}
		if !got.asked || got.version != tt.version || takes != tt.takes || got.group != tt.group2 {
			t.Errorf("%s, IKEv%s: %+v %q, want %s %q %q", tt.proposal, tt.peers, got, takes, tt.version, tt.takes, tt.group2)
		}
		t.Logf("%s, IKEv%s: %s takes %q after %s", tt.proposal, tt.peers, got.version, takes, time.Since(start).Round(time.Millisecond))
	}
	for n := range 4 { // with three half-open IKE_SAs charon wants to see a cookie (RFC 7296 section 2.6)
		got := preferenceOf(t.Context(), from, vpn.IKESpec{Version: "v2", Group: "group20"})
		if got.takes == nil || got.takes.String() != "aes-128, sha256, group20" {
			t.Errorf("asked %d times more: %+v", n+1, got)
		}
	}
	if text, err := s.branch.Log(); err != nil || !strings.Contains(text, "N(COOKIE)") {
		t.Errorf("no cookie was asked for: %v", err)
	}
	if err := errors.Join(s.branch.StopCharon(), s.branch.StartCharon(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := s.branch.Load(t.Context(), "connections {\n}\n"); err != nil {
		t.Fatal(err)
	}
	if got := preferenceOf(t.Context(), from, vpn.IKESpec{Version: "v2", Group: "group19"}); !got.asked || got.version != "" {
		t.Errorf("a peer that does not know us: %+v", got)
	}
	if err := s.branch.StopCharon(); err != nil {
		t.Fatal(err)
	}
	if got := preferenceOf(t.Context(), from, vpn.IKESpec{Version: "v2", Group: "group19"}); got.asked {
		t.Errorf("no peer: %+v", got)
	}
}

// TestRefused lets a peer refuse us, and mends what the hint names.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaad6-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	base := testConnection("c1")
	base.IKE.Policy = "P"
	load := func(replace ...string) {
		t.Helper()
		if err := s.branch.Load(t.Context(), strings.NewReplacer(replace...).Replace(branchSwanctl(testPSK, netA))); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		what               string
		replace            []string
		code, theirs, hint string
		mend               func(*vpn.ConnectionSpec)
	}{
		{"cipher and group", []string{"proposals = aes256-sha256-ecp256\n    local", "proposals = aes128-sha256-modp4096\n    local"}, "ike_proposal_mismatch",
			"aes-128, sha256, group16", "set encryption_algorithm to aes-128 and pfs to group16 of ikepolicy P, which the peer offers",
			func(c *vpn.ConnectionSpec) { c.IKE.Encryption, c.IKE.Group = "aes-128", "group16" }},
		{"version", []string{"version = 2", "version = 1"}, "no_ike_config", "ike_version v1", "set ike_version of ikepolicy P to v1, which the peer uses",
			func(c *vpn.ConnectionSpec) { c.IKE.Version = "v1" }},
	} {
		load(tt.replace...)
		c := base
		s.set(testSpec(s.router, c))
		start := time.Now()
		why := s.awaitReason(s.router, "c1", tt.code)
		if why.Theirs != tt.theirs || why.Hint != tt.hint {
			t.Errorf("%s: %+v", tt.what, why)
		}
		t.Logf("%s: %s after %s", tt.what, tt.code, time.Since(start).Round(time.Millisecond))
		tt.mend(&c)
		s.set(testSpec(s.router, c))
		s.awaitUp(s.router, "c1")
		s.set(testSpec(s.router))
		s.forgetAnswers()
	}
	load("remote_addrs = 192.0.2.1", "remote_addrs = 203.0.113.1")
	s.set(testSpec(s.router, base))
	why := s.await(s.router, "c1", "refused by a peer that does not know us", 15*time.Second, func(c vpn.ConnectionReport) bool {
		return c.Reason != nil && c.Reason.Code == "no_proposal_chosen" && c.Reason.Side == "theirs"
	}).Reason
	if want := "have the peer accept 192.0.2.1, or correct peer_address"; why.Hint != want {
		t.Errorf("%+v, want the hint %q", why, want)
	}
}

// forgetAnswers lets the router ask again at once what it may ask once a minute.
func (s *site) forgetAnswers() {
	r := s.find(s.router)
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.inquiries)
}

// FuzzReply: what a stranger answers is read without a panic, and never without end.
func FuzzReply(f *testing.F) {
	init, err := broadInit(19)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{init, broadMain(14), withCookie(init, []byte("cookie")), message(2, exchangeInit, payload{payloadNotify2, []byte{0, 0, 0, saidOtherGroup, 0, 16}})} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readReply(b)
		if err == nil && r.takes != nil {
			_ = ikePolicy(testConnection("c").IKE).mend(ikePolicy(testConnection("c").IKE).differs(*r.takes))
		}
	})
}
