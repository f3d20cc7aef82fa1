package topology

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// RouterView is a router as a VPN needs to know it.
type RouterView struct {
	ID, ProjectID, Name string
	AdminStateUp        bool
	External            *LinkView // nil: no external gateway
	Interfaces          []LinkView
	Routes              []RouteView
}

// LinkView is one interface of a router.
type LinkView struct {
	Port, Network string
	Physical      string // provider:physical_network; "" means a bridge of the network's own
	MAC           string
	MTU           int            // bytes
	Addresses     []netip.Prefix // each with its subnet's prefix length
	Gateways      []netip.Addr   // next hops of the default routes; of External only
	Subnets       []string       // ids, in the order of Addresses
}

// RouteView is a static route of a router.
type RouteView struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// SubnetView is a subnet as a VPN needs to know it.
type SubnetView struct {
	ID, ProjectID, Name, Network string
	Shared                       bool // every project may use it
	CIDR                         netip.Prefix
}

// Subnet returns resource.ErrNotFound for a subnet that does not exist.
func (t *Topology) Subnet(ctx context.Context, r resource.Reader, id string) (*SubnetView, error) {
	s, row, err := crud.Load[Subnet](ctx, r, kindSubnet, id)
	if err != nil {
		return nil, err
	}
	p, err := s.prefix()
	if err != nil {
		return nil, err
	}
	return &SubnetView{ID: s.ID, ProjectID: s.ProjectID, Name: s.Name, Network: s.NetworkID, Shared: row.Shared, CIDR: p}, nil
}

// Router returns resource.ErrNotFound for a router that does not exist. Interfaces come oldest first.
func (t *Topology) Router(ctx context.Context, r resource.Reader, id string) (*RouterView, error) {
	router, _, err := crud.Load[Router](ctx, r, kindRouter, id)
	if err != nil {
		return nil, err
	}
	v := &RouterView{ID: router.ID, ProjectID: router.ProjectID, Name: router.Name, AdminStateUp: router.AdminStateUp}
	for _, x := range router.Routes {
		dst, err1 := netip.ParsePrefix(x.Destination)
		hop, err2 := netip.ParseAddr(x.NextHop)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("router %s: route %s via %s cannot be read", id, x.Destination, x.NextHop)
		}
		v.Routes = append(v.Routes, RouteView{dst, hop})
	}
	ports, err := usersOf[Port](ctx, r, kindPort, id)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if !p.ofRouter() {
			continue
		}
		link, err := linkOf(ctx, r, p)
		if err != nil {
			return nil, err
		}
		if p.Owner == ownerGateway {
			v.External = link
		} else {
			v.Interfaces = append(v.Interfaces, *link)
		}
	}
	return v, nil
}

func linkOf(ctx context.Context, r resource.Reader, p *Port) (*LinkView, error) {
	n, _, err := load[Network](ctx, r, kindNetwork, p.NetworkID)
	if err != nil {
		return nil, err
	}
	l := &LinkView{Port: p.ID, Network: n.ID, MAC: p.MAC, MTU: int(n.MTU)}
	if n.Physical != nil {
		l.Physical = *n.Physical
	}
	for _, f := range p.FixedIPs {
		s, _, err := load[Subnet](ctx, r, kindSubnet, f.SubnetID)
		if err != nil {
			return nil, err
		}
		prefix, err := s.prefix()
		if err != nil {
			return nil, err
		}
		a, err := netip.ParseAddr(f.IPAddress)
		if err != nil {
			return nil, fmt.Errorf("port %s: %w", p.ID, err)
		}
		l.Addresses = append(l.Addresses, netip.PrefixFrom(a, prefix.Bits()))
		l.Subnets = append(l.Subnets, s.ID)
		if gw := s.gateway(); p.Owner == ownerGateway && gw.IsValid() && !slices.Contains(l.Gateways, gw) {
			l.Gateways = append(l.Gateways, gw)
		}
	}
	return l, nil
}
