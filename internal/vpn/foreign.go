package vpn

import (
	"context"
	"errors"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// gone says that the error is a router's or a subnet's absence, which a foreign topology may spring on us at any time.
func (s *Service) gone(err error) bool {
	return s.foreign != nil && errors.Is(err, resource.ErrNotFound)
}

func routerGone(now string) *Reason {
	return reason(now, "router_gone", "ours", "config", "the router does not exist any more", "delete the VPN service, or make it on another router")
}

// refs are the rows that a row of ours needs, among routers and subnets: none where those are not rows of our store.
func (s *Service) refs(ids ...string) []string {
	if s.foreign != nil {
		return nil
	}
	return ids
}

// prepareService asks the topology for what a new VPN service names.
func (s *Service) prepareService(ctx context.Context, id string, sent resource.Attrs) error {
	router, _ := sent["router_id"].(string)
	if s.foreign == nil || id != "" || router == "" {
		return nil
	}
	return s.foreign.Refresh(ctx, []string{router}, nil)
}

// prepareGroup asks for the subnets of a group, which PUT may replace.
func (s *Service) prepareGroup(ctx context.Context, _ string, sent resource.Attrs) error {
	endpoints, _ := sent["endpoints"].([]string)
	var subnets []string
	for _, e := range endpoints {
		if id, ok := canonicalUUID(e); ok {
			subnets = append(subnets, id)
		}
	}
	if s.foreign == nil || subnets == nil {
		return nil
	}
	return s.foreign.Refresh(ctx, nil, subnets)
}

// prepareConnection asks for the router of the connection's service: its local subnets must be attached to it.
func (s *Service) prepareConnection(ctx context.Context, id string, sent resource.Attrs) error {
	if s.foreign == nil {
		return nil
	}
	service, _ := sent["vpnservice_id"].(string)
	router := ""
	err := s.Resources.View(ctx, func(op *crud.Op) error {
		if id != "" {
			c, _, err := crud.Load[Connection](op, op.Tx, KindConnection, id)
			if err != nil {
				return err
			}
			service = c.VPNServiceID
		}
		v, _, err := crud.Load[VPNService](op, op.Tx, KindService, service)
		if err == nil {
			router = v.RouterID
		}
		return err
	})
	if errors.Is(err, resource.ErrNotFound) { // the change itself will say so
		return nil
	}
	if err != nil {
		return err
	}
	return s.foreign.Refresh(ctx, []string{router}, nil)
}

// InUse names the routers with VPN services, and the subnets that services and endpoint groups name; both sorted.
func (s *Service) InUse(ctx context.Context) (routers, subnets []string, err error) {
	err = s.Resources.View(ctx, func(op *crud.Op) error {
		services, err := crud.LoadAll[VPNService](op, op.Tx, resource.Query{Kind: KindService})
		if err != nil {
			return err
		}
		for _, v := range services {
			routers = append(routers, v.RouterID)
			if v.SubnetID != nil {
				subnets = append(subnets, *v.SubnetID)
			}
		}
		groups, err := crud.LoadAll[EndpointGroup](op, op.Tx, by(KindEndpointGroup, "type", "subnet"))
		for _, g := range groups {
			subnets = append(subnets, g.Endpoints...)
		}
		return err
	})
	slices.Sort(routers)
	slices.Sort(subnets)
	return slices.Compact(routers), slices.Compact(subnets), err
}

// groupOf finds an endpoint group with this subnet where the store's references do not tell.
func (s *Service) groupOf(op *crud.Op, subnet string) (*EndpointGroup, error) {
	groups, err := crud.LoadAll[EndpointGroup](op, op.Tx, by(KindEndpointGroup, "type", "subnet"))
	if i := slices.IndexFunc(groups, func(g *EndpointGroup) bool { return slices.Contains(g.Endpoints, subnet) }); i >= 0 {
		return groups[i], err
	}
	return nil, err
}

// bereave puts everything on a router that is gone DOWN.
func (s *Service) bereave(op *crud.Op, services []*VPNService, rev int64, seen *transitions) error {
	for _, v := range services {
		if err := setStatus[VPNService](op, KindService, v.ID, rev, Down, routerGone(op.Now), seen); err != nil {
			return err
		}
		conns, err := crud.LoadAll[Connection](op, op.Tx, by(KindConnection, "vpnservice_id", v.ID))
		if err != nil {
			return err
		}
		for _, c := range conns {
			if err := setStatus[Connection](op, KindConnection, c.ID, rev, Down, routerGone(op.Now), seen); err != nil {
				return err
			}
		}
	}
	return nil
}
