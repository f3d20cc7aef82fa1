package vpn

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// VPNService is api-contract section 5: it puts a router into the VPN's service.
type VPNService struct {
	resource.Head
	RouterID     string  `json:"router_id" api:"post required sort" rule:"uuid"`
	SubnetID     *string `json:"subnet_id" api:"post null" rule:"uuid" default:"null"`
	FlavorID     *string `json:"flavor_id" api:"post null" rule:"uuid" default:"null"`
	AdminStateUp bool    `json:"admin_state_up" api:"post put" rule:"bool" default:"true"`
	ExternalV4IP *string `json:"external_v4_ip" api:"post null" rule:"ip" default:"null"`
	ExternalV6IP *string `json:"external_v6_ip" api:"null" rule:"ip"`
	Status       string  `json:"status" api:"sort" enum:"ACTIVE DOWN ERROR PENDING_CREATE PENDING_UPDATE"`
	StatusReason *Reason `json:"status_reason" api:"null" rule:"string"`
}

func serviceKind() *resource.Kind {
	return &resource.Kind{Name: KindService, Plural: "vpnservices", Path: "vpn/vpnservices", Title: "VPN service",
		NotFound: "VPNServiceNotFound", InUse: "VPNServiceInUse"}
}

func (s *Service) serviceRules() crud.Rules[VPNService] {
	return crud.Rules[VPNService]{
		Prepare: s.prepareService,
		Create:  s.createService,
		Update: func(op *crud.Op, old, v *VPNService) error {
			if op.Intent = intended(op, old, v); op.Intent {
				v.Status, v.StatusReason = PendingUpdate, nil
			}
			return nil
		},
		Refs: func(v *VPNService) []string {
			refs := []string{v.RouterID}
			if v.SubnetID != nil {
				refs = append(refs, *v.SubnetID)
			}
			return s.refs(refs...)
		},
		Stored: func(op *crud.Op, old, v *VPNService) error {
			if v == nil {
				return s.touch(op, old.RouterID)
			}
			if !op.Intent {
				return nil
			}
			if old == nil {
				return s.touch(op, v.RouterID)
			}
			changes, err := resource.Diff(old, v)
			return errors.Join(err, s.noteUse(op, v.ID, updated(KindService, &v.Head, changes, "")), s.touch(op, v.RouterID))
		},
	}
}

func (s *Service) createService(op *crud.Op, v *VPNService) error {
	if v.FlavorID != nil {
		return resource.Errorf(404, "FlavorsPluginNotLoaded", "Flavors are not supported: flavor_id '%s' cannot be used", *v.FlavorID)
	}
	r, err := s.router(op, v.RouterID, v.ProjectID)
	if err != nil {
		return err
	}
	if v.SubnetID != nil && !slices.Contains(r.Subnets, *v.SubnetID) {
		return notConnected(*v.SubnetID, r.ID)
	}
	asked := v.ExternalV4IP
	setExternal(v, r)
	if asked != nil {
		if err := chooseExternal(op, v, r, *asked); err != nil {
			return err
		}
	}
	v.Status = PendingCreate
	if r.External == nil {
		v.Status, v.StatusReason = Down, noGateway(op.Now)
	}
	return nil
}

// router finds the router in the caller's scope.
func (s *Service) router(op *crud.Op, id, project string) (*Router, error) {
	r, err := s.Topology.Router(op, op.Tx, id)
	if errors.Is(err, resource.ErrNotFound) || err == nil && !op.Caller.MayRead(r.ProjectID) {
		return nil, resource.Errorf(404, "RouterNotFound", "Router %s could not be found", id)
	}
	if err == nil && r.ProjectID != project {
		return nil, resource.BadRequest("router %s belongs to the project '%s', not to '%s'", id, r.ProjectID, project)
	}
	return r, err
}

// setExternal takes the addresses of the router's gateway port, if it has one (api-contract D7).
func setExternal(v *VPNService, r *Router) {
	v.ExternalV4IP, v.ExternalV6IP = nil, nil
	for _, a := range addresses(r) {
		text := a.String()
		if a.Is4() && v.ExternalV4IP == nil {
			v.ExternalV4IP = &text
		}
		if a.Is6() && v.ExternalV6IP == nil {
			v.ExternalV6IP = &text
		}
	}
}

// chooseExternal lets an admin name one of the gateway's addresses (api-contract section 12).
func chooseExternal(op *crud.Op, v *VPNService, r *Router, asked string) error {
	if !op.Caller.Admin() {
		return resource.Errorf(403, "PolicyNotAuthorized", "create_vpnservice:external_v4_ip is disallowed by policy: it needs the role admin")
	}
	allowed := addresses4(r)
	if len(allowed) == 0 {
		return resource.Invalid("external_v4_ip", "the gateway of router %s has no IPv4 address, so none can be chosen", r.ID)
	}
	if !slices.Contains(allowed, asked) {
		return resource.Invalid("external_v4_ip", "'%s' is not an IPv4 address of the gateway of router %s; allowed are %s", asked, r.ID, strings.Join(allowed, ", "))
	}
	v.ExternalV4IP = &asked
	return nil
}

// addresses4 are the IPv4 addresses of the router's gateway port, as text.
func addresses4(r *Router) []string {
	out := []string{}
	for _, a := range addresses(r) {
		if a.Is4() {
			out = append(out, a.String())
		}
	}
	return out
}

// addresses are those of the router's gateway port.
func addresses(r *Router) []netip.Addr {
	if r.External == nil {
		return nil
	}
	out := []netip.Addr{}
	for _, p := range r.External.Addresses {
		out = append(out, p.Addr())
	}
	return out
}

func notConnected(subnet, router string) error {
	return resource.Errorf(400, "SubnetIsNotConnectedToRouter", "Subnet %s is not connected to router %s", subnet, router)
}
