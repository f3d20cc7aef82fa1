package vpn

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// EndpointGroup is api-contract section 7.1: what stands behind one side of a tunnel.
type EndpointGroup struct {
	resource.Head
	Type      string   `json:"type" api:"post required sort" enum:"subnet cidr"`
	Endpoints []string `json:"endpoints" api:"post put null" rule:"strings" default:"[]"`
}

func endpointGroupKind() *resource.Kind {
	return &resource.Kind{Name: KindEndpointGroup, Plural: "endpoint_groups", Path: "vpn/endpoint-groups", Title: "Endpoint group",
		NotFound: "VPNEndpointGroupNotFound", InUse: "EndpointGroupInUse"}
}

func (s *Service) endpointGroupRules() crud.Rules[EndpointGroup] {
	return crud.Rules[EndpointGroup]{
		Prepare: s.prepareGroup,
		Create:  func(op *crud.Op, g *EndpointGroup) error { return s.checkEndpoints(op, g) },
		Update: func(op *crud.Op, old, g *EndpointGroup) error {
			if op.Intent = intended(op, old, g); !op.Intent {
				return nil
			}
			return s.checkEndpoints(op, g)
		},
		Refs: func(g *EndpointGroup) []string {
			if g.Type == "subnet" {
				return s.refs(g.Endpoints...)
			}
			return nil
		},
		// The connections are checked against the group as it is stored now.
		Stored: func(op *crud.Op, old, g *EndpointGroup) error {
			if old == nil || g == nil || !op.Intent {
				return nil
			}
			changes, err := resource.Diff(old, g)
			if err != nil {
				return err
			}
			why := updated(KindEndpointGroup, &g.Head, changes, PendingUpdate)
			check := func(c *Connection) error { return s.checkConnection(op, c) }
			return errors.Join(s.reapply(op, by(KindConnection, "local_ep_group_id", g.ID), why, check),
				s.reapply(op, by(KindConnection, "peer_ep_group_id", g.ID), why, check))
		},
	}
}

func (s *Service) checkEndpoints(op *crud.Op, g *EndpointGroup) error {
	if len(g.Endpoints) == 0 {
		return resource.Errorf(400, "MissingEndpointForEndpointGroup", "No endpoints were given for the endpoint group '%s' of type %s; at least one is needed", g.Name, g.Type)
	}
	if len(g.Endpoints) > s.MaxPairs {
		return resource.BadRequest("The endpoint group has %d endpoints; allowed are %d", len(g.Endpoints), s.MaxPairs)
	}
	seen := map[string]bool{}
	for i, e := range g.Endpoints {
		why, err := s.checkEndpoint(op, g, i)
		if err != nil {
			return err
		}
		if seen[g.Endpoints[i]] {
			why = "endpoints have to be unique"
		}
		if why != "" {
			return resource.Errorf(400, "InvalidEndpointInEndpointGroup", "Endpoint '%s' is invalid for group type '%s': %s", e, g.Type, why)
		}
		seen[g.Endpoints[i]] = true
	}
	return nil
}

// checkEndpoint says what is wrong with a member, "" if nothing is.
func (s *Service) checkEndpoint(op *crud.Op, g *EndpointGroup, i int) (string, error) {
	if g.Type == "cidr" {
		return checkCIDR(g.Endpoints[i], g.Endpoints[0]), nil
	}
	id, ok := canonicalUUID(g.Endpoints[i])
	if !ok {
		return "Invalid UUID", nil
	}
	g.Endpoints[i] = id
	sub, err := s.Topology.Subnet(op, op.Tx, id)
	if errors.Is(err, resource.ErrNotFound) || err == nil && !op.Caller.MayRead(sub.ProjectID) {
		return "", resource.Errorf(400, "NonExistingSubnetInEndpointGroup", "Subnet %s in endpoint group '%s' does not exist", id, g.Name)
	}
	if err == nil && sub.ProjectID != g.ProjectID { // an admin's group would keep the owner from deleting the subnet
		err = resource.BadRequest("subnet %s belongs to the project '%s', not to '%s'", id, sub.ProjectID, g.ProjectID)
	}
	return "", err
}

// unroutable is what no site's network may have a part of: this host, loopback, link-local, multicast, reserved (RFC 6890).
func unroutable() (out []netip.Prefix) {
	for _, p := range strings.Fields("0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/3 ::/127 fe80::/10 ff00::/8") {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// checkCIDR refuses what cannot be a site's network. Host bits and overlapping members are fine (api-contract D6).
func checkCIDR(text, first string) string {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return "Invalid CIDR: an address and a prefix length are needed, such as 10.1.0.0/16 or 2001:db8::/64"
	}
	f, err := netip.ParsePrefix(first)
	switch {
	case err == nil && f.Addr().Is4() != p.Addr().Is4():
		return "all endpoints must be of one IP version"
	case p.Bits() == 0:
		return "a network of all addresses is not supported"
	case p.Addr().Is4In6() || slices.ContainsFunc(unroutable(), p.Overlaps):
		return "it must be a network of unicast addresses that can be routed"
	}
	return ""
}
