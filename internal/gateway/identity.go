package gateway

import (
	"net/netip"
	"regexp"
	"strings"
)

var (
	fqdnText  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$`)
	emailText = regexp.MustCompile(`^[^@\s]+@[A-Za-z0-9_.-]+$`)
)

// identity writes an API identity the way charon reads it, with its type spelt out: charon guesses from the text, and
// its guesses differ from what the API means (a key id with "=" would become a distinguished name, "%any" a wildcard).
//
// A leading @ is the old notation "this is a name, do not resolve it"; it is never part of the identity on the wire.
func identity(id string) string {
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
