package topology

import (
	"fmt"
	"net/netip"

	"culvert/internal/resource"
)

// Pool is a range of addresses, both ends included, that the server gives out.
type Pool struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

func (p Pool) String() string { return p.Start + "-" + p.End }

func (p Pool) ends() (start, end netip.Addr, err error) {
	if start, err = netip.ParseAddr(p.Start); err != nil {
		return start, end, fmt.Errorf("allocation pool: %w", err)
	}
	if end, err = netip.ParseAddr(p.End); err != nil {
		return start, end, fmt.Errorf("allocation pool: %w", err)
	}
	return start, end, nil
}

func (p Pool) contains(a netip.Addr) bool {
	start, end, err := p.ends()
	return err == nil && start.Compare(a) <= 0 && a.Compare(end) <= 0
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// hosts are the lowest and the highest address that an interface may have: not the network's and, in IPv4, not the
// broadcast address, except where the prefix leaves one bit or none for hosts (RFC 3021, RFC 6164).
func hosts(p netip.Prefix) (first, end netip.Addr) {
	first, end = p.Masked().Addr(), last(p)
	if first.BitLen()-p.Bits() < 2 {
		return first, end
	}
	if first.Is4() {
		end = end.Prev()
	}
	return first.Next(), end
}

func isHost(p netip.Prefix, a netip.Addr) bool {
	first, end := hosts(p)
	return a.BitLen() == first.BitLen() && first.Compare(a) <= 0 && a.Compare(end) <= 0
}

// defaultPools are all hosts but the gateway, which may be the zero Addr.
func defaultPools(p netip.Prefix, gateway netip.Addr) []Pool {
	first, end := hosts(p)
	if !gateway.IsValid() {
		return []Pool{{first.String(), end.String()}}
	}
	pools := []Pool{}
	if first.Less(gateway) {
		pools = append(pools, Pool{first.String(), gateway.Prev().String()})
	}
	if gateway.Less(end) {
		pools = append(pools, Pool{gateway.Next().String(), end.String()})
	}
	return pools
}

// checkPools says whether the pools lie inside of the subnet, apart from each other and from the gateway.
func checkPools(p netip.Prefix, pools []Pool, gateway netip.Addr) error {
	first, end := hosts(p)
	for i, a := range pools {
		start, stop, err := a.ends()
		if err != nil {
			return err
		}
		if start.BitLen() != stop.BitLen() || stop.Less(start) {
			return resource.Errorf(400, "InvalidAllocationPool", "The allocation pool %s is not valid: its start must not lie after its end.", a)
		}
		if !isHost(p, start) || !isHost(p, stop) {
			return resource.Errorf(400, "OutOfBoundsAllocationPool",
				"The allocation pool %s spans beyond the subnet cidr %s; allowed are %s to %s.", a, p, first, end)
		}
		if gateway.IsValid() && a.contains(gateway) {
			return resource.Errorf(409, "GatewayConflictWithAllocationPools", "Gateway ip %s conflicts with allocation pool %s.", gateway, a)
		}
		for _, b := range pools[:i] {
			bStart, bStop, _ := b.ends()
			if start.Compare(bStop) <= 0 && bStart.Compare(stop) <= 0 {
				return resource.Errorf(409, "OverlappingAllocationPools", "Found overlapping allocation pools: %s %s for subnet %s.", b, a, p)
			}
		}
	}
	return nil
}
