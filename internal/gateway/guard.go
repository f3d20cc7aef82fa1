package gateway

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// tunDevice is the device of kernel-libipsec.
const tunDevice = "ipsec0"

// Chains of the guard. Forward and output hold what would leave in clear, forward and input what would come in clear.
var chains = []string{"forward", "output", "input", "mss", keepChain, markChain}

// guardRule is one rule: key says all of it (chain first) and is the rule's comment, by which it is known again.
type guardRule struct {
	chain string
	key   string
	exprs []expr.Any
}

// guardRules answers the rules of a Spec. For every pair of a connection's selectors, whatever the connection's state:
// nothing goes from local to peer but through IPsec, and nothing comes from peer to local but through IPsec. All rules
// drop, so their order does not matter, apart from the exemptions which stand first.
func guardRules(spec vpn.Spec, dataplane string) []guardRule {
	rules := exemptions()
	if spec.Namespace == HostNetwork {
		rules = append(rules, ownBridges())
	}
	seen := map[string]bool{}
	add := func(r guardRule) {
		if !seen[r.key] {
			seen[r.key] = true
			rules = append(rules, r)
		}
	}
	for _, c := range spec.Connections {
		for _, local := range c.Local {
			for _, peer := range c.Peer {
				if local.Addr().Is4() != peer.Addr().Is4() {
					continue
				}
				for _, r := range pairRules(local, peer, dataplane, mss(effectiveMTU(c, dataplane), local.Addr())) {
					add(r)
				}
			}
		}
	}
	if spec.Namespace != "" {
		for _, r := range borrowedRules(spec, dataplane) {
			add(r)
		}
	}
	return rules
}

// mss answers the largest TCP segment that fits the connection's MTU; 0 where no MTU is given.
func mss(mtu int, family netip.Addr) int {
	headers := 40
	if family.Is6() {
		headers = 60
	}
	return max(0, mtu-headers)
}

// exemptions are the packets that carry the tunnels themselves, and neighbour discovery: with selectors as wide as
// 0.0.0.0/0 the pairs would match them too.
func exemptions() []guardRule {
	var rules []guardRule
	for _, x := range []struct {
		chain  string
		offset uint32 // of the local port in the UDP header
	}{{"output", 0}, {"input", 2}} {
		for _, port := range []uint16{500, 4500} {
			rules = append(rules, guardRule{x.chain, fmt.Sprintf("%s ike %d", x.chain, port), join(l4proto(unix.IPPROTO_UDP),
				[]expr.Any{
					&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: x.offset, Len: 2},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(port)}, accept()})})
		}
		for _, proto := range []byte{unix.IPPROTO_ESP, unix.IPPROTO_AH} {
			rules = append(rules, guardRule{x.chain, fmt.Sprintf("%s protocol %d", x.chain, proto), append(l4proto(proto), accept())})
		}
		rules = append(rules, guardRule{x.chain, x.chain + " neighbour discovery", join(l4proto(unix.IPPROTO_ICMPV6),
			[]expr.Any{
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
				&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: []byte{133}, ToData: []byte{137}}, accept()})})
	}
	return rules
}

func pairRules(local, peer netip.Prefix, dataplane string, mss int) []guardRule {
	out, in := addresses(local, peer), addresses(peer, local)
	pair := local.String() + " " + peer.String() + " " + dataplane
	var rules []guardRule
	for _, chain := range []string{"forward", "output"} {
		rules = append(rules, guardRule{chain, leavingKey(chain, local, peer) + dataplane, join(out, notLeavingByIPsec(dataplane), []expr.Any{&expr.Counter{}, drop()})})
	}
	for _, chain := range []string{"forward", "input"} {
		rules = append(rules, guardRule{chain, chain + " in " + pair, join(in, notComeByIPsec(dataplane), []expr.Any{drop()})})
	}
	if mss > 0 {
		size := fmt.Sprintf(" %d", mss)
		rules = append(rules,
			guardRule{"mss", "mss out " + pair + size, join(out, clamp(mss))},
			guardRule{"mss", "mss in " + pair + size, join(in, clamp(mss))})
	}
	return rules
}

// leavingKey begins the keys of the rules that hold back, and count, what would leave in clear.
func leavingKey(chain string, local, peer netip.Prefix) string {
	return fmt.Sprintf("%s counted out %s %s ", chain, local, peer)
}

// notLeavingByIPsec matches what is about to leave in clear. On the kernel path that is what no XFRM policy has caught.
func notLeavingByIPsec(dataplane string) []expr.Any {
	if dataplane == Userland {
		return device(expr.MetaKeyOIFNAME)
	}
	const rtXFRM = 4 // NFT_RT_XFRM: "rt ipsec"
	return []expr.Any{&expr.Rt{Register: 1, Key: rtXFRM}, isZero()}
}

// notComeByIPsec matches what came in clear.
func notComeByIPsec(dataplane string) []expr.Any {
	if dataplane == Userland {
		return device(expr.MetaKeyIIFNAME)
	}
	const metaSecpath = 25 // NFT_META_SECPATH
	return []expr.Any{&expr.Meta{Register: 1, Key: metaSecpath}, isZero()}
}

func isZero() expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}} }

func device(key expr.MetaKey) []expr.Any {
	name := make([]byte, 16)
	copy(name, tunDevice)
	return []expr.Any{&expr.Meta{Register: 1, Key: key}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name}}
}

// clamp lowers the MSS option of SYNs; the kernel never raises it.
func clamp(mss int) []expr.Any {
	return join(l4proto(unix.IPPROTO_TCP), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x06}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x02}}, // SYN without RST
		&expr.Immediate{Register: 1, Data: be16(uint16(mss))},
		&expr.Exthdr{SourceRegister: 1, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
	})
}

// addresses matches the family, source and destination of a packet.
func addresses(src, dst netip.Prefix) []expr.Any {
	family, offset, size := byte(unix.NFPROTO_IPV4), uint32(12), uint32(4)
	if src.Addr().Is6() {
		family, offset, size = unix.NFPROTO_IPV6, 8, 16
	}
	nfproto := []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}}}
	return join(nfproto, prefix(offset, size, src), prefix(offset+size, size, dst))
}

func prefix(offset, size uint32, p netip.Prefix) []expr.Any {
	if p.Bits() == 0 {
		return nil
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func l4proto(proto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}}}
}

func be16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

func accept() expr.Any { return &expr.Verdict{Kind: expr.VerdictAccept} }
func drop() expr.Any   { return &expr.Verdict{Kind: expr.VerdictDrop} }

func join(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }
