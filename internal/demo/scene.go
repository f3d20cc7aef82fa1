// Package demo lays a tunnel through the public API alone, to a branch office that Culvert does not manage, and shows that
// it carries packets. It is what a newcomer sees first; nothing else may depend on it.
package demo

import "net/netip"

// The scene: a head office behind a router of Culvert's, a branch with a plain strongSwan, and a provider's network
// between them. The addresses are for documentation (RFC 5737) or private, and live in network namespaces alone.
const (
	outerCIDR  = "198.51.100.0/24"
	branchIP   = "198.51.100.40"
	hqCIDR     = "10.10.0.0/24"
	hqHost     = "10.10.0.10"
	branchCIDR = "192.168.40.0/24"
	branchHost = "192.168.40.1"
	psk        = "demo-kT7-wq2Lz9"

	branchNamespace = "cvd-branch"
	hqNamespace     = "cvd-hq"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func inNet(a, cidr string) netip.Prefix {
	return netip.PrefixFrom(addr(a), netip.MustParsePrefix(cidr).Bits())
}
