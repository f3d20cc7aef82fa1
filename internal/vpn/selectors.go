package vpn

import (
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// selectors are a connection's traffic selectors: masked, without duplicates and contained members, sorted (api-contract D6).
type selectors struct{ local, peer []netip.Prefix }

func (s selectors) v6() bool { return len(s.local) > 0 && s.local[0].Addr().Is6() }

// selectors finds both sides in the mode that the service chooses, and holds them against the mode's rules.
func (s *Service) selectors(op *crud.Op, c *Connection, v *VPNService, r *Router) (sel selectors, err error) {
	if v.SubnetID == nil {
		sel, err = s.groupSelectors(op, c, r)
	} else {
		sel, err = s.legacySelectors(op, c, *v.SubnetID)
	}
	if err != nil {
		return sel, err
	}
	if sel.local[0].Addr().Is4() != sel.peer[0].Addr().Is4() {
		return sel, resource.Errorf(400, "MixedIPVersionsForIPSecConnection", "The local networks %s and the peer networks %s are of different IP versions", join(sel.local), join(sel.peer))
	}
	if a, b, ok := overlap(sel.local, sel.peer); ok {
		return sel, resource.Errorf(400, "TrafficSelectorsOverlap", "The local network %s and the peer network %s overlap", a, b)
	}
	if n := len(sel.local) * len(sel.peer); n > s.MaxPairs {
		return sel, resource.BadRequest("The connection has %d local and %d peer networks, %d pairs; allowed are %d", len(sel.local), len(sel.peer), n, s.MaxPairs)
	}
	return sel, nil
}

func (s *Service) groupSelectors(op *crud.Op, c *Connection, r *Router) (sel selectors, err error) {
	if len(c.PeerCIDRs) > 0 {
		return sel, resource.Errorf(400, "PeerCidrsInvalid", "peer_cidrs must be empty when endpoint groups are used, and they are: the VPN service has no subnet_id")
	}
	missing := []string{}
	if c.LocalEPGroupID == nil {
		missing = append(missing, "local")
	}
	if c.PeerEPGroupID == nil {
		missing = append(missing, "peer")
	}
	if len(missing) > 0 {
		return sel, resource.Errorf(400, "MissingRequiredEndpointGroup", "Missing endpoint group for the %s side: the VPN service has no subnet_id, so local_ep_group_id and peer_ep_group_id are needed", strings.Join(missing, " and "))
	}
	local, err := s.group(op, *c.LocalEPGroupID, "subnet", "local", c.ProjectID)
	if err != nil {
		return sel, err
	}
	peer, err := s.group(op, *c.PeerEPGroupID, "cidr", "peer", c.ProjectID)
	if err != nil {
		return sel, err
	}
	if sel.local, err = s.lookups(op).subnets(local.Endpoints, false); err != nil {
		return sel, err
	}
	if !oneVersion(sel.local) {
		return sel, resource.Errorf(400, "MixedIPVersionsForIPSecEndpoints", "Endpoints in the endpoint group %s must be of one IP version", local.ID)
	}
	for _, id := range local.Endpoints {
		if !slices.Contains(r.Subnets, id) {
			return sel, notConnected(id, r.ID)
		}
	}
	sel.local, sel.peer = merge(sel.local), merge(prefixes(peer.Endpoints))
	return sel, nil
}

func (s *Service) group(op *crud.Op, id, typ, side, project string) (*EndpointGroup, error) {
	g, err := visible[EndpointGroup](op, KindEndpointGroup, id, project)
	if err == nil && g.Type != typ {
		err = resource.Errorf(400, "WrongEndpointGroupType", "The %s endpoint group %s is of type '%s'; it must be of type '%s'", side, id, g.Type, typ)
	}
	return g, err
}

func (s *Service) legacySelectors(op *crud.Op, c *Connection, subnet string) (sel selectors, err error) {
	for _, side := range []struct {
		name string
		id   *string
	}{{"local", c.LocalEPGroupID}, {"peer", c.PeerEPGroupID}} {
		if side.id != nil {
			return sel, resource.Errorf(400, "InvalidEndpointGroup", "The %s endpoint group %s cannot be used: the VPN service has a subnet_id, so peer_cidrs name the peer's networks", side.name, *side.id)
		}
	}
	if len(c.PeerCIDRs) == 0 {
		return sel, resource.Errorf(400, "MissingPeerCidrs", "peer_cidrs are missing: the VPN service has a subnet_id, so they must name the peer's networks")
	}
	sel.peer = prefixes(c.PeerCIDRs)
	if !oneVersion(sel.peer) {
		return sel, resource.Errorf(400, "MixedIPVersionsForPeerCidrs", "peer_cidrs must be of one IP version: %s", strings.Join(c.PeerCIDRs, ", "))
	}
	for _, text := range c.PeerCIDRs {
		if why := checkCIDR(text, text); why != "" {
			return sel, resource.Errorf(400, "IPsecSiteConnectionPeerCidrError", "Peer CIDR '%s' is invalid: %s", text, why)
		}
	}
	sel.peer = merge(sel.peer)
	sel.local, err = s.lookups(op).subnets([]string{subnet}, false)
	return sel, err
}

// checkAgainstOthers keeps connections on one router apart: their selectors, and the pre-shared keys of equal identities.
func (s *Service) checkAgainstOthers(op *crud.Op, c *Connection, v *VPNService, r *Router, sel selectors) error {
	others, err := s.neighbours(op, v.RouterID)
	if err != nil || len(others) == 0 {
		return err
	}
	known := s.lookups(op)
	if err := known.allGroups(c.ProjectID); err != nil {
		return err
	}
	for _, o := range others {
		if o.conn.ID == c.ID {
			continue
		}
		if samePeer(o.conn, c) && sameIdentity(localID(o.conn, o.service, r), localID(c, v, r)) {
			if err := s.samePSK(op, c, o.conn); err != nil {
				return err
			}
		}
		theirs, err := known.selectors(o.conn, o.service)
		if err != nil {
			return err
		}
		a, _, local := overlap(sel.local, theirs.local)
		b, _, peer := overlap(sel.peer, theirs.peer)
		if local && peer {
			return resource.Errorf(409, "TrafficSelectorsInUse", "Connection %s on router %s already carries traffic between %s and %s", o.conn.ID, r.ID, a, b)
		}
	}
	return nil
}

// samePeer says that two connections lead to one peer, however its address is spelled.
func samePeer(a, b *Connection) bool {
	x, err1 := netip.ParseAddr(a.PeerAddress)
	y, err2 := netip.ParseAddr(b.PeerAddress)
	return sameIdentity(a.PeerID, b.PeerID) && (a.PeerAddress == b.PeerAddress || err1 == nil && err2 == nil && x == y)
}

type neighbour struct {
	conn    *Connection
	service *VPNService
}

// neighbours are all connections on a router.
func (s *Service) neighbours(op *crud.Op, router string) ([]neighbour, error) {
	services, err := crud.LoadAll[VPNService](op, op.Tx, by(KindService, "router_id", router))
	if err != nil {
		return nil, err
	}
	out := []neighbour{}
	for _, v := range services {
		conns, err := crud.LoadAll[Connection](op, op.Tx, by(KindConnection, "vpnservice_id", v.ID))
		if err != nil {
			return nil, err
		}
		for _, c := range conns {
			out = append(out, neighbour{c, v})
		}
	}
	return out, nil
}

// samePSK refuses two keys for one pair of identities: the look-up is by identities (RFC 7296 section 2.15).
func (s *Service) samePSK(op *crud.Op, c, other *Connection) error {
	open := func(id string) (string, error) {
		row, err := op.Tx.Get(op, KindConnection, id)
		if err != nil {
			return "", err
		}
		return op.Svc.Secret(s.connectionKind, &row)
	}
	mine, theirs := string(c.PSK), ""
	theirs, err := open(other.ID)
	if err == nil && mine == "" {
		mine, err = open(c.ID)
	}
	if err == nil && mine != theirs {
		err = resource.Errorf(409, "PeerIdentityInUse", "Connection %s has the same peer_address, peer_id and local_id with another psk; equal identities need equal keys", other.ID)
	}
	return err
}

func prefixes(texts []string) []netip.Prefix {
	out := []netip.Prefix{}
	for _, t := range texts {
		if p, err := netip.ParsePrefix(t); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

func oneVersion(list []netip.Prefix) bool {
	return !slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Addr().Is4() != list[0].Addr().Is4() })
}

// merge masks, sorts, and drops what another member contains.
func merge(list []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	out := []netip.Prefix{}
	for _, p := range sorted {
		if n := len(out); n == 0 || !out[n-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

// overlap finds the first pair that shares an address.
func overlap(a, b []netip.Prefix) (x, y netip.Prefix, ok bool) {
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) {
				return x, y, true
			}
		}
	}
	return x, y, false
}

func join(list []netip.Prefix) string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}
