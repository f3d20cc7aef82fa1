package vpn

import (
	"net/netip"
	"regexp"
	"strings"
)

var (
	fqdnText  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$`)
	emailText = regexp.MustCompile(`^[^@\s]+@[A-Za-z0-9_.-]+$`)
)

// Identity writes peer_id or local_id with its type spelt out (RFC 7296 section 3.5), as charon reads it: charon guesses from
// the text, and its guesses differ from what the API means (a key id with "=" would become a distinguished name, "%any" a
// wildcard).
//
// A leading @ is the old notation "this is a name, do not resolve it"; it is never part of the identity on the wire.
func Identity(id string) string {
	if addr, err := netip.ParseAddr(id); err == nil {
		return addr.WithZone("").String()
	}
	for _, prefix := range []string{"fqdn:", "email:", "keyid:"} {
		if strings.HasPrefix(id, prefix) {
			return id
		}
	}
	switch bare := strings.TrimPrefix(id, "@"); {
	case fqdnText.MatchString(bare):
		return "fqdn:" + bare
	case emailText.MatchString(bare):
		return "email:" + bare
	default:
		return "keyid:" + id
	}
}

// sameIdentity compares as IKE peers do: names and e-mail addresses without regard to case.
func sameIdentity(a, b string) bool {
	x, y := Identity(a), Identity(b)
	return x == y || !strings.HasPrefix(x, "keyid:") && strings.EqualFold(x, y)
}
