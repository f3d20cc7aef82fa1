package gateway

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/vpn"
)

var update = flag.Bool("update", false, "rewrite the golden files of this package")

// golden compares with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestConfigure(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*vpn.ConnectionSpec)
	}{
		{"ikev2", func(c *vpn.ConnectionSpec) {
			c.Local, c.Peer = prefixes("10.1.0.0/24", "10.1.1.0/24"), prefixes("10.2.0.0/24", "10.3.0.0/16")
		}},
		{"ikev1", func(c *vpn.ConnectionSpec) {
			c.IKE.Version, c.IKE.Aggressive = "v1", true
			c.Local, c.Peer = prefixes("10.1.0.0/24", "10.1.1.0/24"), prefixes("10.2.0.0/24", "10.3.0.0/16")
		}},
		{"aead", func(c *vpn.ConnectionSpec) {
			c.IKE.Encryption, c.IKE.Auth, c.IKE.Group = "aes-256-gcm-16", "sha384", "group31"
			c.ESP.Encryption, c.ESP.PFS = "aes-128-ccm-12", "disable"
		}},
		{"ipv6", func(c *vpn.ConnectionSpec) {
			c.LocalAddress, c.LocalID = addrs("2001:db8::1")[0], "2001:db8::1"
			c.PeerAddress, c.PeerID = "vpn.example.com", "@vpn.example.com"
			c.Local, c.Peer = prefixes("2001:db8:1::/64"), prefixes("2001:db8:2::/64")
			c.DPD.Action = "disabled"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConnection("f3b9d6a2-1e8c-4c7d-a0b5-2d4e6f8a9b77")
			tt.change(&c)
			cfg, err := configure(c, Userland, marker("salt"))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "config_"+tt.name+".txt", fmt.Sprintf("load-shared:\n%s\nload-conn:\n%s\nchildren: %s\n",
				cfg.shared, cfg.conn, strings.Join(cfg.children, " ")))
		})
	}
}

func TestConfigureRefuses(t *testing.T) {
	for _, tt := range []struct {
		code   string
		change func(*vpn.ConnectionSpec)
	}{
		{"ah_unsupported", func(c *vpn.ConnectionSpec) { c.ESP.Protocol = "ah" }},
		{"protocol_unsupported", func(c *vpn.ConnectionSpec) { c.ESP.Protocol = "ah-esp" }},
		{"no_selectors", func(c *vpn.ConnectionSpec) { c.Local = nil }},
		{"ikev1_aead_unsupported", func(c *vpn.ConnectionSpec) { c.IKE.Version, c.IKE.Encryption = "v1", "aes-256-gcm-16" }},
		{"unknown_algorithm", func(c *vpn.ConnectionSpec) { c.IKE.Group = "group99" }},
		{"unknown_algorithm", func(c *vpn.ConnectionSpec) { c.ESP.Encryption = "rot13" }},
	} {
		c := testConnection("c1")
		tt.change(&c)
		_, err := configure(c, Userland, marker("salt"))
		refused := (*configError)(nil)
		if !errors.As(err, &refused) || refused.reason.Code != tt.code || refused.reason.Phase != "config" {
			t.Errorf("configure: %v, want %s", err, tt.code)
		}
	}
	c := testConnection("c1")
	c.ESP.Protocol = "ah"
	if cfg, err := configure(c, Kernel, marker("salt")); err != nil || !strings.Contains(cfg.conn.String(), "ah_proposals = [sha256-ecp256]") {
		t.Errorf("AH in the kernel: %v", err)
	}
}

func TestNegotiatedAndOwn(t *testing.T) {
	base := testConnection("c1")
	for _, tt := range []struct {
		name       string
		negotiated bool
		change     func(*vpn.ConnectionSpec)
	}{
		{"dpd", false, func(c *vpn.ConnectionSpec) { c.DPD.Interval = 77 }},
		{"IKE lifetime", false, func(c *vpn.ConnectionSpec) { c.IKE.Lifetime = 7777 }},
		{"ESP lifetime", false, func(c *vpn.ConnectionSpec) { c.ESP.Lifetime = 7777 }},
		{"peer address", true, func(c *vpn.ConnectionSpec) { c.PeerAddress = "192.0.2.3" }},
		{"peer id", true, func(c *vpn.ConnectionSpec) { c.PeerID = "x.example.com" }},
		{"psk", true, func(c *vpn.ConnectionSpec) { c.PSK = "other" }},
		{"peer networks", true, func(c *vpn.ConnectionSpec) { c.Peer = prefixes("10.7.0.0/24") }},
		{"pfs", true, func(c *vpn.ConnectionSpec) { c.ESP.PFS = "group14" }},
		{"IKE group", true, func(c *vpn.ConnectionSpec) { c.IKE.Group = "group14" }},
	} {
		nameOf := func(c vpn.ConnectionSpec) string {
			cfg, err := configure(c, Userland, marker("salt"))
			if err != nil {
				t.Fatal(err)
			}
			return cfg.children[0]
		}
		changed := base
		tt.change(&changed)
		before, after := nameOf(base), nameOf(changed)
		if before == after {
			t.Errorf("%s: the change is not seen", tt.name)
		}
		if (agreement(before) != agreement(after)) != tt.negotiated {
			t.Errorf("%s: the CHILD_SA is called %s, before %s; is another agreement wanted: %t", tt.name, after, before, tt.negotiated)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	for api, want := range map[[3]string]string{
		{"aes-128", "sha1", "group5"}:             "aes128-sha1-modp1536",
		{"3des", "md5", "group1"}:                 "3des-md5-modp768",
		{"aes-192-ctr", "sha2-512", "group18"}:    "aes192ctr-sha512-modp8192",
		{"aes-256", "aes-xcbc", "group24"}:        "aes256-aesxcbc-modp2048s256",
		{"aes-256-gcm-8", "aes-cmac", "group28"}:  "aes256gcm8-prfaescmac-ecp256bp",
		{"aes-128-ccm-16", "sha2-256", "group21"}: "aes128ccm16-prfsha256-ecp521",
	} {
		got, err := ikeProposal(vpn.IKESpec{Encryption: api[0], Auth: api[1], Group: api[2]})
		if err != nil || got != want {
			t.Errorf("IKE %v: %q, %v, want %q", api, got, err, want)
		}
	}
	for api, want := range map[[4]string]string{
		{"esp", "aes-128", "sha1", "group5"}:            "aes128-sha1-modp1536",
		{"esp", "aes-256", "sha2-384", "disable"}:       "aes256-sha384",
		{"esp", "aes-256-gcm-16", "sha256", "group22"}:  "aes256gcm16-modp1024s160",
		{"ah", "aes-256-gcm-16", "sha256", "group27"}:   "sha256-ecp224bp",
		{"esp", "aes-192-ccm-8", "whatever", "disable"}: "aes192ccm8",
	} {
		got, err := childProposal(vpn.ESPSpec{Protocol: api[0], Encryption: api[1], Auth: api[2], PFS: api[3]})
		if err != nil || got != want {
			t.Errorf("ESP %v: %q, %v, want %q", api, got, err, want)
		}
	}
}

func TestSecretsStayOut(t *testing.T) {
	cfg, err := configure(testConnection("c1"), Userland, marker("salt"))
	if err != nil {
		t.Fatal(err)
	}
	l := &loaded{Salt: []byte("salt"), Conns: map[string]digest{}}
	l.Conns["c1"] = l.digest(cfg)
	text := fmt.Sprintf("%s %s %v %+v", cfg.shared, cfg.conn, *cfg, l)
	if strings.Contains(text, testPSK) {
		t.Errorf("the PSK can be read in %s", text)
	}
}
