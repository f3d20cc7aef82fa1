package topology

import (
	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Network is a Neutron network.
type Network struct {
	resource.Head
	Tagged
	AdminStateUp bool   `json:"admin_state_up" api:"post put" rule:"bool" default:"true"`
	Status       string `json:"status" api:"sort" rule:"string 16"`
	Shared       bool   `json:"shared" api:"post put" rule:"bool" default:"false"`
	External     bool   `json:"router:external" api:"post put" rule:"bool" default:"false"`
	// Type and Physical: a flat network is a bridge that the gateway's host has under this name; a local one has a
	// bridge of its own. Tagged and tunnelled networks are flat ones on an interface of that sort.
	Type         string   `json:"provider:network_type" api:"post put null" enum:"flat local"`
	Physical     *string  `json:"provider:physical_network" api:"post put null" rule:"text 1 64" default:"null"`
	Segmentation *int64   `json:"provider:segmentation_id" api:"post null const" rule:"int 1 16777215" default:"null"`
	MTU          int64    `json:"mtu" api:"post put" rule:"int 0 65535" default:"1500"` // bytes; 0 asks for the default
	Subnets      []string `json:"subnets" rule:"strings"`
	Zones        []string `json:"availability_zones" rule:"strings"`
	ZoneHints    []string `json:"availability_zone_hints" api:"post null" rule:"zones"`
	PortSecurity bool     `json:"port_security_enabled" api:"post put" rule:"bool" default:"true"`
	IPv4Scope    *string  `json:"ipv4_address_scope" api:"null" rule:"uuid"`
	IPv6Scope    *string  `json:"ipv6_address_scope" api:"null" rule:"uuid"`
}

// MTUs in bytes: what RFC 791 and RFC 8200 demand of every link, and Ethernet's.
const (
	minMTU4    = 68
	minMTU6    = 1280
	defaultMTU = 1500
)

func (t *Topology) networkRules() crud.Rules[Network] {
	return crud.Rules[Network]{
		Filter: t.filter(kindNetwork),
		Time:   now,
		Create: t.createNetwork,
		Update: t.updateNetwork,
		Delete: t.deleteNetwork,
		Stored: t.networkStored,
		Shared: func(n *Network) bool { return n.Shared || n.External },
	}
}

func (t *Topology) createNetwork(op *crud.Op, n *Network) error {
	n.Status = "ACTIVE"
	for attr, set := range map[string]bool{"shared": n.Shared, "router:external": n.External,
		"provider:network_type": n.Type != "", "provider:physical_network": n.Physical != nil} {
		if set && !op.Caller.Admin() {
			return adminNeeded("create", kindNetwork, attr)
		}
	}
	if err := n.checkMTU(nil); err != nil {
		return err
	}
	return n.checkProvider(op)
}

func (t *Topology) updateNetwork(op *crud.Op, old, n *Network) error {
	for _, attr := range []string{"shared", "router:external", "provider:network_type", "provider:physical_network"} {
		if op.Given(attr) && !op.Caller.Admin() {
			return adminNeeded("update", kindNetwork, attr)
		}
	}
	subnets, err := usersOf[Subnet](op, op.Tx, kindSubnet, n.ID)
	if err != nil {
		return err
	}
	if err := n.checkMTU(subnets); err != nil {
		return err
	}
	if op.Given("provider:physical_network") && !op.Given("provider:network_type") {
		n.Type = ""
	}
	if op.Given("provider:network_type", "provider:physical_network") {
		if err := n.checkProvider(op); err != nil {
			return err
		}
	}
	if old.Shared && !n.Shared || old.External && !n.External {
		return n.checkNarrower(op, subnets)
	}
	return nil
}

func (n *Network) checkMTU(subnets []*Subnet) error {
	if n.MTU == 0 {
		n.MTU = defaultMTU
	}
	if n.MTU < minMTU4 {
		return resource.Invalid("mtu", "'%d' is not in the range %d to 65535", n.MTU, minMTU4)
	}
	for _, s := range subnets {
		if s.IPVersion == 6 && n.MTU < minMTU6 {
			return resource.Invalid("mtu", "'%d' is less than %d, which IPv6 needs, and subnet %s is IPv6", n.MTU, minMTU6, s.ID)
		}
	}
	return nil
}

// checkProvider derives the type from the physical network where it was not given. One physical network carries one flat
// network.
func (n *Network) checkProvider(op *crud.Op) error {
	if n.Type == "" {
		n.Type = "local"
		if n.Physical != nil {
			n.Type = "flat"
		}
	}
	switch {
	case n.Type == "flat" && n.Physical == nil:
		return resource.InvalidInput("provider:physical_network required for flat provider network")
	case n.Type == "local" && n.Physical != nil:
		return resource.InvalidInput("provider:physical_network specified for local provider network")
	case n.Physical == nil:
		return nil
	}
	same, err := crud.LoadAll[Network](op, op.Tx, resource.Query{Kind: kindNetwork,
		Filters: anyOf("provider:physical_network", []string{*n.Physical})})
	for _, other := range same {
		if err == nil && other.ID != n.ID {
			return resource.Errorf(409, "FlatNetworkInUse", "Unable to create the flat network. Physical network %s is in use by network %s.", *n.Physical, other.ID)
		}
	}
	return err
}

// checkNarrower keeps a network from being hidden from those who use it.
func (n *Network) checkNarrower(op *crud.Op, subnets []*Subnet) error {
	ports, err := usersOf[Port](op, op.Tx, kindPort, n.ID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.Owner == ownerGateway && !n.External {
			return resource.Errorf(409, "ExternalNetworkInUse",
				"External network %s cannot be updated to be made non-external, since it has existing gateway ports.", n.ID)
		}
		if p.Owner != ownerGateway && !n.Shared && p.ProjectID != n.ProjectID {
			return sharingError(n.ID)
		}
	}
	for _, s := range subnets {
		if !n.Shared && s.ProjectID != n.ProjectID {
			return sharingError(n.ID)
		}
	}
	return nil
}

func sharingError(id string) error {
	return resource.Errorf(409, "InvalidSharedSetting",
		"Unable to reconfigure sharing settings for network %s. Multiple projects are using it.", id)
}

// deleteNetwork takes the subnets along that nobody uses, as Neutron does.
func (t *Topology) deleteNetwork(op *crud.Op, n *Network) error {
	ports, err := usersOf[Port](op, op.Tx, kindPort, n.ID)
	if err != nil {
		return err
	}
	if len(ports) > 0 {
		return t.info[kindNetwork].ErrInUse(n.ID, resource.Ref{Kind: kindPort, ID: ports[0].ID})
	}
	for _, id := range n.Subnets {
		if err := t.guard.MayDeleteSubnet(op, id); err != nil {
			return err
		}
		users, err := op.Tx.Users(op, id)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return resource.Errorf(409, "NetworkInUse", "Network %s is in use: %s", n.ID, t.info[kindSubnet].ErrInUse(id, users[0]).Message)
		}
		if err := op.Tx.Delete(op, kindSubnet, id); err != nil {
			return err
		}
	}
	return nil
}

// networkStored carries a change on to the subnets and to the routers on the network.
func (t *Topology) networkStored(op *crud.Op, old, n *Network) error {
	if old == nil || n == nil {
		return nil
	}
	if old.Shared != n.Shared {
		if err := n.shareSubnets(op); err != nil {
			return err
		}
	}
	if old.MTU == n.MTU && equalText(old.Physical, n.Physical) {
		return nil
	}
	ports, err := usersOf[Port](op, op.Tx, kindPort, n.ID)
	if err != nil {
		return err
	}
	what, err := resource.Diff(map[string]any{"network.mtu": old.MTU, "network.provider:physical_network": old.Physical},
		map[string]any{"network.mtu": n.MTU, "network.provider:physical_network": n.Physical})
	if err != nil {
		return err
	}
	return t.tellRouters(op, ports, what...)
}

func (n *Network) shareSubnets(op *crud.Op) error {
	for _, id := range n.Subnets {
		s, row, err := load[Subnet](op, op.Tx, kindSubnet, id)
		if err != nil {
			return err
		}
		row.Shared = n.Shared
		if err := crud.Save(op, row, s, false); err != nil {
			return err
		}
	}
	return nil
}

// tellRouters tells the guard once of every router that one of the ports belongs to, and what changed.
func (t *Topology) tellRouters(op *crud.Op, ports []*Port, what ...resource.Difference) error {
	told := map[string]bool{}
	for _, p := range ports {
		if !p.ofRouter() || told[p.DeviceID] {
			continue
		}
		told[p.DeviceID] = true
		if err := t.guard.RouterChanged(op, p.DeviceID, what...); err != nil {
			return err
		}
	}
	return nil
}

func equalText(a, b *string) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
