package vpn

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMerge(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.24/24 10.0.0.25/24":                "10.0.0.0/24", // D6: what a Terraform suite sends
		"10.1.1.0/24 10.1.0.0/16 10.0.0.0/24":      "10.0.0.0/24, 10.1.0.0/16",
		"10.0.0.0/24 10.0.1.0/24":                  "10.0.0.0/24, 10.0.1.0/24",
		"2001:db8:0:0::1/64 2001:db8::/48":         "2001:db8::/48",
		"192.168.0.0/16 10.0.0.0/8 192.168.7.0/24": "10.0.0.0/8, 192.168.0.0/16",
	} {
		if got := join(merge(prefixes(strings.Fields(in)))); got != want {
			t.Errorf("merge(%s) = %s, want %s", in, got, want)
		}
	}
}

// Merging loses no address, gains none, and leaves no two members that overlap.
func TestMergeKeepsTheSet(t *testing.T) {
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "b") & 3, rapid.Byte().Draw(t, "c") & 3, rapid.Byte().Draw(t, "d")})
		return netip.PrefixFrom(a, rapid.IntRange(14, 32).Draw(t, "bits")).Masked()
	})
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(prefix, 1, 8).Draw(t, "list")
		merged := merge(list)
		in := func(l []netip.Prefix, a netip.Addr) bool {
			for _, p := range l {
				if p.Contains(a) {
					return true
				}
			}
			return false
		}
		for _, p := range list {
			if !in(merged, p.Addr()) {
				t.Fatalf("%v lost %v: %v", list, p, merged)
			}
		}
		for i, p := range merged {
			if !in(list, p.Addr()) {
				t.Fatalf("%v gained %v", list, p)
			}
			if _, _, ok := overlap(merged[:i], []netip.Prefix{p}); ok {
				t.Fatalf("%v overlaps in %v", p, merged)
			}
		}
	})
}

// The errors about a PSK may say everything but the PSK.
func TestPSK(t *testing.T) {
	for in, want := range map[any]string{
		"secret":                  "",
		"kT7-wq2Lz9_Xm":           "",
		`a"b\c'd`:                 "",
		strings.Repeat("x", 128):  "",
		"short":                   "it has 5 characters; allowed are 6 to 128",
		strings.Repeat("x", 129):  "it has 129 characters; allowed are 6 to 128",
		"with blank":              "allowed are printable ASCII characters without blank and question mark",
		"question?":               "allowed are printable ASCII characters without blank and question mark",
		"li\nebreak":              "allowed are printable ASCII characters without blank and question mark",
		"schlüssel":               "allowed are printable ASCII characters without blank and question mark",
		"******":                  "it must not consist of asterisks alone",
		json.Number("1234567890"): "it must be a string",
	} {
		_, err := pskRule(in)
		if got := text(err); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPeerAddress(t *testing.T) {
	r := &Router{ID: "R", External: &Link{Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.9/24")}}}
	for in, want := range map[string]string{
		"198.51.100.40":    "",
		"vpn.example.net":  "",
		"vpn.example.net.": "",
		"branch":           "",
		"":                 "VPNPeerAddressNotResolved: Peer address '' is neither an IP address nor a host name",
		"198.051.100.7":    "VPNPeerAddressNotResolved: Peer address '198.051.100.7' is neither an IP address nor a host name",
		"300.1.1.1":        "VPNPeerAddressNotResolved: Peer address '300.1.1.1' is neither an IP address nor a host name",
		"a b":              "VPNPeerAddressNotResolved: Peer address 'a b' is neither an IP address nor a host name",
		"%any":             "VPNPeerAddressNotResolved: Peer address '%any' is neither an IP address nor a host name",
		"a.localhost":      "InvalidPeerAddress: Peer address 'a.localhost' is a name of this host; it must be the address of another site's gateway",
		"198.51.100.0":     "InvalidPeerAddress: Peer address '198.51.100.0' is the network or broadcast address of the external subnet; it must be the address of another site's gateway",
		"198.51.100.255":   "InvalidPeerAddress: Peer address '198.51.100.255' is the network or broadcast address of the external subnet; it must be the address of another site's gateway",
		"localhost":        "InvalidPeerAddress: Peer address 'localhost' is a name of this host; it must be the address of another site's gateway",
		"0.0.0.0":          "InvalidPeerAddress: Peer address '0.0.0.0' is the unspecified address; it must be the address of another site's gateway",
		"127.0.0.1":        "InvalidPeerAddress: Peer address '127.0.0.1' is a loopback address; it must be the address of another site's gateway",
		"224.0.0.9":        "InvalidPeerAddress: Peer address '224.0.0.9' is a multicast address; it must be the address of another site's gateway",
		"255.255.255.255":  "InvalidPeerAddress: Peer address '255.255.255.255' is a broadcast or reserved address; it must be the address of another site's gateway",
		"169.254.1.1":      "InvalidPeerAddress: Peer address '169.254.1.1' is a link-local address; it must be the address of another site's gateway",
		"fe80::1%eth0":     "InvalidPeerAddress: Peer address 'fe80::1%eth0' is no plain IPv4 or IPv6 address; it must be the address of another site's gateway",
		"198.51.100.9":     "InvalidPeerAddress: Peer address '198.51.100.9' is the VPN service's own address; it must be the address of another site's gateway",
		"2001:db8::7":      "ExternalNetworkHasNoSubnet: The external network of router R has no IPv6 subnet, which the peer address '2001:db8::7' needs",
	} {
		if got := text(checkPeerAddress(in, r)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if err := checkPeerAddress("2001:db8::7", &Router{ID: "R"}); err != nil {
		t.Errorf("a router without gateway may get one of any family: %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.24/24":   "",
		"2001:DB8::/64":  "all endpoints must be of one IP version",
		"10.0.0.0":       "Invalid CIDR: an address and a prefix length are needed, such as 10.1.0.0/16 or 2001:db8::/64",
		"1.0.0.0/33":     "Invalid CIDR: an address and a prefix length are needed, such as 10.1.0.0/16 or 2001:db8::/64",
		"0.0.0.0/0":      "a network of all addresses is not supported",
		"127.0.0.0/8":    "it must be a network of unicast addresses that can be routed",
		"240.0.0.0/4":    "it must be a network of unicast addresses that can be routed",
		"192.0.0.0/2":    "it must be a network of unicast addresses that can be routed",
		"224.0.0.0/4":    "it must be a network of unicast addresses that can be routed",
		"169.254.0.0/16": "it must be a network of unicast addresses that can be routed",
	} {
		if got := checkCIDR(in, "10.9.0.0/16"); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSecretPrintsStars(t *testing.T) {
	c := ConnectionSpec{ID: "c", PSK: "kT7-wq2Lz9_Xm"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(format, c); strings.Contains(got, "kT7") {
			t.Errorf("%s shows the PSK: %s", format, got)
		}
	}
	b, err := json.Marshal(c)
	if err != nil || !strings.Contains(string(b), `"psk":"kT7-wq2Lz9_Xm"`) {
		t.Errorf("the gateway must get the PSK: %s %v", b, err)
	}
}

func TestReasonIsNewsOnce(t *testing.T) {
	at := func(last string) *Reason { return &Reason{Code: "x", FirstSeen: last, LastSeen: last} }
	for _, c := range []struct {
		a, b *Reason
		same bool
	}{
		{nil, nil, true},
		{nil, at("2026-01-01 00:00:00.000000"), false},
		{at("2026-01-01 00:00:00.000000"), at("2026-01-01 00:00:59.000000"), true},
		{at("2026-01-01 00:00:00.000000"), at("2026-01-01 00:01:00.000000"), false},
		{&Reason{Code: "x"}, &Reason{Code: "y"}, false},
	} {
		if got := sameReason(c.a, c.b); got != c.same {
			t.Errorf("sameReason(%s) = %v", cmp.Diff(c.a, c.b), got)
		}
	}
}
