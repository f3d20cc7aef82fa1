package topology

import (
	"net/netip"
	"reflect"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Router is a Neutron router.
type Router struct {
	resource.Head
	Tagged
	AdminStateUp bool         `json:"admin_state_up" api:"post put" rule:"bool" default:"true"`
	Status       string       `json:"status" api:"sort" rule:"string 16"`
	External     *GatewayInfo `json:"external_gateway_info" api:"post put null" rule:"gateway"`
	Routes       []Route      `json:"routes" api:"put null" rule:"routes"`
	Distributed  bool         `json:"distributed" api:"post const" rule:"bool" default:"false"`
	HA           bool         `json:"ha" api:"post const" rule:"bool" default:"false"`
	FlavorID     *string      `json:"flavor_id" api:"post null const" rule:"uuid" default:"null"`
	Zones        []string     `json:"availability_zones" rule:"strings"`
	ZoneHints    []string     `json:"availability_zone_hints" api:"post null" rule:"zones"`

	pending gatewayChange // planned before the row is written, carried out after it
}

func (t *Topology) routerRules() crud.Rules[Router] {
	return crud.Rules[Router]{
		Filter: t.filter(kindRouter),
		Time:   now,
		Create: func(op *crud.Op, r *Router) error {
			r.Status = "ACTIVE"
			return t.planGateway(op, r, nil)
		},
		Update: t.updateRouter,
		Delete: t.deleteRouter,
		Stored: t.routerStored,
	}
}

func (t *Topology) updateRouter(op *crud.Op, old, r *Router) error {
	if op.Given("external_gateway_info") {
		if err := t.planGateway(op, r, old.External); err != nil {
			return err
		}
	}
	if op.Given("routes") {
		return checkRoutes(op, r)
	}
	return nil
}

// deleteRouter takes the gateway port along; interfaces must have gone before.
func (t *Topology) deleteRouter(op *crud.Op, r *Router) error {
	if err := t.guard.MayClearGateway(op, r.ID); err != nil {
		return err
	}
	gateway, interfaces, err := portsOf(op, r.ID)
	if err != nil {
		return err
	}
	if len(interfaces) > 0 {
		return resource.Errorf(409, "RouterInUse", "Router %s still has ports: interface %s on subnet %s must be removed first.",
			r.ID, interfaces[0].ID, interfaces[0].subnets()[0])
	}
	if gateway == nil {
		return nil
	}
	return op.Tx.Delete(op, kindPort, gateway.ID)
}

func (t *Topology) routerStored(op *crud.Op, old, r *Router) error {
	if r == nil {
		return nil
	}
	if err := r.pending.apply(op); err != nil {
		return err
	}
	if old == nil || old.AdminStateUp == r.AdminStateUp && reflect.DeepEqual(old.External, r.External) && slices.Equal(old.Routes, r.Routes) {
		return nil
	}
	what, err := resource.Diff(old, r)
	if err != nil {
		return err
	}
	return t.guard.RouterChanged(op, r.ID, what...)
}

// portsOf splits a router's ports; gateway is nil where there is none.
func portsOf(op *crud.Op, router string) (gateway *Port, interfaces []*Port, err error) {
	ports, err := usersOf[Port](op, op.Tx, kindPort, router)
	for _, p := range ports {
		switch p.Owner {
		case ownerGateway:
			gateway = p
		case ownerInterface:
			interfaces = append(interfaces, p)
		}
	}
	return gateway, interfaces, err
}

// attached loads the subnets of these addresses.
func attached(op *crud.Op, fixed []FixedIP) ([]*Subnet, error) {
	var out []*Subnet
	for _, f := range fixed {
		s, _, err := load[Subnet](op, op.Tx, kindSubnet, f.SubnetID)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func addressesOf(ports ...*Port) (out []FixedIP) {
	for _, p := range ports {
		out = append(out, p.FixedIPs...)
	}
	return out
}

// checkRoutes wants every next hop on a subnet of the router, and not to be the router itself.
func checkRoutes(op *crud.Op, r *Router) error {
	_, interfaces, err := portsOf(op, r.ID)
	if err != nil {
		return err
	}
	own := addressesOf(interfaces...)
	if r.External != nil {
		own = append(own, r.External.FixedIPs...)
	}
	subnets, err := attached(op, own)
	if err != nil {
		return err
	}
	for _, route := range r.Routes {
		if slices.ContainsFunc(own, func(f FixedIP) bool { return f.IPAddress == route.NextHop }) {
			return resource.Errorf(400, "InvalidRoutes", "Invalid format for routes: nexthop %s of %s is used by router %s.", route.NextHop, route.Destination, r.ID)
		}
		if !slices.ContainsFunc(subnets, func(s *Subnet) bool { return s.reaches(route) }) {
			return resource.Errorf(400, "InvalidRoutes", "Invalid format for routes: nexthop %s of %s is not connected with router %s.", route.NextHop, route.Destination, r.ID)
		}
	}
	return nil
}

func (s *Subnet) reaches(r Route) bool {
	p, err := s.prefix()
	a, err2 := netip.ParseAddr(r.NextHop)
	return err == nil && err2 == nil && p.Contains(a)
}

// checkLoss refuses to take a subnet away that a route of the router needs.
func (r *Router) checkLoss(subnets []*Subnet) error {
	for _, s := range subnets {
		for _, route := range r.Routes {
			if s.reaches(route) {
				return resource.Errorf(409, "RouterInterfaceInUseByRoute",
					"Router interface for subnet %s on router %s cannot be deleted, as it is required by the route to %s via %s.", s.ID, r.ID, route.Destination, route.NextHop)
			}
		}
	}
	return nil
}

// checkApart refuses subnets that overlap with one that the router already has.
func checkApart(subnets, present []*Subnet) error {
	for _, s := range subnets {
		p, err := s.prefix()
		if err != nil {
			return err
		}
		for _, o := range present {
			if o.ID == s.ID {
				return badRouter("Router already has a port on subnet %s", s.ID)
			}
			if q, err := o.prefix(); err != nil || q.Overlaps(p) {
				return badRouter("Cidr %s of subnet %s overlaps with cidr %s of subnet %s", s.CIDR, s.ID, o.CIDR, o.ID)
			}
		}
	}
	return nil
}

func badRouter(format string, a ...any) error {
	return resource.Errorf(400, "BadRequest", "Bad router request: "+format+".", a...)
}
