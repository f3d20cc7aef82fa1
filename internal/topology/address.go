package topology

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// space is what can be given out on one network, within one change.
type space struct {
	net     *Network
	subnets []*Subnet // oldest first
	taken   map[netip.Addr]bool
	macs    map[string]bool
	kept    []FixedIP // addresses that the port already has, and keeps when it asks for their subnet
	router  bool      // for a router's port, which makes no address of its own
}

// addressSpace reads a network's space; the port named except takes nothing in it.
func addressSpace(ctx context.Context, r resource.Reader, n *Network, except string) (*space, error) {
	s := &space{net: n, taken: map[netip.Addr]bool{}, macs: map[string]bool{}}
	var err error
	if s.subnets, err = usersOf[Subnet](ctx, r, kindSubnet, n.ID); err != nil {
		return nil, err
	}
	ports, err := usersOf[Port](ctx, r, kindPort, n.ID)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if p.ID == except {
			continue
		}
		s.macs[p.MAC] = true
		for _, f := range p.FixedIPs {
			if a, err := netip.ParseAddr(f.IPAddress); err == nil {
				s.taken[a] = true
			}
		}
	}
	return s, nil
}

// automatic gives one address of each IP version that the network has.
func (s *space) automatic(mac string) ([]FixedIP, error) {
	out := []FixedIP{}
	for _, version := range []int64{4, 6} {
		full := false
		for _, sub := range s.subnets {
			if sub.IPVersion != version {
				continue
			}
			f, ok := s.take(sub, mac)
			if full = !ok; ok {
				out = append(out, f)
				break
			}
		}
		if full {
			return nil, resource.Errorf(409, "IpAddressGenerationFailure",
				"No more IP addresses available on network %s: the allocation pools of its IPv%d subnets are used up.", s.net.ID, version)
		}
	}
	return out, nil
}

// take gives the lowest free address of a subnet's pools, or the one that a machine makes of its MAC address.
func (s *space) take(sub *Subnet, mac string) (FixedIP, bool) {
	if !s.router && isAuto(sub.AddressMode) {
		a := eui64(sub, mac)
		ok := a.IsValid() && !s.taken[a]
		s.taken[a] = true
		return FixedIP{sub.ID, a.String()}, ok
	}
	for _, p := range sub.Pools {
		a, end, err := p.ends()
		if err != nil {
			continue
		}
		for ; a.IsValid() && a.Compare(end) <= 0; a = a.Next() {
			if !s.taken[a] {
				s.taken[a] = true
				return FixedIP{sub.ID, a.String()}, true
			}
		}
	}
	return FixedIP{}, false
}

// eui64 is the address of RFC 4291, appendix A; the zero Addr if it cannot be made.
func eui64(sub *Subnet, mac string) netip.Addr {
	p, err := sub.prefix()
	m, err2 := net.ParseMAC(mac)
	if err != nil || err2 != nil || len(m) != 6 || !p.Addr().Is6() {
		return netip.Addr{}
	}
	b := p.Addr().As16()
	copy(b[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(b)
}

// setNamed fulfils p.FixedIPs as the request gave them: first those with an address, then those with a subnet alone.
// Addresses outside of the pools are for the network's owner; policy names the rule that says so.
func (s *space) setNamed(op *crud.Op, p *Port, policy string) error {
	out := make([]FixedIP, len(p.FixedIPs))
	for i, f := range p.FixedIPs {
		if f.IPAddress == "" {
			continue
		}
		sub, a, err := s.claim(f)
		if err != nil {
			return err
		}
		pooled := slices.ContainsFunc(sub.Pools, func(q Pool) bool { return q.contains(a) })
		if !pooled && !slices.Contains(s.kept, FixedIP{sub.ID, a.String()}) && !op.Caller.MayWrite(s.net.ProjectID) {
			return resource.Errorf(403, "PolicyNotAuthorized",
				"%s is disallowed by policy: %s lies outside of the allocation pools of subnet %s, and network %s belongs to another project", policy, a, sub.ID, s.net.ID)
		}
		out[i] = FixedIP{sub.ID, a.String()}
	}
	for i, f := range p.FixedIPs {
		if f.IPAddress != "" {
			continue
		}
		got, err := s.fromSubnet(f.SubnetID, p.MAC)
		if err != nil {
			return err
		}
		out[i] = got
	}
	p.FixedIPs = out
	return nil
}

func (s *space) fromSubnet(id, mac string) (FixedIP, error) {
	sub, err := s.subnet(id)
	if err != nil {
		return FixedIP{}, err
	}
	for _, f := range s.kept {
		if a, err := netip.ParseAddr(f.IPAddress); err == nil && f.SubnetID == id && !s.taken[a] {
			s.taken[a] = true
			return f, nil
		}
	}
	f, ok := s.take(sub, mac)
	if !ok {
		err = resource.Errorf(409, "IpAddressGenerationFailure",
			"No more IP addresses available on network %s: the allocation pools of subnet %s are used up.", s.net.ID, id)
	}
	return f, err
}

// claim takes one particular address; without a subnet the one that contains it.
func (s *space) claim(f FixedIP) (*Subnet, netip.Addr, error) {
	a, err := netip.ParseAddr(f.IPAddress)
	if err != nil {
		return nil, a, err
	}
	var sub *Subnet
	for _, x := range s.subnets {
		if p, err := x.prefix(); err == nil && f.SubnetID == "" && p.Contains(a) {
			sub = x
		}
	}
	if f.SubnetID != "" {
		if sub, err = s.subnet(f.SubnetID); err != nil {
			return nil, a, err
		}
	}
	if sub == nil {
		return nil, a, resource.Errorf(400, "InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on network %s.", a, s.net.ID)
	}
	p, err := sub.prefix()
	if err != nil {
		return nil, a, err
	}
	if !isHost(p, a) {
		first, end := hosts(p)
		return nil, a, resource.Errorf(400, "InvalidIpForSubnet",
			"IP address %s is not a valid IP for subnet %s (%s); allowed are %s to %s.", a, sub.ID, p, first, end)
	}
	if s.taken[a] {
		return nil, a, resource.Errorf(409, "IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s.", a, sub.ID)
	}
	s.taken[a] = true
	return sub, a, nil
}

func (s *space) subnet(id string) (*Subnet, error) {
	for _, sub := range s.subnets {
		if sub.ID == id {
			return sub, nil
		}
	}
	return nil, resource.InvalidInput("fixed IPs on network %s cannot be in subnet %s: it is not a subnet of that network.", s.net.ID, id)
}
