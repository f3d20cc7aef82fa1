package neutron

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"culvert/internal/vpn"
)

// some is how many ids one request names: 50 UUIDs with their parameter names are 2.2 kB of URL.
const some = 50

// Owners of a router's ports (device_owner in Neutron's API reference). Interfaces of distributed and of highly available
// routers have names of their own.
const (
	ownerGateway = "network:router_gateway"
	ownerSNAT    = "network:router_centralized_snat" // a distributed router's second port in each subnet
)

func ownsInterface(owner string) bool {
	return slices.Contains([]string{"network:router_interface", "network:router_interface_distributed", "network:ha_router_replicated_interface"}, owner)
}

type router struct {
	ID           string `json:"id"`
	ProjectID    string `json:"project_id"`
	AdminStateUp bool   `json:"admin_state_up"`
	Distributed  bool   `json:"distributed"` // shown to administrators only, which the service user is
}

// namespace is where the L3 agent puts the router's external gateway: that of a distributed router stands apart from the
// router, in a namespace on one host, as do its ports of the owner ownerSNAT (neutron/agent/l3/dvr_snat_ns.py). A highly
// available router (neutron/agent/l3/ha_router.py) is named like any other, on each of its hosts; its addresses are where
// keepalived puts them.
func (r router) namespace() string {
	if r.Distributed {
		return "snat-" + r.ID
	}
	return "qrouter-" + r.ID
}

// noScope returns the mark of packets from a network in no address scope. The L3 agent marks what comes by an interface of
// the router's, and drops what leaves by one without the mark of that one's scope: all that comes out of a device that it
// does not know (neutron/agent/l3/router_info.py, ADDRESS_SCOPE_MARK_ID_MIN and _MASK). Marks of address scopes are numbered by
// the agent as it meets them, and nobody else is told.
func noScope() *vpn.Mark { return &vpn.Mark{Value: 1024 << 16, Mask: 0xffff0000} }

// isInterface tells whether the port is a link between that namespace and a subnet.
func (r router) isInterface(owner string) bool {
	if r.Distributed {
		return owner == ownerSNAT
	}
	return ownsInterface(owner)
}

type port struct {
	ID        string `json:"id"`
	NetworkID string `json:"network_id"`
	DeviceID  string `json:"device_id"`
	Owner     string `json:"device_owner"`
	MAC       string `json:"mac_address"`
	FixedIPs  []struct {
		SubnetID string     `json:"subnet_id"`
		Address  netip.Addr `json:"ip_address"`
	} `json:"fixed_ips"`
}

type subnet struct {
	ID        string       `json:"id"`
	ProjectID string       `json:"project_id"`
	NetworkID string       `json:"network_id"`
	CIDR      netip.Prefix `json:"cidr"`
	GatewayIP *netip.Addr  `json:"gateway_ip"`
}

// list reads every resource of a collection whose attribute is one of the values.
func list[T any](ctx context.Context, n *Neutron, collection, attr string, values []string, fields ...string) (out []T, err error) {
	for ids := range slices.Chunk(values, some) {
		for query := (url.Values{attr: ids, "fields": fields}); query != nil; {
			var page map[string]json.RawMessage
			if err := n.get(ctx, collection, query, &page); err != nil {
				return nil, err
			}
			var items []T
			if err := json.Unmarshal(page[collection], &items); err != nil {
				return nil, fmt.Errorf("neutron: %s: %w", collection, err)
			}
			out = append(out, items...)
			query = nextPage(page[collection+"_links"])
		}
	}
	return out, nil
}

// nextPage is the query of a "next" link, nil without one: a Neutron may bound its pages. Of the link only the query counts.
func nextPage(links json.RawMessage) url.Values {
	var all []struct{ Rel, Href string }
	_ = json.Unmarshal(links, &all) // without links there is no other page
	for _, l := range all {
		if u, err := url.Parse(l.Href); err == nil && l.Rel == "next" {
			return u.Query()
		}
	}
	return nil
}

func (n *Neutron) client(ctx context.Context) (*gophercloud.ServiceClient, error) {
	provider, err := n.Login(ctx)
	if err != nil {
		return nil, err
	}
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: n.base.String() + "/v2.0/"}, nil
}

// get is one request as the service user.
func (n *Neutron) get(ctx context.Context, collection string, query url.Values, into any) error {
	client, err := n.client(ctx)
	if err != nil {
		return err
	}
	_, err = client.Get(ctx, client.ServiceURL(collection)+"?"+query.Encode(), into, nil)
	var code gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &code) {
		err = fmt.Errorf("it answered %d", code.Actual)
	}
	if err != nil {
		return fmt.Errorf("neutron: list %s: %w", collection, err)
	}
	return nil
}

// readRouters reads routers as the VPN sees them; those that do not exist are missing.
func (n *Neutron) readRouters(ctx context.Context, ids []string) (map[string]*vpn.Router, error) {
	routers, err := list[router](ctx, n, "routers", "id", ids, "id", "project_id", "admin_state_up", "distributed")
	if err != nil || len(routers) == 0 {
		return nil, err
	}
	ports, err := list[port](ctx, n, "ports", "device_id", ids, "id", "network_id", "device_id", "device_owner", "mac_address", "fixed_ips")
	if err != nil {
		return nil, err
	}
	subnets, err := n.subnetsOf(ctx, ports)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(ports, func(a, b port) int { return strings.Compare(a.ID, b.ID) })
	out, as := map[string]*vpn.Router{}, map[string]router{}
	for _, r := range routers {
		out[r.ID] = &vpn.Router{ID: r.ID, ProjectID: r.ProjectID, AdminStateUp: r.AdminStateUp, Namespace: r.namespace(), Mark: noScope()}
		as[r.ID] = r
	}
	for _, p := range ports {
		if v := out[p.DeviceID]; v != nil {
			as[p.DeviceID].attach(v, p, subnets)
		}
	}
	return out, nil
}

// attach adds a port of the router to what the VPN sees of it.
func (r router) attach(v *vpn.Router, p port, subnets map[string]subnet) {
	l := vpn.Link{Port: p.ID, Network: p.NetworkID, MAC: p.MAC}
	for _, f := range p.FixedIPs {
		s, known := subnets[f.SubnetID]
		if !known { // deleted between two requests: the next look will tell
			continue
		}
		l.Addresses = append(l.Addresses, netip.PrefixFrom(f.Address, s.CIDR.Bits()))
		if p.Owner == ownerGateway && s.GatewayIP != nil && !slices.Contains(l.Gateways, *s.GatewayIP) {
			l.Gateways = append(l.Gateways, *s.GatewayIP)
		}
		if ownsInterface(p.Owner) {
			v.Subnets = append(v.Subnets, s.ID)
		}
	}
	switch {
	case p.Owner == ownerGateway:
		v.External = &l
	case r.isInterface(p.Owner):
		v.Internal = append(v.Internal, l)
	}
}

func (n *Neutron) subnetsOf(ctx context.Context, ports []port) (map[string]subnet, error) {
	var ids []string
	for _, p := range ports {
		for _, f := range p.FixedIPs {
			if !slices.Contains(ids, f.SubnetID) {
				ids = append(ids, f.SubnetID)
			}
		}
	}
	return n.readSubnets(ctx, ids)
}

func (n *Neutron) readSubnets(ctx context.Context, ids []string) (map[string]subnet, error) {
	subnets, err := list[subnet](ctx, n, "subnets", "id", ids, "id", "project_id", "network_id", "cidr", "gateway_ip")
	out := map[string]subnet{}
	for _, s := range subnets {
		out[s.ID] = s
	}
	return out, err
}
