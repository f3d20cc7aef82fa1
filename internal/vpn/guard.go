package vpn

import (
	"reflect"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// The guards of api-contract section 5: what a VPN uses of the topology stays as it is. The topology calls them inside of
// its own changes.

// MayClearGateway refuses to take a router's external gateway while a VPN service stands on it.
func (s *Service) MayClearGateway(op *crud.Op, router string) error {
	services, err := crud.LoadAll[VPNService](op, op.Tx, by(KindService, "router_id", router))
	if err != nil || len(services) == 0 {
		return err
	}
	return resource.Errorf(409, "RouterInUse", "Router %s is in use by VPN service %s", router, services[0].ID)
}

// MayDetachSubnet refuses to detach a subnet from the router through which a service or a connection uses it.
func (s *Service) MayDetachSubnet(op *crud.Op, router, subnet string) error {
	services, err := crud.LoadAll[VPNService](op, op.Tx, by(KindService, "router_id", router))
	if err != nil {
		return err
	}
	for _, v := range services {
		if v.SubnetID != nil && *v.SubnetID == subnet {
			return resource.Errorf(409, "SubnetInUseByVPNService", "Subnet %s is used by VPN service %s", subnet, v.ID)
		}
		conns, err := crud.LoadAll[Connection](op, op.Tx, by(KindConnection, "vpnservice_id", v.ID))
		if err != nil {
			return err
		}
		for _, c := range conns {
			if err := s.usesSubnet(op, c, subnet); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) usesSubnet(op *crud.Op, c *Connection, subnet string) error {
	if c.LocalEPGroupID == nil {
		return nil
	}
	g, _, err := crud.Load[EndpointGroup](op, op.Tx, KindEndpointGroup, *c.LocalEPGroupID)
	if err == nil && slices.Contains(g.Endpoints, subnet) {
		err = resource.Errorf(409, "SubnetInUseByIPsecSiteConnection", "Subnet %s is used by IPsec site connection %s", subnet, c.ID)
	}
	return err
}

// MayDeleteSubnet refuses to delete a subnet that is in an endpoint group.
func (s *Service) MayDeleteSubnet(op *crud.Op, subnet string) error {
	if s.foreign != nil {
		g, err := s.groupOf(op, subnet)
		if g != nil {
			err = subnetInGroup(subnet, g.ID)
		}
		return err
	}
	users, err := op.Tx.Users(op, subnet)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Kind == KindEndpointGroup {
			return subnetInGroup(subnet, u.ID)
		}
	}
	return nil
}

func subnetInGroup(subnet, group string) error {
	return resource.Errorf(409, "SubnetInUse", "Unable to complete operation on subnet %s: SubnetInUseByEndpointGroup: it is used by endpoint group %s", subnet, group)
}

// RouterChanged takes over what a gateway must know of a changed router, and the addresses that its services answer. what
// goes into the timelines of the connections on it.
func (s *Service) RouterChanged(op *crud.Op, router string, what ...resource.Difference) error {
	services, err := crud.LoadAll[VPNService](op, op.Tx, by(KindService, "router_id", router))
	if err != nil || len(services) == 0 {
		return err
	}
	r, err := s.Topology.Router(op, op.Tx, router)
	if s.gone(err) {
		var seen transitions
		if err := s.bereave(op, services, op.Tx.Next(), &seen); err != nil {
			return err
		}
		if err := s.noteFound(op, seen); err != nil {
			return err
		}
		return s.touch(op, router)
	}
	if err != nil {
		return err
	}
	for _, known := range services {
		if len(what) > 0 {
			why := updated("router", &resource.Head{ID: r.ID, Name: r.Name}, what, "")
			if err := s.noteUse(op, known.ID, why); err != nil {
				return err
			}
		}
		v, row, err := crud.Load[VPNService](op, op.Tx, KindService, known.ID)
		if err != nil {
			return err
		}
		chosen := v.ExternalV4IP
		setExternal(v, r)
		if chosen != nil && slices.Contains(addresses4(r), *chosen) {
			v.ExternalV4IP = chosen
		}
		if reflect.DeepEqual(v, known) {
			continue
		}
		v.Status, v.StatusReason = PendingUpdate, nil
		if err := crud.Save(op, row, v, true); err != nil {
			return err
		}
	}
	return s.touch(op, router)
}
