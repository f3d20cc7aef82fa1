package gateway

import (
	"strings"
	"testing"
)

func TestNarrowed(t *testing.T) {
	pair := func(local, peer string) childSA {
		return childSA{name: "c1-x-y", state: "INSTALLED", local: strings.Fields(local), peer: strings.Fields(peer)}
	}
	for _, tt := range []struct {
		what, local, peer string
		children          []childSA
		theirs            string // "": all is carried
	}{
		{"as asked for", "10.1.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.0/24", "10.2.0.0/24")}, ""},
		{"half of the peer's", "10.1.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.0/24", "10.2.0.0/25")}, "local 10.1.0.0/24, peer 10.2.0.0/25"},
		{"half of ours", "10.1.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.128/25", "10.2.0.0/24")}, "local 10.1.0.128/25, peer 10.2.0.0/24"},
		{"one host", "10.1.0.7/32", "2001:db8::/64", []childSA{pair("10.1.0.7", "2001:db8::/64")}, ""},
		{"both halves", "10.1.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.0/24", "10.2.0.128/25 10.2.0.0/25")}, ""},
		{"a range", "10.1.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.0/24", "10.2.0.0..10.2.0.254")}, "local 10.1.0.0/24, peer 10.2.0.0..10.2.0.254"},
		{"a whole range", "10.1.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.0/24", "10.2.0.0..10.2.1.9")}, ""},
		{"one port", "10.1.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.0/24", "10.2.0.0/24[udp/53]")}, "local 10.1.0.0/24, peer 10.2.0.0/24[udp/53]"},
		{"a pair an SA", "10.1.0.0/24 10.9.0.0/24", "10.2.0.0/24", []childSA{pair("10.1.0.0/24", "10.2.0.0/24"), pair("10.9.0.0/24", "10.2.0.0/24")}, ""},
		{"a pair is missing", "10.1.0.0/24 10.9.0.0/24", "10.2.0.0/24 10.3.0.0/24",
			[]childSA{pair("10.1.0.0/24", "10.2.0.0/24 10.3.0.0/24"), pair("10.9.0.0/24", "10.2.0.0/24")},
			"local 10.1.0.0/24, peer 10.2.0.0/24 10.3.0.0/24; local 10.9.0.0/24, peer 10.2.0.0/24"},
		{"another's SA", "10.1.0.0/24", "10.2.0.0/24", []childSA{{name: "c2-x-y", state: "INSTALLED", local: []string{"10.1.0.0/24"}, peer: []string{"10.2.0.0/25"}}}, ""},
	} {
		spec := testConnection("c1")
		spec.Local, spec.Peer = prefixes(strings.Fields(tt.local)...), prefixes(strings.Fields(tt.peer)...)
		why, is := narrowed(spec, []ikeSA{{id: "1", state: "ESTABLISHED", children: tt.children}})
		if is != (tt.theirs != "") || why.Theirs != tt.theirs {
			t.Errorf("%s: %v, %q, want %q", tt.what, is, why.Theirs, tt.theirs)
		}
	}
}
