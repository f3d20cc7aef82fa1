package neutron

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
)

// question asks whether the caller's request may pass.
type question func(ctx context.Context, c identity.Caller) error

// guarded knows the requests by which Neutron takes away what a VPN may stand on (api-contract section 5, "Topology
// guards"); nil for any other. Neutron itself refuses to delete a router's port.
func (n *Neutron) guarded(r *http.Request) question {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2.0/"), "/")
	if len(parts) < 2 {
		return nil
	}
	id, action := strings.ToLower(parts[1]), strings.Join(parts[2:], "/")
	switch r.Method + " " + parts[0] + " " + action {
	case "DELETE routers ", "PUT routers remove_external_gateways":
		return func(ctx context.Context, c identity.Caller) error { return n.mayClear(ctx, c, id) }
	case "PUT routers ":
		return func(ctx context.Context, c identity.Caller) error { return n.mayUpdate(ctx, c, r, id) }
	case "PUT routers remove_router_interface":
		return func(ctx context.Context, c identity.Caller) error { return n.mayDetach(ctx, c, r, id) }
	case "DELETE subnets ":
		return func(ctx context.Context, c identity.Caller) error { return n.mayDelete(ctx, c, "id", id) }
	case "DELETE networks ": // its subnets go with it
		return func(ctx context.Context, c identity.Caller) error { return n.mayDelete(ctx, c, "network_id", id) }
	}
	return nil
}

// sees says whether the router is the caller's business; Neutron answers whoever it is not.
func (n *Neutron) sees(ctx context.Context, c identity.Caller, id string) (bool, error) {
	v, err := n.Router(ctx, nil, id)
	if errors.Is(err, resource.ErrNotFound) {
		return false, nil
	}
	return err == nil && c.MayRead(v.ProjectID), err
}

func (n *Neutron) mayClear(ctx context.Context, c identity.Caller, id string) error {
	if ours, err := n.sees(ctx, c, id); err != nil || !ours {
		return err
	}
	return n.Resources.View(ctx, func(op *crud.Op) error { return n.vpn.MayClearGateway(op, id) })
}

// mayUpdate is about a PUT that takes the router's gateway away or moves it to another network.
func (n *Neutron) mayUpdate(ctx context.Context, c identity.Caller, r *http.Request, id string) error {
	sent, err := peek(r)
	if err != nil {
		return err
	}
	router, _ := sent["router"].(map[string]any)
	info, given := router["external_gateway_info"]
	if !given {
		return nil
	}
	want, _ := info.(map[string]any)
	if network, _ := want["network_id"].(string); network != "" {
		if err := n.Refresh(ctx, []string{id}, nil); err != nil {
			return err
		}
		v, err := n.Router(ctx, nil, id)
		if errors.Is(err, resource.ErrNotFound) || err == nil && (v.External == nil || v.External.Network == network) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return n.mayClear(ctx, c, id)
}

// mayDetach is about remove_router_interface, which names a subnet or a port.
func (n *Neutron) mayDetach(ctx context.Context, c identity.Caller, r *http.Request, id string) error {
	sent, err := peek(r)
	if err != nil {
		return err
	}
	if ours, err := n.sees(ctx, c, id); err != nil || !ours {
		return err
	}
	subnets := []string{}
	if subnet, _ := sent["subnet_id"].(string); subnet != "" {
		subnets = append(subnets, strings.ToLower(subnet))
	}
	if id, _ := sent["port_id"].(string); id != "" {
		ports, err := list[port](ctx, n, "ports", "id", []string{id}, "id", "fixed_ips")
		if err != nil {
			return away(err)
		}
		for _, p := range ports {
			for _, f := range p.FixedIPs {
				subnets = append(subnets, f.SubnetID)
			}
		}
	}
	return n.Resources.View(ctx, func(op *crud.Op) error {
		for _, subnet := range subnets {
			if err := n.vpn.MayDetachSubnet(op, id, subnet); err != nil {
				return err
			}
		}
		return nil
	})
}

// mayDelete is about the subnets whose attribute has this value.
func (n *Neutron) mayDelete(ctx context.Context, c identity.Caller, attr, value string) error {
	found, err := list[subnet](ctx, n, "subnets", attr, []string{value}, "id", "project_id", "network_id", "cidr", "gateway_ip")
	if err != nil {
		return away(err)
	}
	return n.Resources.View(ctx, func(op *crud.Op) error {
		for _, s := range found {
			if !c.MayRead(s.ProjectID) {
				continue
			}
			if err := n.vpn.MayDeleteSubnet(op, s.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxBody is the largest body that is looked into, in bytes.
const maxBody = 1 << 20

// peek reads the body as a JSON object and puts it back. What is none is Neutron's to refuse.
func peek(r *http.Request) (sent map[string]any, err error) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, resource.BadRequest("The body could not be read to its end.")
	}
	if len(raw) > maxBody {
		return nil, resource.Errorf(http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge", "The body is larger than %d bytes.", maxBody)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	_ = json.Unmarshal(raw, &sent)
	return sent, nil
}
