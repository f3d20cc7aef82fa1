// Package site lays a head office through the public API alone: a provider's network, an inner one, a router between them
// with a VPN service, and connections to peers. The demo and the sandbox stand on it. It knows nothing of peers, and no
// type of the server may enter.
package site

import (
	"context"
	"net/netip"
	"time"

	"culvert/internal/client"
	"culvert/internal/gateway"
	"culvert/internal/lab"
)

// Site is a head office. Its methods are called in their order; those before MakeRouter may be left out where the ids are
// known already.
type Site struct {
	API   *client.Client
	Name  string       // of everything that is made
	Outer netip.Prefix // the provider's network; routers get its addresses 2 to 30
	Hop   string       // next hop there; "": none
	Inner netip.Prefix // the head office's network

	WAN, LAN, Subnet, Router, Service string // ids
	External                          string // the router's outer address; "" without an external gateway
}

// create posts one resource and returns its id.
func (s *Site) create(ctx context.Context, collection, key string, attributes client.Object) (string, error) {
	if _, named := attributes["name"]; !named {
		attributes["name"] = s.Name
	}
	o, err := s.API.Create(ctx, collection, key, attributes)
	id, _ := o["id"].(string)
	return id, err
}

// MakeWAN makes the provider's network with its subnet.
func (s *Site) MakeWAN(ctx context.Context) (err error) {
	if s.WAN, err = s.create(ctx, "networks", "network", client.Object{"name": s.Name + "-wan", "router:external": true}); err != nil {
		return err
	}
	first := s.Outer.Masked().Addr().Next().Next()
	last := first
	for range 28 {
		last = last.Next()
	}
	subnet := client.Object{"name": s.Name + "-wan", "network_id": s.WAN, "cidr": s.Outer.String(), "ip_version": 4, "gateway_ip": nil,
		"enable_dhcp": false, "allocation_pools": []client.Object{{"start": first.String(), "end": last.String()}}}
	if s.Hop != "" {
		subnet["gateway_ip"] = s.Hop
	}
	_, err = s.create(ctx, "subnets", "subnet", subnet)
	return err
}

// MakeLAN makes the inner network with its subnet.
func (s *Site) MakeLAN(ctx context.Context) (err error) {
	if s.LAN, err = s.create(ctx, "networks", "network", client.Object{"name": s.Name + "-hq"}); err != nil {
		return err
	}
	s.Subnet, err = s.create(ctx, "subnets", "subnet", client.Object{"name": s.Name + "-hq", "network_id": s.LAN, "cidr": s.Inner.String(), "ip_version": 4})
	return err
}

// MakeRouter makes the router between the two; with no WAN it gets no external gateway.
func (s *Site) MakeRouter(ctx context.Context) (err error) {
	attributes := client.Object{}
	if s.WAN != "" {
		attributes["external_gateway_info"] = client.Object{"network_id": s.WAN}
	}
	if s.Router, err = s.create(ctx, "routers", "router", attributes); err != nil {
		return err
	}
	_, err = s.API.Call(ctx, "PUT", "/v2.0/routers/"+s.Router+"/add_router_interface", client.Object{"subnet_id": s.Subnet})
	return err
}

// MakeService makes the VPN service on the router, with changes to its attributes.
func (s *Site) MakeService(ctx context.Context, changes client.Object) error {
	v, err := s.API.Create(ctx, "vpn/vpnservices", "vpnservice", with(client.Object{"name": s.Name, "router_id": s.Router}, changes))
	if err != nil {
		return err
	}
	s.Service, _ = v["id"].(string)
	s.External, _ = v["external_v4_ip"].(string)
	return nil
}

// ServicePath is where the API has the VPN service.
func (s *Site) ServicePath() string { return "/v2.0/vpn/vpnservices/" + s.Service }

// AwaitService waits until the VPN service is ACTIVE, at most 30 s.
func (s *Site) AwaitService(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := s.API.Await(ctx, s.ServicePath(), "vpnservice", 5*time.Millisecond, "ACTIVE")
	return err
}

// StartHost starts a machine on the inner network, in a namespace of this name.
func (s *Site) StartHost(ctx context.Context, namespace string, at netip.Addr) (*lab.Host, error) {
	return lab.StartHost(ctx, lab.HostConfig{Name: namespace, Bridge: gateway.BridgeName(s.LAN),
		Address: []netip.Prefix{netip.PrefixFrom(at, s.Inner.Bits())}, Gateway: []netip.Addr{s.Inner.Masked().Addr().Next()}})
}

// OuterBridge is the host bridge that the provider's network is.
func (s *Site) OuterBridge() string { return gateway.BridgeName(s.WAN) }

// Tunnel is a connection that is to be made. The attributes are added to those that a connection needs, or take their place.
type Tunnel struct {
	Name, PeerAddress, PSK string
	PeerCIDR               string
	IKE, ESP               client.Object // attributes of its policies
	Attributes             client.Object
}

// Parts makes policies and endpoint groups of a tunnel and returns what its connection is to be posted with.
func (s *Site) Parts(ctx context.Context, t Tunnel) (attributes client.Object, err error) {
	attributes = client.Object{"name": t.Name, "vpnservice_id": s.Service, "peer_address": t.PeerAddress, "peer_id": t.PeerAddress, "psk": t.PSK}
	for _, part := range []struct {
		attribute, collection, key string
		object                     client.Object
	}{
		{"ikepolicy_id", "vpn/ikepolicies", "ikepolicy", with(client.Object{"name": t.Name}, t.IKE)},
		{"ipsecpolicy_id", "vpn/ipsecpolicies", "ipsecpolicy", with(client.Object{"name": t.Name}, t.ESP)},
		{"local_ep_group_id", "vpn/endpoint-groups", "endpoint_group", client.Object{"name": s.Name + "-hq", "type": "subnet", "endpoints": []string{s.Subnet}}},
		{"peer_ep_group_id", "vpn/endpoint-groups", "endpoint_group", client.Object{"name": t.Name, "type": "cidr", "endpoints": []string{t.PeerCIDR}}},
	} {
		if attributes[part.attribute], err = s.create(ctx, part.collection, part.key, part.object); err != nil {
			return nil, err
		}
	}
	return with(attributes, t.Attributes), nil
}

// Post makes the connection of the Parts and returns its id.
func (s *Site) Post(ctx context.Context, attributes client.Object) (string, error) {
	return s.create(ctx, "vpn/ipsec-site-connections", "ipsec_site_connection", attributes)
}

// with are attributes, some of them changed.
func with(o, changes client.Object) client.Object {
	for name, value := range changes {
		o[name] = value
	}
	return o
}
