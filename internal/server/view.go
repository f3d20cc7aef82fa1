package server

import (
	"context"

	"culvert/internal/resource"
	"culvert/internal/topology"
	"culvert/internal/vpn"
)

// view is our own topology as the VPN looks at it; the two know nothing of each other.
type view struct{ t *topology.Topology }

func (v view) Router(ctx context.Context, r resource.Reader, id string) (*vpn.Router, error) {
	t, err := v.t.Router(ctx, r, id)
	if err != nil {
		return nil, err
	}
	out := &vpn.Router{ID: t.ID, ProjectID: t.ProjectID, Name: t.Name, AdminStateUp: t.AdminStateUp}
	if t.External != nil {
		l := link(*t.External)
		out.External = &l
	}
	for _, i := range t.Interfaces {
		out.Internal = append(out.Internal, link(i))
		out.Subnets = append(out.Subnets, i.Subnets...)
	}
	return out, nil
}

func link(l topology.LinkView) vpn.Link {
	return vpn.Link{Port: l.Port, Network: l.Network, Physical: l.Physical, MAC: l.MAC, MTU: l.MTU, Addresses: l.Addresses, Gateways: l.Gateways}
}

func (v view) Subnet(ctx context.Context, r resource.Reader, id string) (*vpn.Subnet, error) {
	t, err := v.t.Subnet(ctx, r, id)
	if err != nil {
		return nil, err
	}
	return &vpn.Subnet{ID: t.ID, ProjectID: t.ProjectID, CIDR: t.CIDR}, nil
}
