package gateway

import (
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/vpn"
)

// A peer may agree to less than it was asked for (RFC 7296 section 2.9): then the CHILD_SA stands, and what it left out is
// dropped. Only list-sas tells.

// addressRange is a traffic selector's, both ends included.
type addressRange struct{ from, to netip.Addr }

// selectorRange reads a traffic selector as charon prints it: a prefix, an address or from..to. One of a single protocol or
// port, in brackets, is none: it does not cover an address.
func selectorRange(text string) (r addressRange, ok bool) {
	if from, to, isRange := strings.Cut(text, ".."); isRange {
		r = addressRange{parseAddr(from), parseAddr(to)}
		return r, r.from.IsValid() && r.to.IsValid()
	}
	if a := parseAddr(text); a.IsValid() {
		return addressRange{a, a}, true
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return r, false
	}
	return rangeOf(p), true
}

func rangeOf(p netip.Prefix) addressRange {
	last := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	to, _ := netip.AddrFromSlice(last) // of an address's length
	return addressRange{p.Masked().Addr(), to}
}

// covers tells whether selectors together hold a whole prefix.
func covers(selectors []string, p netip.Prefix) bool {
	var ranges []addressRange
	for _, s := range selectors {
		if r, ok := selectorRange(s); ok && r.from.Is4() == p.Addr().Is4() {
			ranges = append(ranges, r)
		}
	}
	slices.SortFunc(ranges, func(a, b addressRange) int { return a.from.Compare(b.from) })
	want := rangeOf(p)
	for _, r := range ranges {
		if r.from.Compare(want.from) <= 0 && r.to.Compare(want.from) >= 0 {
			if r.to.Compare(want.to) >= 0 {
				return true
			}
			want.from = r.to.Next()
		}
	}
	return false
}

// carried tells whether CHILD_SAs together carry all between two prefixes. Those of one pair may be several, each for a part
// of one side.
func carried(children []childSA, local, peer netip.Prefix) bool {
	var locals, peers []string
	for _, c := range children {
		if covers(c.local, local) {
			peers = append(peers, c.peer...)
		}
		if covers(c.peer, peer) {
			locals = append(locals, c.local...)
		}
	}
	return covers(peers, peer) || covers(locals, local)
}

// narrowed says what a connection that is up lacks; false where it has all its networks, or where charon did not tell.
func narrowed(c vpn.ConnectionSpec, all []ikeSA) (vpn.Reason, bool) {
	var children []childSA
	for _, sa := range all {
		for _, child := range sa.children {
			if sa.established() && child.installed() && isChildOf(child.name, c.ID) && len(child.local) > 0 {
				children = append(children, child)
			}
		}
	}
	whole := true
	for _, local := range c.Local {
		for _, peer := range c.Peer {
			whole = whole && carried(children, local, peer)
		}
	}
	if whole || len(children) == 0 {
		return vpn.Reason{}, false
	}
	var agreed []string
	for _, child := range children {
		if text := selectorsText(child.local, child.peer); !slices.Contains(agreed, text) {
			agreed = append(agreed, text)
		}
	}
	why := reason("ts_narrowed", "theirs", "child", "the tunnel is up, but the peer agreed to a part of its networks only: the rest is dropped",
		"have the peer widen its networks, or narrow peer_cidrs or the endpoint groups to what it agreed to")
	why.Ours, why.Theirs = selectorsText(texts(c.Local), texts(c.Peer)), strings.Join(agreed, "; ")
	return why, true
}
