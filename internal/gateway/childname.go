package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// A CHILD_SA's name says by which configuration it was made: <connection>[-<pair>]-<agreed>-<own>. agreed marks all that
// is negotiated with the peer, the PSK included; own marks this side's affairs too (lifetimes, DPD). The name stays with
// the SA through rekeys and through any death of ours, so that charon itself answers which SAs are of the present
// configuration. charon takes an IKE_SA for a new CHILD_SA only if its parameters are those of the connection; a changed
// PSK is none of them, which is why a mark of it stands in aaa_id, a word that means nothing with a PSK.

// marker makes marks: short keyed digests, by which a PSK cannot be guessed.
type marker []byte

func (k marker) mac(parts ...string) []byte {
	mac := hmac.New(sha256.New, k)
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return mac.Sum(nil)
}

func (k marker) mark(parts ...string) string { return hex.EncodeToString(k.mac(parts...)[:4]) }

// named answers a connection's CHILD_SAs with their names.
func named(c vpn.ConnectionSpec, ike, child string, key marker) []childConfig {
	list := childSections(c, child)
	agreed, own := vici.NewMessage(), vici.NewMessage()
	negotiatedIKE(agreed, c, ike)
	negotiatedIKE(own, c, ike)
	localConfig(own, c)
	for _, child := range list {
		agreed.SetSection(child.name, child.negotiated)
		own.SetSection(child.name, child.whole)
	}
	suffix := "-" + key.mark("agreed", agreed.String(), string(c.PSK)) + "-" + key.mark("own", own.String())
	for i := range list {
		list[i].name += suffix
	}
	return list
}

// isChildOf tells from the name whether a CHILD_SA is a connection's, whatever IKE_SA it stands in.
func isChildOf(child, connection string) bool {
	return child == connection || strings.HasPrefix(child, connection+"-")
}

// agreement is a CHILD_SA's name without the mark of this side's own affairs.
func agreement(child string) string {
	if i := strings.LastIndexByte(child, '-'); i >= 0 {
		return child[:i]
	}
	return child
}
