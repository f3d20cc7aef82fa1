package vpn

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"culvert/internal/resource"

	"github.com/google/uuid"
)

// pskRule is api-contract section 8.3. Its errors say nothing of the value.
func pskRule(v any) (any, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return nil, errors.New("it must be a string")
	case len(s) < 6 || len(s) > 128:
		return nil, fmt.Errorf("it has %d characters; allowed are 6 to 128", len(s))
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '?' }):
		return nil, errors.New("allowed are printable ASCII characters without blank and question mark")
	case strings.Trim(s, "*") == "":
		return nil, errors.New("it must not consist of asterisks alone")
	}
	return s, nil
}

// idRule is for peer_id and local_id: an IPv4 or IPv6 address, an FQDN, an e-mail address or a key id (RFC 7296 section 3.5).
func idRule(min int) resource.Rule {
	return func(v any) (any, error) {
		s, err := resource.String(v, min, 255)
		if err != nil {
			return nil, err
		}
		if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == '\'' }) {
			return nil, errors.New("allowed are printable characters without quotes")
		}
		return s, nil
	}
}

// cidrsRule is for peer_cidrs: unique CIDRs, kept as they were written.
func cidrsRule(v any) (any, error) {
	list, err := resource.Strings(v)
	if err != nil {
		return nil, err
	}
	for i, c := range list {
		if _, err := resource.CIDR(c); err != nil {
			return nil, err
		}
		if slices.Contains(list[:i], c) {
			return nil, fmt.Errorf("Duplicate items in the list: '%s'", c)
		}
	}
	return list, nil
}

func canonicalUUID(s string) (string, bool) {
	id, err := uuid.Parse(s)
	return id.String(), err == nil
}

// hostName is RFC 1123 section 2.1; its last label may not be a number, so that no mistyped address passes as a name.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$`)

// checkPeerAddress wants an address that can be another site's, of a family that the router can reach, or a name.
func checkPeerAddress(text string, r *Router) error {
	a, err := netip.ParseAddr(text)
	if err != nil {
		if !hostName.MatchString(text) {
			return resource.Errorf(400, "VPNPeerAddressNotResolved", "Peer address '%s' is neither an IP address nor a host name", text)
		}
		if localName(text) {
			return invalidPeer(text, "a name of this host")
		}
		return nil
	}
	if why := unreachable(a); why != "" {
		return invalidPeer(text, why)
	}
	own := addresses(r)
	if slices.Contains(own, a) {
		return invalidPeer(text, "the VPN service's own address")
	}
	if endOf(r, a) {
		return invalidPeer(text, "the network or broadcast address of the external subnet")
	}
	if len(own) > 0 && !slices.ContainsFunc(own, func(o netip.Addr) bool { return o.Is4() == a.Is4() }) {
		version := 6
		if a.Is4() {
			version = 4
		}
		return resource.Errorf(400, "ExternalNetworkHasNoSubnet", "The external network of router %s has no IPv%d subnet, which the peer address '%s' needs", r.ID, version, text)
	}
	return nil
}

// localName is localhost and what lies below it (RFC 6761 section 6.3).
func localName(text string) bool {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || name == "localhost.localdomain"
}

// endOf tells whether an IPv4 address is the first or the last one of the gateway's own subnet.
func endOf(r *Router, a netip.Addr) bool {
	if r.External == nil || !a.Is4() {
		return false
	}
	return slices.ContainsFunc(r.External.Addresses, func(p netip.Prefix) bool {
		edge := p.Addr().Is4() && p.Bits() < 31 && p.Contains(a)
		return edge && (a == p.Masked().Addr() || !p.Contains(a.Next()))
	})
}

// checkProbe wants an address that only the tunnel leads to. It is asked again whenever the peer's networks change, by an
// endpoint group too, so that it names the connection.
func checkProbe(c *Connection, sel selectors) error {
	if c.ProbeAddress == nil {
		return nil
	}
	a, err := netip.ParseAddr(*c.ProbeAddress)
	if err == nil && slices.ContainsFunc(sel.peer, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return nil
	}
	return resource.Errorf(400, "InvalidProbeAddress",
		"probe_address '%s' of connection %s is not in the peer's networks; allowed are null and the addresses in %s", *c.ProbeAddress, c.ID, join(sel.peer))
}

func invalidPeer(text, why string) error {
	return resource.Errorf(400, "InvalidPeerAddress", "Peer address '%s' is %s; it must be the address of another site's gateway", text, why)
}

// unreachable says why an address can be no peer, "" if it can.
func unreachable(a netip.Addr) string {
	switch {
	case a.Zone() != "" || a.Is4In6():
		return "no plain IPv4 or IPv6 address"
	case a.IsUnspecified():
		return "the unspecified address"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.Is4() && (a.As4()[0] >= 240 || a.As4()[0] == 0):
		return "a broadcast or reserved address"
	}
	return ""
}
