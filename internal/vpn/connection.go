package vpn

import (
	"errors"
	"net/netip"
	"slices"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Connection is api-contract section 7.2, an IPsec site connection.
type Connection struct {
	resource.Head
	VPNServiceID   string   `json:"vpnservice_id" api:"post required sort" rule:"uuid"`
	IKEPolicyID    string   `json:"ikepolicy_id" api:"post put required" rule:"uuid"`
	IPsecPolicyID  string   `json:"ipsecpolicy_id" api:"post put required" rule:"uuid"`
	PeerAddress    string   `json:"peer_address" api:"post put required" rule:"text 0 250"`
	PeerID         string   `json:"peer_id" api:"post put required" rule:"peer_id"`
	LocalID        string   `json:"local_id" api:"post put" rule:"local_id" default:""`
	PSK            Secret   `json:"-" attr:"psk" api:"post put required secret" rule:"psk"`
	AuthMode       string   `json:"auth_mode" api:"const" enum:"psk" default:"psk"`
	RouteMode      string   `json:"route_mode" api:"const" enum:"static" default:"static"`
	Initiator      string   `json:"initiator" api:"post put" enum:"bi-directional response-only" default:"bi-directional"`
	MTU            int64    `json:"mtu" api:"post put" rule:"int" default:"1500"`
	DPD            DPD      `json:"dpd" api:"post put" default:"{}"`
	ProbeAddress   *string  `json:"probe_address" api:"post put null" rule:"ip" default:"null"`
	LocalEPGroupID *string  `json:"local_ep_group_id" api:"post put null" rule:"uuid" default:"null"`
	PeerEPGroupID  *string  `json:"peer_ep_group_id" api:"post put null" rule:"uuid" default:"null"`
	PeerCIDRs      []string `json:"peer_cidrs" api:"post put null" rule:"cidrs" default:"[]"`
	AdminStateUp   bool     `json:"admin_state_up" api:"post put" rule:"bool" default:"true"`
	Status         string   `json:"status" api:"sort" enum:"ACTIVE DOWN ERROR PENDING_CREATE PENDING_UPDATE"`
	StatusReason   *Reason  `json:"status_reason" api:"null" rule:"string"`
	Tags           Tags     `json:"tags" rule:"strings"`
}

// DPD is dead peer detection (api-contract section 8, "DPD facts").
type DPD struct {
	Action   string       `json:"action" api:"post put" enum:"hold clear restart disabled restart-by-peer" default:"hold"`
	Interval resource.Int `json:"interval" api:"post put" rule:"number 1 86400" default:"30"`
	Timeout  resource.Int `json:"timeout" api:"post put" rule:"number 1 86400" default:"120"`
}

func connectionKind() *resource.Kind {
	return &resource.Kind{Name: KindConnection, Plural: "ipsec_site_connections", Path: "vpn/ipsec-site-connections",
		Title: "IPsec site connection", NotFound: "IPsecSiteConnectionNotFound", InUse: "IPsecSiteConnectionInUse"}
}

func (s *Service) connectionRules() crud.Rules[Connection] {
	return crud.Rules[Connection]{
		Prepare: s.prepareConnection,
		Create: func(op *crud.Op, c *Connection) error {
			c.Status = PendingCreate
			return s.checkConnection(op, c)
		},
		Update: func(op *crud.Op, old, c *Connection) error {
			if op.Intent = intended(op, old, c); op.Intent {
				c.Status, c.StatusReason = PendingUpdate, nil
				if err := s.checkConnection(op, c); err != nil {
					return err
				}
			}
			return s.noteUpdate(op, old, c)
		},
		Refs: func(c *Connection) []string {
			refs := []string{c.VPNServiceID, c.IKEPolicyID, c.IPsecPolicyID}
			for _, g := range []*string{c.LocalEPGroupID, c.PeerEPGroupID} {
				if g != nil {
					refs = append(refs, *g)
				}
			}
			return refs
		},
		Stored: func(op *crud.Op, old, c *Connection) error {
			if c == nil {
				return s.touchService(op, old.VPNServiceID)
			}
			if old == nil {
				created := Event{Type: EventCreate, Summary: "created", Resource: &EventObject{KindConnection, c.ID, c.Name}, Status: &c.Status}
				if err := s.note(op, c.ID, created); err != nil {
					return err
				}
			}
			if !op.Intent {
				return nil
			}
			return s.touchService(op, c.VPNServiceID)
		},
	}
}

// checkConnection holds a new or changed connection against every rule that looks beyond one attribute, in upstream's order:
// existence, mode, groups and IP versions, DPD, MTU, peer address; then what upstream lacks.
func (s *Service) checkConnection(op *crud.Op, c *Connection) error {
	service, err := visible[VPNService](op, KindService, c.VPNServiceID, c.ProjectID)
	if err != nil {
		return err
	}
	if _, err := visible[IKEPolicy](op, KindIKEPolicy, c.IKEPolicyID, c.ProjectID); err != nil {
		return err
	}
	if _, err := visible[IPsecPolicy](op, KindIPsecPolicy, c.IPsecPolicyID, c.ProjectID); err != nil {
		return err
	}
	router, err := s.Topology.Router(op, op.Tx, service.RouterID)
	if s.gone(err) {
		return resource.Errorf(404, "RouterNotFound", "Router %s could not be found", service.RouterID)
	}
	if err != nil {
		return err
	}
	sel, err := s.selectors(op, c, service, router)
	if err != nil {
		return err
	}
	if err := checkDPD(c.DPD); err != nil {
		return err
	}
	if err := checkMTU(c.MTU, sel); err != nil {
		return err
	}
	if err := checkPeerAddress(c.PeerAddress, router); err != nil {
		return err
	}
	if peer, err := netip.ParseAddr(c.PeerAddress); err == nil && slices.ContainsFunc(sel.local, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		return invalidPeer(c.PeerAddress, "inside of a local network")
	}
	if err := checkProbe(c, sel); err != nil {
		return err
	}
	return s.checkAgainstOthers(op, c, service, router, sel)
}

func checkDPD(d DPD) error {
	if d.Action != "disabled" && d.Timeout.N <= d.Interval.N {
		return resource.Errorf(400, "IPsecSiteConnectionDpdIntervalValueError",
			"dpd timeout (%d) must be greater than dpd interval (%d)", d.Timeout.N, d.Interval.N)
	}
	return nil
}

// checkMTU bounds the MTU by the inner IP version (RFC 791, RFC 8200 section 5).
func checkMTU(mtu int64, sel selectors) error {
	min, version := int64(68), 4
	if sel.v6() {
		min, version = 1280, 6
	}
	if mtu < min || mtu > 9000 {
		return resource.Errorf(400, "IPsecSiteConnectionMtuError", "mtu %d is not valid for IPv%d; allowed are %d to 9000", mtu, version, min)
	}
	return nil
}

// reapply puts every connection that the query names into PENDING_UPDATE, because something that it refers to has changed.
func (s *Service) reapply(op *crud.Op, q resource.Query, why Event, check func(*Connection) error) error {
	conns, err := crud.LoadAll[Connection](op, op.Tx, q)
	if err != nil {
		return err
	}
	for _, c := range conns {
		if check != nil {
			if err := check(c); err != nil {
				return err
			}
		}
		if err := errors.Join(s.pend(op, c.ID), s.note(op, c.ID, why)); err != nil {
			return err
		}
		if err := s.touchService(op, c.VPNServiceID); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) pend(op *crud.Op, id string) error {
	c, row, err := crud.Load[Connection](op, op.Tx, KindConnection, id)
	if err != nil {
		return err
	}
	c.Status, c.StatusReason = PendingUpdate, nil
	return crud.Save(op, row, c, true)
}
