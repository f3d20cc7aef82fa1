package topology

import (
	"fmt"
	"io"
	"reflect"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Owners of the ports that the system makes for routers.
const (
	ownerGateway   = "network:router_gateway"
	ownerInterface = "network:router_interface"
)

// Port is a Neutron port: a router's, made by the system, or a machine's. The status of a machine's port is DOWN: nothing
// here plugs machines, so nothing here sees them.
type Port struct {
	resource.Head
	Tagged
	NetworkID      string        `json:"network_id" api:"post required sort" rule:"uuid"`
	AdminStateUp   bool          `json:"admin_state_up" api:"post put" rule:"bool" default:"true"`
	Status         string        `json:"status" api:"sort" rule:"string 16"`
	MAC            string        `json:"mac_address" api:"post put null sort" rule:"mac"`
	FixedIPs       []FixedIP     `json:"fixed_ips" api:"post put null" rule:"fixedips"`
	DeviceID       string        `json:"device_id" api:"post put sort" rule:"string 255" default:""`
	Owner          string        `json:"device_owner" api:"post put sort" rule:"string 255" default:""`
	SecurityGroups []string      `json:"security_groups" api:"post put null" rule:"groups"`
	Pairs          []AddressPair `json:"allowed_address_pairs" api:"post put null" rule:"pairs"`
	PortSecurity   bool          `json:"port_security_enabled" api:"post put" rule:"bool"`
	VNIC           string        `json:"binding:vnic_type" api:"post put" enum:"normal direct direct-physical macvtap baremetal" default:"normal"`
}

// FixedIP is an address of a port. In a request either half may be empty.
type FixedIP struct {
	SubnetID  string `json:"subnet_id"`
	IPAddress string `json:"ip_address"`
}

// AddressPair is an address or prefix that a port may use besides its own.
type AddressPair struct {
	IPAddress string `json:"ip_address"`
	MAC       string `json:"mac_address,omitempty"`
}

func (p *Port) ofRouter() bool { return p.Owner == ownerGateway || p.Owner == ownerInterface }

func (p *Port) has(ip string) bool {
	return slices.ContainsFunc(p.FixedIPs, func(f FixedIP) bool { return f.IPAddress == ip })
}

func (p *Port) on(subnet string) bool {
	return slices.ContainsFunc(p.FixedIPs, func(f FixedIP) bool { return f.SubnetID == subnet })
}

func (p *Port) subnets() []string {
	ids := []string{}
	for _, f := range p.FixedIPs {
		if !slices.Contains(ids, f.SubnetID) {
			ids = append(ids, f.SubnetID)
		}
	}
	return ids
}

// refs are the rows that must outlive the port.
func (p *Port) refs() []string {
	ids := append(p.subnets(), p.NetworkID)
	if p.ofRouter() {
		ids = append(ids, p.DeviceID)
	}
	return ids
}

func (p *Port) uniq() string { return p.NetworkID + " " + p.MAC }

func (t *Topology) portRules() crud.Rules[Port] {
	return crud.Rules[Port]{
		Filter: t.filter(kindPort),
		Time:   now,
		Create: t.createPort,
		Update: t.updatePort,
		Delete: deletePort,
		Refs:   (*Port).refs,
		Uniq:   (*Port).uniq,
	}
}

func (t *Topology) createPort(op *crud.Op, p *Port) error {
	n, _, err := seen[Network](t, op, kindNetwork, p.NetworkID)
	if err != nil {
		return err
	}
	if !n.Shared && !op.Caller.MayWrite(n.ProjectID) {
		return resource.Errorf(403, "PolicyNotAuthorized", "create_port is disallowed by policy: network %s belongs to another project and is not shared", n.ID)
	}
	if p.Status = "DOWN"; p.ofRouter() {
		return ownerReserved(p.Owner)
	}
	if !op.Given("port_security_enabled") {
		p.PortSecurity = n.PortSecurity
	}
	s, err := addressSpace(op, op.Tx, n, "")
	if err != nil {
		return err
	}
	if err := t.setMAC(op, s, p, "create"); err != nil {
		return err
	}
	if op.Sent["fixed_ips"] == nil {
		p.FixedIPs, err = s.automatic(p.MAC)
		return err
	}
	return s.setNamed(op, p, "create_port:fixed_ips")
}

func ownerReserved(owner string) error {
	return resource.Invalid("device_owner", "'%s' is set by add_router_interface and external_gateway_info alone", owner)
}

// setMAC generates the address, or checks the one asked for.
func (t *Topology) setMAC(op *crud.Op, s *space, p *Port, verb string) error {
	if p.MAC == "" {
		mac, err := s.newMAC(t.rand)
		p.MAC = mac
		return err
	}
	if !op.Caller.MayWrite(s.net.ProjectID) {
		return resource.Errorf(403, "PolicyNotAuthorized", "%s_port:mac_address is disallowed by policy: network %s belongs to another project", verb, s.net.ID)
	}
	if s.macs[p.MAC] {
		return resource.Errorf(409, "MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", s.net.ID, p.MAC)
	}
	return nil
}

func (t *Topology) updatePort(op *crud.Op, old, p *Port) error {
	if p.MAC == "" {
		return resource.Invalid("mac_address", "null is not allowed on update")
	}
	if old.ofRouter() {
		return old.checkRouterPort(p)
	}
	if p.ofRouter() {
		return ownerReserved(p.Owner)
	}
	if old.MAC == p.MAC && !op.Given("fixed_ips") {
		return nil
	}
	n, _, err := load[Network](op, op.Tx, kindNetwork, p.NetworkID)
	if err != nil {
		return err
	}
	s, err := addressSpace(op, op.Tx, n, p.ID)
	if err != nil {
		return err
	}
	if old.MAC != p.MAC {
		if err := t.setMAC(op, s, p, "update"); err != nil {
			return err
		}
	}
	if !op.Given("fixed_ips") {
		return nil
	}
	s.kept = old.FixedIPs
	return s.setNamed(op, p, "update_port:fixed_ips")
}

// checkRouterPort refuses what only the router's own actions may change.
func (p *Port) checkRouterPort(new *Port) error {
	same := p.DeviceID == new.DeviceID && p.Owner == new.Owner && p.MAC == new.MAC &&
		p.AdminStateUp == new.AdminStateUp && reflect.DeepEqual(p.FixedIPs, new.FixedIPs)
	if same {
		return nil
	}
	return resource.Errorf(409, "ServicePortInUse",
		"Port %s cannot be changed directly via the port API: has device owner %s; change router %s instead.", p.ID, p.Owner, p.DeviceID)
}

func deletePort(_ *crud.Op, p *Port) error {
	if !p.ofRouter() {
		return nil
	}
	return resource.Errorf(409, "ServicePortInUse",
		"Port %s cannot be deleted directly via the port API: has device owner %s of router %s.", p.ID, p.Owner, p.DeviceID)
}

// routerPort is a new port of a router, without addresses.
func (t *Topology) routerPort(op *crud.Op, s *space, owner, router, project string) (*Port, error) {
	mac, err := s.newMAC(t.rand)
	if err != nil {
		return nil, err
	}
	p := &Port{NetworkID: s.net.ID, AdminStateUp: true, Status: "ACTIVE", MAC: mac, DeviceID: router, Owner: owner,
		FixedIPs: []FixedIP{}, SecurityGroups: []string{}, Pairs: []AddressPair{}, VNIC: "normal"}
	p.Tags = []string{}
	p.ID, p.ProjectID, p.TenantID = op.Svc.NewID(), project, project
	p.CreatedAt, p.UpdatedAt, p.RevisionNumber = now(op), now(op), op.Tx.Next()
	return p, nil
}

func insertPort(op *crud.Op, p *Port) error {
	doc, err := resource.Encode(p)
	if err != nil {
		return fmt.Errorf("encode port: %w", err)
	}
	err = op.Tx.Insert(op, resource.Row{Kind: kindPort, ID: p.ID, ProjectID: p.ProjectID, CreatedAt: p.CreatedAt,
		Intent: op.Tx.Next(), Uniq: p.uniq(), Doc: doc, Refs: p.refs()})
	if err != nil {
		return fmt.Errorf("insert port: %w", err)
	}
	return nil
}

// savePort writes a port that the router's rules changed.
func savePort(op *crud.Op, p *Port) error {
	row, err := op.Tx.Get(op, kindPort, p.ID)
	if err != nil {
		return fmt.Errorf("port %s: %w", p.ID, err)
	}
	p.UpdatedAt, p.RevisionNumber = now(op), op.Tx.Next()
	if row.Doc, err = resource.Encode(p); err != nil {
		return fmt.Errorf("encode port %s: %w", p.ID, err)
	}
	row.Refs, row.Uniq, row.Intent = p.refs(), p.uniq(), op.Tx.Next()
	if err := op.Tx.Update(op, row); err != nil {
		return fmt.Errorf("update port %s: %w", p.ID, err)
	}
	return nil
}

// newMAC is a random address below Neutron's prefix that is free on the network.
func (s *space) newMAC(r io.Reader) (string, error) {
	for range 100 {
		var b [3]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", fmt.Errorf("random MAC address: %w", err)
		}
		mac := fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
		if !s.macs[mac] {
			return mac, nil
		}
	}
	return "", resource.Errorf(503, "MacAddressGenerationFailure", "Unable to generate unique mac on network %s.", s.net.ID)
}
