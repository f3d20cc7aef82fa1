package vpn

import "testing"

func TestIdentity(t *testing.T) {
	for id, want := range map[string]string{
		"192.0.2.1":               "192.0.2.1",
		"2001:DB8::1":             "2001:db8::1",
		"west.example.com":        "fqdn:west.example.com",
		"@west.example.com":       "fqdn:west.example.com",
		"branch-7":                "fqdn:branch-7",
		"vpn@example.com":         "email:vpn@example.com",
		"@vpn@example.com":        "email:vpn@example.com",
		"%any":                    "keyid:%any",
		"C=CH, O=Branch, CN=west": "keyid:C=CH, O=Branch, CN=west",
		"two words":               "keyid:two words",
		"keyid:0815":              "keyid:0815",
		"email:a@b":               "email:a@b",
	} {
		if got := Identity(id); got != want {
			t.Errorf("Identity(%q) = %q, want %q", id, got, want)
		}
	}
}

func TestSameIdentity(t *testing.T) {
	for _, x := range []struct {
		a, b string
		same bool
	}{
		{"hq.example.net", "@hq.example.net", true},
		{"hq.example.net", "fqdn:HQ.example.net", true},
		{"2001:db8::1", "2001:DB8:0::1", true},
		{"ops@example.net", "email:Ops@Example.net", true},
		{"keyid:Branch 7", "keyid:branch 7", false},
		{"hq.example.net", "hq.example.org", false},
	} {
		if sameIdentity(x.a, x.b) != x.same {
			t.Errorf("%s and %s", x.a, x.b)
		}
	}
}
