package gateway

import (
	"strings"

	"culvert/internal/vpn"
)

// namesake is a connection of this router with c's identities and another pre-shared key; nil: there is none. The contract
// allows it where the peers have different addresses (api-contract section 8), but charon, as RFC 7296 section 2.15 has it,
// finds keys by identities alone: either connection may get the other's.
func (r *router) namesake(c *connection) (found *connection) {
	same := func(a, b string) bool { return strings.EqualFold(vpn.Identity(a), vpn.Identity(b)) }
	for _, o := range r.conns {
		if o != c && o.loaded && same(o.spec.LocalID, c.spec.LocalID) && same(o.spec.PeerID, c.spec.PeerID) && o.spec.PSK != c.spec.PSK &&
			(found == nil || o.spec.ID < found.spec.ID) {
			found = o
		}
	}
	return found
}

// namesakes turns the hint of a refused key to the connection whose key it may have been.
func (r *router) namesakes(c *connection, f finding) finding {
	if f.Code != "auth_failed" && f.Code != "psk_mismatch" {
		return f
	}
	if o := r.namesake(c); o != nil {
		f.Hint = nameOf("connection", o.spec.ID) + " has the same local_id and peer_id with another psk, and keys are found by these two alone: give each peer an identity of its own, or both one psk"
	}
	return f
}
