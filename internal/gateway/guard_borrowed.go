package gateway

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// In a borrowed namespace others have rules too, written with no tunnel in mind. Two of them would stop one: source NAT of
// whatever leaves, and filters that let pass only what their owner has marked. Only a namespace of somebody else's gets
// these chains: one for NAT makes the kernel track every connection.

// keepChain is the chain that keeps tunnelled packets from NAT, markChain the one that marks what comes out of a tunnel.
const (
	keepChain = "nonat"
	markChain = "marked"
)

// borrowedChain answers the base chain of that name. The first NAT statement that a connection meets counts for good, so
// keepChain comes just before everybody else's; markChain comes just after them, since they may mark by interface.
func borrowedChain(name string, table *nftables.Table) *nftables.Chain {
	c := &nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting,
		Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource - 1)}
	if name == markChain {
		c.Type, c.Hooknum = nftables.ChainTypeFilter, nftables.ChainHookPrerouting
		c.Priority = nftables.ChainPriorityRef(*nftables.ChainPriorityMangle + 1)
	}
	return c
}

// borrowedRules are the guard's rules for a borrowed namespace alone.
//
// On the kernel's path a packet is routed into the tunnel before source NAT sees it; an address that NAT changes then is no
// more of the tunnel's selectors, and the packet would leave in clear. upstream's VPNaaS exempts it by a rule of its own.
func borrowedRules(spec vpn.Spec, dataplane string) []guardRule {
	var rules []guardRule
	for _, c := range spec.Connections {
		for _, local := range c.Local {
			for _, peer := range c.Peer {
				if local.Addr().Is4() == peer.Addr().Is4() {
					rules = append(rules, keepSource(local, peer), keepSource(peer, local))
				}
			}
		}
	}
	if spec.Mark != nil && dataplane == Userland { // the kernel's packets keep the interface that they came by
		rules = append(rules, guardRule{markChain, "marked " + spec.Mark.String(), marking(*spec.Mark)})
	}
	return rules
}

// ownBridges exempts, in the host's network, what our bridges there carry between other routers and their networks, which may
// have the same addresses: with br_netfilter the kernel shows it to these rules.
func ownBridges() guardRule {
	return guardRule{"forward", "forward bridges of ours", []expr.Any{
		&expr.Meta{Register: 1, Key: expr.MetaKeyIIFNAME}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(bridgePrefix)}, accept()}}
}

// keepSource is source NAT to the source that the packet has.
func keepSource(src, dst netip.Prefix) guardRule {
	family, offset, size := uint32(unix.NFPROTO_IPV4), uint32(12), uint32(4)
	if src.Addr().Is6() {
		family, offset, size = unix.NFPROTO_IPV6, 8, 16
	}
	return guardRule{keepChain, "nonat " + src.String() + " " + dst.String(), join(addresses(src, dst), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family, RegAddrMin: 1},
	})}
}

func marking(m vpn.Mark) []expr.Any {
	name := make([]byte, 16)
	copy(name, tunDevice)
	return []expr.Any{
		&expr.Meta{Register: 1, Key: expr.MetaKeyIIFNAME}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Meta{Register: 1, Key: expr.MetaKeyMARK},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(^m.Mask), Xor: native32(m.Value)},
		&expr.Meta{Register: 1, Key: expr.MetaKeyMARK, SourceRegister: true},
	}
}

func native32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
