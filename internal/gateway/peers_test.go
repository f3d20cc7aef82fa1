package gateway

import (
	"strings"
	"testing"
	"time"

	"culvert/internal/vpn"
)

// TestRealPeers has a branch that wants something else each time begin, and holds what the API would say against it: what
// each side wants, and the change that would mend it, which is then made.
func TestRealPeers(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaad3-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	base := testConnection("c1")
	base.Initiate = false
	base.IKE.Policy, base.ESP.Policy = "P", "Q"
	branch := branchSwanctl(testPSK, netA)
	for _, tt := range []struct {
		what                     string
		conn, mend               func(*vpn.ConnectionSpec) // as it is, and as the hint says that it should be
		replace                  []string                  // in the branch's configuration
		code, ours, theirs, hint string
	}{
		{"IKE cipher", nil, func(c *vpn.ConnectionSpec) { c.IKE.Encryption = "aes-128" }, []string{"proposals = aes256-sha256-ecp256\n    local", "proposals = aes128-sha256-ecp256\n    local"},
			"ike_proposal_mismatch", "aes-256, sha256, group19", "aes-128, sha256, group19", "set encryption_algorithm of ikepolicy P to aes-128, which the peer offers"},
		{"IKE hash and group, IKEv1", func(c *vpn.ConnectionSpec) { c.IKE.Version = "v1" }, func(c *vpn.ConnectionSpec) { c.IKE.Auth, c.IKE.Group = "sha512", "group14" },
			[]string{"version = 2", "version = 1", "proposals = aes256-sha256-ecp256\n    local", "proposals = aes256-sha512-modp2048, 3des-md5-modp1024\n    local"},
			"ike_proposal_mismatch", "aes-256, sha256, group19", "aes-256, sha512, group14; 3des, md5, group2", "set auth_algorithm to sha512 and pfs to group14 of ikepolicy P, which the peer offers"},
		{"IKE version", nil, func(c *vpn.ConnectionSpec) { c.IKE.Version = "v1" }, []string{"version = 2", "version = 1"},
			"no_ike_config", "ike_version v2", "ike_version v1", "set ike_version of ikepolicy P to v1, which the peer uses"},
		{"IPsec cipher", nil, func(c *vpn.ConnectionSpec) { c.ESP.Encryption = "aes-128-gcm-16" }, []string{"esp_proposals = aes256-sha256-ecp256", "esp_proposals = aes128gcm16-ecp256"},
			"child_proposal_mismatch", "esp, aes-256, sha256, pfs group19", "esp, aes-128-gcm-16", "set encryption_algorithm of ipsecpolicy Q to aes-128-gcm-16, which the peer offers"},
		{"PFS, IKEv1", func(c *vpn.ConnectionSpec) { c.IKE.Version = "v1" }, func(c *vpn.ConnectionSpec) { c.ESP.PFS = "disable" },
			[]string{"version = 2", "version = 1", "esp_proposals = aes256-sha256-ecp256", "esp_proposals = aes256-sha256"},
			"pfs_mismatch", "esp, aes-256, sha256, pfs group19", "esp, aes-256, sha256", "set pfs of ipsecpolicy Q to disable, which the peer offers"},
		{"networks", nil, func(c *vpn.ConnectionSpec) { c.Peer = prefixes("10.9.0.0/24") }, []string{"local_ts = 10.2.0.0/24", "local_ts = 10.9.0.0/24"},
			"ts_unacceptable", "local 10.1.0.0/24, peer 10.2.0.0/24", "local 10.1.0.0/24, peer 10.9.0.0/24", "set peer_cidrs, or the endpoints of the peer endpoint group, to 10.9.0.0/24, which the peer asks for"},
		{"the peer's identity", nil, func(c *vpn.ConnectionSpec) { c.PeerID = "east@example.com" }, []string{"local {", "local {\n      id = east@example.com"},
			"identity_mismatch", "local_id 192.0.2.1, peer_id 192.0.2.2", "it calls itself east@example.com", "set peer_id to east@example.com"},
		{"our identity", nil, func(c *vpn.ConnectionSpec) { c.LocalID = "west.example.com" }, []string{"remote {", "remote {\n      id = west.example.com"},
			"identity_mismatch", "local_id 192.0.2.1, peer_id 192.0.2.2", "it calls itself 192.0.2.2, it expects us to be west.example.com", "set local_id to west.example.com"},
		{"our identity, IKEv1", func(c *vpn.ConnectionSpec) { c.IKE.Version = "v1" }, func(c *vpn.ConnectionSpec) { c.LocalID = "west.example.com" },
			[]string{"version = 2", "version = 1", "remote {", "remote {\n      id = west.example.com"},
			"identity_mismatch", "local_id 192.0.2.1, peer_id 192.0.2.2", "it calls itself 192.0.2.2", "compare local_id with the identity that the peer expects"},
		{"key", nil, func(c *vpn.ConnectionSpec) { c.PSK = "another-key-8" }, []string{testPSK, "another-key-8"}, "psk_mismatch", "", "", "set psk to the peer's key"},
	} {
		c := base
		if tt.conn != nil {
			tt.conn(&c)
		}
		if err := s.branch.Load(t.Context(), strings.NewReplacer(tt.replace...).Replace(branch)); err != nil {
			t.Fatal(err)
		}
		s.set(testSpec(s.router, c))
		stop := s.keepCalling()
		start := time.Now()
		why := s.awaitReason(s.router, "c1", tt.code)
		took := time.Since(start)
		if got := (vpn.Reason{Ours: why.Ours, Theirs: why.Theirs, Hint: why.Hint}); got != (vpn.Reason{Ours: tt.ours, Theirs: tt.theirs, Hint: tt.hint}) {
			t.Errorf("%s:\n%q\n%q\n%q\nwant\n%q\n%q\n%q", tt.what, why.Ours, why.Theirs, why.Hint, tt.ours, tt.theirs, tt.hint)
		}
		tt.mend(&c)
		s.set(testSpec(s.router, c))
		s.awaitUp(s.router, "c1")
		t.Logf("%s: %s after %s, and up after %s", tt.what, tt.code, took.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
		stop()
		s.awaitBranchUp()
		if err := s.branch.Terminate(t.Context(), "culvert"); err != nil {
			t.Fatal(err)
		}
		s.awaitReason(s.router, "c1", "peer_deleted")
	}
}

// awaitBranchUp waits until the branch has the tunnel too, and no attempt under way: we are up with our answer, the branch with
// its receipt, and what it ends before that, it ends without telling us.
func (s *site) awaitBranchUp() {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		sas, err := s.branch.ListSAs(s.t.Context())
		if err == nil && strings.Contains(sas, "INSTALLED") && !strings.Contains(sas, "CONNECTING") {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the branch has %s %v", sas, err)
		}
	}
}

// keepCalling has the branch initiate again and again, as an office does. stop waits for the attempt under way: charon undoes
// one whose caller goes away, in whatever state that is, and tells the peer of a part of it or of nothing.
func (s *site) keepCalling() (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_ = s.branch.Initiate(s.t.Context(), "net") // that it fails is the point
			select {
			case <-over:
				return
			case <-s.t.Context().Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() { close(over); <-ended }
}

// TestNarrowedPeer: what the peer leaves out is a warning, and the rest passes.
func TestNarrowedPeer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaad4-1111-4111-8111-111111111111", branchSwanctl(testPSK, child("net", "10.2.0.0/25", "10.1.0.0/24")))
	c := testConnection("c1")
	s.set(testSpec(s.router, c))
	got := s.await(s.router, "c1", "warned", 10*time.Second, func(c vpn.ConnectionReport) bool { return c.State == vpn.StateUp && c.Reason != nil })
	if why := got.Reason; why.Code != "ts_narrowed" || why.Ours != "local 10.1.0.0/24, peer 10.2.0.0/24" || why.Theirs != "local 10.1.0.0/24, peer 10.2.0.0/25" {
		t.Errorf("%+v", why)
	}
	s.ping("10.2.0.1")
	c.Peer = prefixes("10.2.0.0/25")
	s.set(testSpec(s.router, c))
	s.await(s.router, "c1", "up without a warning", 10*time.Second, func(c vpn.ConnectionReport) bool { return c.State == vpn.StateUp && c.Reason == nil })
	s.ping("10.2.0.1")
}
