package topology

import (
	"fmt"
	"slices"

	"culvert/internal/crud"
)

// GatewayInfo is a router's way out. In a request FixedIPs is nil unless given. No address is translated here, whatever
// EnableSNAT says: it is kept for clients that read it back.
type GatewayInfo struct {
	NetworkID  string    `json:"network_id"`
	EnableSNAT bool      `json:"enable_snat"`
	FixedIPs   []FixedIP `json:"external_fixed_ips"`
}

// gatewayChange is done once the router's own row stands: its port refers to it.
type gatewayChange struct {
	remove         string // port id
	insert, update *Port
}

func (c gatewayChange) apply(op *crud.Op) error {
	if c.remove != "" {
		if err := op.Tx.Delete(op, kindPort, c.remove); err != nil {
			return fmt.Errorf("delete gateway port %s: %w", c.remove, err)
		}
	}
	if c.insert != nil {
		return insertPort(op, c.insert)
	}
	if c.update != nil {
		return savePort(op, c.update)
	}
	return nil
}

// planGateway makes r.External true, coming from old: it fills in the addresses and plans the change of the port.
func (t *Topology) planGateway(op *crud.Op, r *Router, old *GatewayInfo) error {
	want := r.External
	if want == nil && old == nil {
		return nil
	}
	if old != nil && want != nil && old.NetworkID == want.NetworkID && want.FixedIPs == nil {
		want.FixedIPs = old.FixedIPs
		return nil
	}
	port, interfaces, err := portsOf(op, r.ID)
	if err != nil {
		return err
	}
	if old != nil {
		if err := t.releaseGateway(op, r, old, port); err != nil {
			return err
		}
	}
	if want == nil {
		return nil
	}
	if r.pending.remove != "" || old == nil {
		port = nil
	}
	return t.chooseGateway(op, r, port, interfaces)
}

// releaseGateway asks whether the old gateway may change, and plans its port's end unless it stays on its network.
func (t *Topology) releaseGateway(op *crud.Op, r *Router, old *GatewayInfo, port *Port) error {
	if port == nil {
		return fmt.Errorf("router %s has a gateway but no gateway port", r.ID)
	}
	if r.External != nil && r.External.NetworkID == old.NetworkID {
		return nil
	}
	if err := t.guard.MayClearGateway(op, r.ID); err != nil {
		return err
	}
	lost, err := attached(op, old.FixedIPs)
	if err != nil {
		return err
	}
	r.pending.remove = port.ID
	if op.Given("routes") { // the new ones are checked against the new gateway
		return nil
	}
	return r.checkLoss(lost)
}

// chooseGateway allocates the addresses of the gateway port, a new one if port is nil.
func (t *Topology) chooseGateway(op *crud.Op, r *Router, port *Port, interfaces []*Port) error {
	want := r.External
	n, _, err := seen[Network](t, op, kindNetwork, want.NetworkID)
	if err != nil {
		return err
	}
	if !n.External {
		return badRouter("Network %s is not an external network", n.ID)
	}
	except := ""
	if port != nil {
		except = port.ID
	}
	s, err := addressSpace(op, op.Tx, n, except)
	if err != nil {
		return err
	}
	s.router = true
	if port == nil {
		if port, err = t.routerPort(op, s, ownerGateway, r.ID, ""); err != nil {
			return err
		}
		r.pending.insert = port
	} else {
		s.kept, r.pending.update = port.FixedIPs, port
	}
	if want.FixedIPs == nil {
		port.FixedIPs, err = s.automatic(port.MAC)
	} else {
		port.FixedIPs = slices.Clone(want.FixedIPs)
		err = s.setNamed(op, port, "update_router:external_gateway_info:external_fixed_ips")
	}
	if err != nil {
		return err
	}
	want.FixedIPs = port.FixedIPs
	return r.checkGateway(op, interfaces)
}

// checkGateway compares the subnets outside with those inside, and keeps the routes connected.
func (r *Router) checkGateway(op *crud.Op, interfaces []*Port) error {
	outside, err := attached(op, uniqueSubnets(r.External.FixedIPs))
	if err != nil {
		return err
	}
	inside, err := attached(op, addressesOf(interfaces...))
	if err != nil {
		return err
	}
	if err := checkApart(outside, inside); err != nil || op.Given("routes") {
		return err
	}
	return checkRoutes(op, r)
}

func uniqueSubnets(fixed []FixedIP) []FixedIP {
	var out []FixedIP
	for _, f := range fixed {
		if !slices.ContainsFunc(out, func(o FixedIP) bool { return o.SubnetID == f.SubnetID }) {
			out = append(out, f)
		}
	}
	return out
}
