package vpn

import (
	"errors"
	"net/netip"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// lookups reads each thing that connections refer to once, however many of them share it.
type lookups struct {
	op       *crud.Op
	topology Topology
	foreign  bool
	ike      map[string]*IKEPolicy
	esp      map[string]*IPsecPolicy
	groups   map[string]*EndpointGroup
	cidrs    map[string]netip.Prefix // of subnets
}

func (s *Service) lookups(op *crud.Op) *lookups {
	return &lookups{op: op, topology: s.Topology, foreign: s.foreign != nil, ike: map[string]*IKEPolicy{}, esp: map[string]*IPsecPolicy{},
		groups: map[string]*EndpointGroup{}, cidrs: map[string]netip.Prefix{}}
}

func lookUp[T any](op *crud.Op, known map[string]*T, kind, id string) (*T, error) {
	if v := known[id]; v != nil {
		return v, nil
	}
	v, _, err := crud.Load[T](op, op.Tx, kind, id)
	known[id] = v
	return v, err
}

// allGroups reads the project's endpoint groups in one query.
func (l *lookups) allGroups(project string) error {
	groups, err := crud.LoadAll[EndpointGroup](l.op, l.op.Tx, resource.Query{Kind: KindEndpointGroup, ProjectID: project})
	for _, g := range groups {
		l.groups[g.ID] = g
	}
	return err
}

// subnets are the CIDRs of these subnets, in their order. One that does not exist is a 404, or is left out where it may be
// gone: a foreign topology does not ask before it deletes one.
func (l *lookups) subnets(ids []string, mayBeGone bool) ([]netip.Prefix, error) {
	out := []netip.Prefix{}
	for _, id := range ids {
		p, known := l.cidrs[id]
		if !known {
			sub, err := l.topology.Subnet(l.op, l.op.Tx, id)
			if errors.Is(err, resource.ErrNotFound) && mayBeGone {
				continue
			}
			if errors.Is(err, resource.ErrNotFound) {
				return nil, resource.Errorf(404, "SubnetNotFound", "Subnet %s could not be found", id)
			}
			if err != nil {
				return nil, err
			}
			p = sub.CIDR.Masked()
			l.cidrs[id] = p
		}
		out = append(out, p)
	}
	return out, nil
}

// selectors are those of a connection that has passed the rules.
func (l *lookups) selectors(c *Connection, v *VPNService) (sel selectors, err error) {
	ids, peers := []string{}, c.PeerCIDRs
	if v.SubnetID != nil {
		ids = append(ids, *v.SubnetID)
	}
	for _, id := range []*string{c.LocalEPGroupID, c.PeerEPGroupID} {
		if id == nil {
			continue
		}
		g, err := lookUp(l.op, l.groups, KindEndpointGroup, *id)
		if err != nil {
			return sel, err
		}
		if g.Type == "subnet" {
			ids = g.Endpoints
		} else {
			peers = g.Endpoints
		}
	}
	local, err := l.subnets(ids, l.foreign)
	return selectors{merge(local), merge(prefixes(peers))}, err
}
