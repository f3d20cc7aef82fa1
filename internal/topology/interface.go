package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
)

// AddRouterInterface connects a router with a subnet, by subnet_id (the interface takes the subnet's gateway_ip) or by the
// port_id of a port that nothing uses yet. It answers Neutron's object: id, tenant_id, project_id, port_id, subnet_id,
// subnet_ids, network_id, tags.
func (t *Topology) AddRouterInterface(ctx context.Context, c identity.Caller, router string, body map[string]any) (map[string]any, error) {
	return t.routerAction(ctx, c, router, body, func(op *crud.Op, r *Router, subnet, port string) (*Port, string, error) {
		switch {
		case subnet == "" && port == "":
			return nil, "", badRouter("Either subnet_id or port_id must be specified")
		case subnet != "" && port != "":
			return nil, "", badRouter("Cannot specify both subnet_id and port_id")
		case port != "":
			return t.attachPort(op, r, port)
		}
		return t.attachSubnet(op, r, subnet)
	})
}

// RemoveRouterInterface takes the interface away that subnet_id, port_id or both name; its port is deleted. It answers as
// AddRouterInterface does.
func (t *Topology) RemoveRouterInterface(ctx context.Context, c identity.Caller, router string, body map[string]any) (map[string]any, error) {
	return t.routerAction(ctx, c, router, body, func(op *crud.Op, r *Router, subnet, port string) (*Port, string, error) {
		if subnet == "" && port == "" {
			return nil, "", badRouter("Either subnet_id or port_id must be specified")
		}
		return t.detach(op, r, subnet, port)
	})
}

type routerAct func(op *crud.Op, r *Router, subnet, port string) (changed *Port, firstSubnet string, err error)

// routerAction runs act on a router that the caller may change, then tells the guard.
func (t *Topology) routerAction(ctx context.Context, c identity.Caller, router string, body map[string]any, act routerAct) (map[string]any, error) {
	subnet, port, err := interfaceBody(body)
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	_, err = t.svc.Change(ctx, func(op *crud.Op) error {
		op.Caller = c
		r, _, err := seen[Router](t, op, kindRouter, router)
		if err != nil {
			return err
		}
		if !c.MayWrite(r.ProjectID) {
			return resource.Errorf(403, "PolicyNotAuthorized", "update_router is disallowed by policy: it needs the role member (or admin) in the project")
		}
		p, first, err := act(op, r, subnet, port)
		if err != nil {
			return err
		}
		answer = map[string]any{"id": r.ID, "tenant_id": r.ProjectID, "project_id": r.ProjectID, "port_id": p.ID,
			"subnet_id": first, "subnet_ids": p.subnets(), "network_id": p.NetworkID, "tags": r.Tags}
		return t.interfaceChanged(op, r.ID, p)
	})
	return answer, err
}

// interfaceChanged tells the guard of a port that the router has got, or has no longer.
func (t *Topology) interfaceChanged(op *crud.Op, router string, p *Port) error {
	var before, after any = nil, p.subnets()
	if _, err := op.Tx.Get(op, kindPort, p.ID); errors.Is(err, resource.ErrNotFound) {
		before, after = after, before
	} else if err != nil {
		return err
	}
	what, err := resource.Different("interface", before, after)
	if err != nil {
		return err
	}
	return t.guard.RouterChanged(op, router, what)
}

func interfaceBody(body map[string]any) (subnet, port string, err error) {
	if err := keys(body, []string{"subnet_id", "port_id"}); err != nil {
		return "", "", resource.BadRequest("%v", err)
	}
	for name, to := range map[string]*string{"subnet_id": &subnet, "port_id": &port} {
		if v := body[name]; v != nil {
			if *to, err = uuidOf(v); err != nil {
				return "", "", resource.Invalid(name, "%v", err)
			}
		}
	}
	return subnet, port, nil
}

func (t *Topology) attachSubnet(op *crud.Op, r *Router, id string) (*Port, string, error) {
	sub, row, err := seen[Subnet](t, op, kindSubnet, id)
	if err != nil {
		return nil, "", err
	}
	n, _, err := load[Network](op, op.Tx, kindNetwork, sub.NetworkID)
	if err != nil {
		return nil, "", err
	}
	if !op.Caller.MayWrite(row.ProjectID) && !op.Caller.MayWrite(n.ProjectID) {
		return nil, "", resource.Errorf(403, "PolicyNotAuthorized",
			"add_router_interface is disallowed by policy: the gateway address of subnet %s belongs to another project; attach a port of your own by port_id", id)
	}
	if sub.GatewayIP == nil {
		return nil, "", badRouter("Subnet for router interface must have a gateway IP, and subnet %s has none", id)
	}
	if err := checkAttach(op, r, []*Subnet{sub}); err != nil {
		return nil, "", err
	}
	s, err := addressSpace(op, op.Tx, n, "")
	if err != nil {
		return nil, "", err
	}
	f := FixedIP{sub.ID, *sub.GatewayIP}
	if _, _, err := s.claim(f); err != nil {
		return nil, "", err
	}
	p, err := t.routerPort(op, s, ownerInterface, r.ID, r.ProjectID)
	if err != nil {
		return nil, "", err
	}
	p.FixedIPs = []FixedIP{f}
	return p, id, insertPort(op, p)
}

func (t *Topology) attachPort(op *crud.Op, r *Router, id string) (*Port, string, error) {
	p, row, err := seen[Port](t, op, kindPort, id)
	if err != nil {
		return nil, "", err
	}
	if !op.Caller.MayWrite(row.ProjectID) {
		return nil, "", resource.Errorf(403, "PolicyNotAuthorized", "update_port is disallowed by policy: it needs the role member (or admin) in the project")
	}
	if p.DeviceID != "" || p.Owner != "" {
		return nil, "", resource.Errorf(409, "PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device '%s' with owner '%s'.",
			id, p.NetworkID, p.DeviceID, p.Owner)
	}
	if len(p.FixedIPs) == 0 {
		return nil, "", badRouter("Router port must have at least one fixed IP, and port %s has none", id)
	}
	subnets, err := attached(op, p.FixedIPs)
	if err != nil {
		return nil, "", err
	}
	if err := checkAttach(op, r, subnets); err != nil {
		return nil, "", err
	}
	p.DeviceID, p.Owner, p.Status, p.AdminStateUp = r.ID, ownerInterface, "ACTIVE", true
	return p, p.FixedIPs[0].SubnetID, savePort(op, p)
}

// checkAttach wants the subnets apart from each other and from all that the router has, inside and outside.
func checkAttach(op *crud.Op, r *Router, subnets []*Subnet) error {
	for i, s := range subnets {
		if slices.ContainsFunc(subnets[:i], func(o *Subnet) bool { return o.ID == s.ID }) {
			return badRouter("Cannot have multiple fixed IPs of subnet %s on a router port", s.ID)
		}
	}
	gateway, ports, err := portsOf(op, r.ID)
	if err != nil {
		return err
	}
	if gateway != nil {
		ports = append(ports, gateway)
	}
	present, err := attached(op, addressesOf(ports...))
	if err != nil {
		return err
	}
	return checkApart(subnets, present)
}

func (t *Topology) detach(op *crud.Op, r *Router, subnet, port string) (*Port, string, error) {
	_, ports, err := portsOf(op, r.ID)
	if err != nil {
		return nil, "", err
	}
	p, err := pickInterface(r.ID, ports, subnet, port)
	if err != nil {
		return nil, "", err
	}
	lost, err := attached(op, p.FixedIPs)
	if err != nil {
		return nil, "", err
	}
	for _, s := range lost {
		if err := t.guard.MayDetachSubnet(op, r.ID, s.ID); err != nil {
			return nil, "", err
		}
	}
	if err := r.checkLoss(lost); err != nil {
		return nil, "", err
	}
	if subnet == "" {
		subnet = p.FixedIPs[0].SubnetID
	}
	if err := op.Tx.Delete(op, kindPort, p.ID); err != nil {
		return nil, "", fmt.Errorf("delete interface %s: %w", p.ID, err)
	}
	return p, subnet, nil
}

func pickInterface(router string, ports []*Port, subnet, port string) (*Port, error) {
	for _, p := range ports {
		if port != "" && p.ID != port || port == "" && !p.on(subnet) {
			continue
		}
		if subnet != "" && !p.on(subnet) {
			return nil, resource.Errorf(409, "SubnetMismatchForPort", "Subnet on port %s does not match the requested subnet %s.", port, subnet)
		}
		return p, nil
	}
	if port != "" {
		return nil, resource.Errorf(404, "RouterInterfaceNotFound", "Router %s does not have an interface with id %s.", router, port)
	}
	return nil, resource.Errorf(404, "RouterInterfaceNotFoundForSubnet", "Router %s has no interface on subnet %s.", router, subnet)
}
