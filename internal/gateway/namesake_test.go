package gateway

import (
	"strings"
	"testing"
	"time"

	"culvert/internal/vpn"
)

// Two peers behind different addresses with one identity and two keys: the refusal's hint names the other connection, and
// only where there is one.
func TestNamesake(t *testing.T) {
	for what, c := range map[string]struct {
		other vpn.ConnectionSpec
		code  string
		named bool
	}{
		"another key":            {vpn.ConnectionSpec{LocalID: "192.0.2.1", PeerID: "Branch.example.net", PSK: "the-key"}, "auth_failed", true},
		"another key, as we see": {vpn.ConnectionSpec{LocalID: "192.0.2.1", PeerID: "branch.example.net", PSK: "the-key"}, "psk_mismatch", true},
		"the same key":           {vpn.ConnectionSpec{LocalID: "192.0.2.1", PeerID: "branch.example.net", PSK: "one"}, "auth_failed", false},
		"another peer":           {vpn.ConnectionSpec{LocalID: "192.0.2.1", PeerID: "other.example.net", PSK: "the-key"}, "auth_failed", false},
		"another identity of us": {vpn.ConnectionSpec{LocalID: "192.0.2.3", PeerID: "branch.example.net", PSK: "the-key"}, "auth_failed", false},
		"another cause":          {vpn.ConnectionSpec{LocalID: "192.0.2.1", PeerID: "branch.example.net", PSK: "the-key"}, "ts_unacceptable", false},
	} {
		c.other.ID = "the-other"
		one := &connection{loaded: true, state: vpn.StateDown, spec: vpn.ConnectionSpec{ID: "one", LocalID: "192.0.2.1", PeerID: "branch.example.net", PSK: "one"}}
		r := &router{conns: map[string]*connection{"one": one, "the-other": {loaded: true, spec: c.other}}}
		r.noteFinding(one, finding{Reason: reason(c.code, "unknown", "ike_auth", "refused", "compare psk")}, time.Now())
		if hint := one.reason.Hint; strings.Contains(hint, "the-other") != c.named || strings.Contains(hint, "the-key") {
			t.Errorf("%s: the hint is %q", what, hint)
		}
	}
}
