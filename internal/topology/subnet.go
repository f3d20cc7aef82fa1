package topology

import (
	"fmt"
	"net/netip"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Subnet is a Neutron subnet. Every address and prefix in it is canonical.
type Subnet struct {
	resource.Head
	Tagged
	NetworkID    string   `json:"network_id" api:"post required sort" rule:"uuid"`
	CIDR         string   `json:"cidr" api:"post required sort" rule:"cidr"`
	IPVersion    int64    `json:"ip_version" api:"post required sort" rule:"ipversion"`
	GatewayIP    *string  `json:"gateway_ip" api:"post put null" rule:"address"`
	EnableDHCP   bool     `json:"enable_dhcp" api:"post put" rule:"bool" default:"true"`
	Pools        []Pool   `json:"allocation_pools" api:"post put null" rule:"pools"`
	DNS          []string `json:"dns_nameservers" api:"post put null" rule:"addresses"`
	HostRoutes   []Route  `json:"host_routes" api:"post put null" rule:"routes"`
	RAMode       *string  `json:"ipv6_ra_mode" api:"post null" enum:"dhcpv6-stateful dhcpv6-stateless slaac" default:"null"`
	AddressMode  *string  `json:"ipv6_address_mode" api:"post null" enum:"dhcpv6-stateful dhcpv6-stateless slaac" default:"null"`
	SubnetPool   *string  `json:"subnetpool_id" api:"post null const" rule:"uuid" default:"null"`
	ServiceTypes []string `json:"service_types" api:"post put null" rule:"types"`

	shared bool // the network's
}

// Route is a static route.
type Route struct {
	Destination string `json:"destination"`
	NextHop     string `json:"nexthop"`
}

func (t *Topology) subnetRules() crud.Rules[Subnet] {
	return crud.Rules[Subnet]{
		Filter: t.filter(kindSubnet),
		Time:   now,
		Create: t.createSubnet,
		Update: t.updateSubnet,
		Delete: func(op *crud.Op, s *Subnet) error { return t.guard.MayDeleteSubnet(op, s.ID) },
		Stored: t.subnetStored,
		Refs:   func(s *Subnet) []string { return []string{s.NetworkID} },
		Shared: func(s *Subnet) bool { return s.shared },
	}
}

func (s *Subnet) prefix() (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return p, fmt.Errorf("subnet %s: %w", s.ID, err)
	}
	return p, nil
}

// gateway is the zero Addr where there is none.
func (s *Subnet) gateway() netip.Addr {
	if s.GatewayIP == nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(*s.GatewayIP)
	return a
}

func (t *Topology) createSubnet(op *crud.Op, s *Subnet) error {
	n, _, err := seen[Network](t, op, kindNetwork, s.NetworkID)
	if err != nil {
		return err
	}
	if !op.Caller.MayWrite(n.ProjectID) {
		return resource.Errorf(403, "PolicyNotAuthorized", "create_subnet is disallowed by policy: network %s belongs to another project", n.ID)
	}
	s.shared = n.Shared
	p, err := s.checkCIDR()
	if err != nil {
		return err
	}
	s.CIDR = p.String()
	if err := s.checkModes(p); err != nil {
		return err
	}
	if s.IPVersion == 6 && n.MTU < minMTU6 {
		return resource.InvalidInput("network %s has the mtu %d; an IPv6 subnet needs at least %d.", n.ID, n.MTU, minMTU6)
	}
	if err := s.checkOverlap(op, p); err != nil {
		return err
	}
	if first, end := hosts(p); !op.Given("gateway_ip") && first != end {
		gw := first.String()
		s.GatewayIP = &gw
	}
	if op.Sent["allocation_pools"] == nil {
		s.Pools = defaultPools(p, s.gateway())
	}
	return s.checkAddresses(p)
}

// checkCIDR masks host bits away, as Neutron does.
func (s *Subnet) checkCIDR() (netip.Prefix, error) {
	p, err := s.prefix()
	if err != nil {
		return p, err
	}
	p = p.Masked()
	switch a := p.Addr(); {
	case a.Is4() != (s.IPVersion == 4):
		err = resource.InvalidInput("cidr '%s' does not match the ip_version '%d'.", s.CIDR, s.IPVersion)
	case a.Is4In6():
		err = resource.Invalid("cidr", "'%s' is an IPv4-mapped IPv6 subnet", s.CIDR)
	case p.Bits() == 0:
		err = resource.InvalidInput("0 is not allowed as CIDR prefix length.")
	case a.IsMulticast():
		err = resource.InvalidInput("Multicast IP subnet is not supported: '%s'.", s.CIDR)
	case a.IsLoopback():
		err = resource.InvalidInput("Loopback IP subnet is not supported: '%s'.", s.CIDR)
	}
	return p, err
}

func (s *Subnet) checkModes(p netip.Prefix) error {
	ra, am := s.RAMode, s.AddressMode
	switch {
	case ra == nil && am == nil:
		return nil
	case s.IPVersion == 4:
		return resource.InvalidInput("ipv6_ra_mode and ipv6_address_mode are only valid when ip_version is 6.")
	case !s.EnableDHCP:
		return resource.InvalidInput("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False.")
	case ra != nil && am != nil && *ra != *am:
		return resource.InvalidInput("ipv6_ra_mode set to '%s' with ipv6_address_mode set to '%s' is not valid. If both attributes are set, they must be the same value.", *ra, *am)
	case p.Bits() != 64 && (isAuto(ra) || isAuto(am)):
		return resource.InvalidInput("Invalid CIDR %s for IPv6 address mode: EUI-64 addresses require the prefix to be /64.", p)
	}
	return nil
}

// isAuto says that machines make their address from their MAC address.
func isAuto(mode *string) bool { return mode != nil && *mode != "dhcpv6-stateful" }

func (s *Subnet) checkOverlap(op *crud.Op, p netip.Prefix) error {
	others, err := usersOf[Subnet](op, op.Tx, kindSubnet, s.NetworkID)
	if err != nil {
		return err
	}
	for _, o := range others {
		if q, err := o.prefix(); err != nil || q.Overlaps(p) {
			return resource.InvalidInput("Requested subnet with cidr: %s for network: %s overlaps with another subnet: %s of subnet %s.", p, s.NetworkID, o.CIDR, o.ID)
		}
	}
	return nil
}

func (s *Subnet) checkAddresses(p netip.Prefix) error {
	if gw := s.gateway(); gw.IsValid() && !isHost(p, gw) {
		first, end := hosts(p)
		return resource.Invalid("gateway_ip", "'%s' is not a host address of %s; allowed are %s to %s and null", gw, p, first, end)
	}
	if err := checkPools(p, s.Pools, s.gateway()); err != nil {
		return err
	}
	for _, d := range s.DNS {
		if a, _ := netip.ParseAddr(d); a.Is4() != p.Addr().Is4() {
			return resource.InvalidInput("dns_nameserver '%s' does not match the ip_version '%d'.", d, s.IPVersion)
		}
	}
	for _, r := range s.HostRoutes {
		if a, _ := netip.ParseAddr(r.NextHop); a.Is4() != p.Addr().Is4() {
			return resource.InvalidInput("host_routes nexthop '%s' does not match the ip_version '%d'.", r.NextHop, s.IPVersion)
		}
	}
	return nil
}

func (t *Topology) updateSubnet(op *crud.Op, old, s *Subnet) error {
	n, _, err := load[Network](op, op.Tx, kindNetwork, s.NetworkID)
	if err != nil {
		return err
	}
	s.shared = n.Shared
	p, err := s.prefix()
	if err != nil {
		return err
	}
	if v, given := op.Sent["allocation_pools"]; given && v == nil {
		s.Pools = defaultPools(p, s.gateway())
	}
	if err := s.checkModes(p); err != nil {
		return err
	}
	if err := s.checkAddresses(p); err != nil || equalText(old.GatewayIP, s.GatewayIP) || old.GatewayIP == nil {
		return err
	}
	ports, err := usersOf[Port](op, op.Tx, kindPort, s.NetworkID)
	for _, port := range ports {
		if port.Owner == ownerInterface && port.has(*old.GatewayIP) {
			return resource.Errorf(409, "GatewayIpInUse", "Current gateway ip %s already in use by port %s. Unable to update.", *old.GatewayIP, port.ID)
		}
	}
	return err
}

// subnetStored keeps the network's list true and tells the routers whose next hop changed.
func (t *Topology) subnetStored(op *crud.Op, old, s *Subnet) error {
	if old != nil && s != nil {
		if equalText(old.GatewayIP, s.GatewayIP) {
			return nil
		}
		ports, err := usersOf[Port](op, op.Tx, kindPort, s.NetworkID)
		if err != nil {
			return err
		}
		ports = slices.DeleteFunc(ports, func(p *Port) bool { return p.Owner != ownerGateway || !p.on(s.ID) })
		what, err := resource.Different("subnet.gateway_ip", old.GatewayIP, s.GatewayIP)
		if err != nil {
			return err
		}
		return t.tellRouters(op, ports, what)
	}
	one := s
	if s == nil {
		one = old
	}
	n, row, err := load[Network](op, op.Tx, kindNetwork, one.NetworkID)
	if err != nil {
		return err
	}
	n.Subnets = slices.DeleteFunc(n.Subnets, func(id string) bool { return id == one.ID })
	if s != nil {
		n.Subnets = append(n.Subnets, s.ID)
	}
	return crud.Save(op, row, n, false)
}
