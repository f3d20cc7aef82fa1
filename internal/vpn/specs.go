package vpn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

func specID(router string) string { return "spec:" + router }

// touch notes that the router's Spec changes in this revision.
func (s *Service) touch(op *crud.Op, router string) error {
	doc, err := json.Marshal(map[string]string{"router": router})
	if err != nil {
		return err
	}
	row := resource.Row{ID: specID(router), Kind: KindSpec, CreatedAt: op.Now, Doc: doc}
	write := op.Tx.Update
	if _, err = op.Tx.Get(op, KindSpec, row.ID); errors.Is(err, resource.ErrNotFound) {
		write, err = op.Tx.Insert, nil
	}
	if err == nil {
		err = write(op, row)
	}
	if err != nil {
		return fmt.Errorf("note the change of router %s: %w", router, err)
	}
	return nil
}

func (s *Service) touchService(op *crud.Op, id string) error {
	v, _, err := crud.Load[VPNService](op, op.Tx, KindService, id)
	if err != nil {
		return err
	}
	return s.touch(op, v.RouterID)
}

// Specs are the Specs that changed after the revision, of all routers for 0, and the revision of what was read.
func (s *Service) Specs(ctx context.Context, after int64) (specs []Spec, rev int64, err error) {
	err = s.Resources.View(ctx, func(op *crud.Op) error {
		if rev, err = op.Tx.Rev(ctx); err != nil {
			return err
		}
		changed := map[string]int64{}
		err := op.Tx.Find(ctx, resource.Query{Kind: KindSpec, After: after}, func(row *resource.Row) error {
			changed[strings.TrimPrefix(row.ID, "spec:")] = row.Rev
			return nil
		})
		if err != nil {
			return err
		}
		for router, at := range changed {
			spec, err := s.spec(op, router, at)
			if err != nil {
				return fmt.Errorf("spec of router %s: %w", router, err)
			}
			specs = append(specs, spec)
		}
		return nil
	})
	slices.SortFunc(specs, func(a, b Spec) int { return strings.Compare(a.Router, b.Router) })
	return specs, rev, err
}

// spec assembles the complete wanted state of one router.
func (s *Service) spec(op *crud.Op, router string, rev int64) (Spec, error) {
	spec := Spec{Router: router, Rev: rev}
	services, err := crud.LoadAll[VPNService](op, op.Tx, by(KindService, "router_id", router))
	if err != nil {
		return spec, err
	}
	if len(services) == 0 {
		spec.Removed = true
		return spec, nil
	}
	r, err := s.Topology.Router(op, op.Tx, router)
	if s.gone(err) { // nothing is left to work on
		spec.Removed = true
		return spec, nil
	}
	if err != nil {
		return spec, err
	}
	spec.External, spec.Internal, spec.Namespace, spec.Mark = r.External, r.Internal, r.Namespace, r.Mark
	known := s.lookups(op)
	for _, v := range services {
		v.AdminStateUp = v.AdminStateUp && r.AdminStateUp
		spec.Services = append(spec.Services, ServiceSpec{ID: v.ID, AdminStateUp: v.AdminStateUp})
		if err := s.addConnections(known, &spec, v, r); err != nil {
			return spec, err
		}
	}
	slices.SortFunc(spec.Connections, func(a, b ConnectionSpec) int { return strings.Compare(a.ID, b.ID) })
	return spec, nil
}

func (s *Service) addConnections(known *lookups, spec *Spec, v *VPNService, r *Router) error {
	secrets := map[string]string{}
	conns := []*Connection{}
	err := known.op.Tx.Find(known.op, by(KindConnection, "vpnservice_id", v.ID), func(row *resource.Row) error {
		c := &Connection{}
		psk, err := s.Resources.Secret(s.connectionKind, row)
		if err != nil {
			return err
		}
		secrets[row.ID] = psk
		conns = append(conns, c)
		return json.Unmarshal(row.Doc, c)
	})
	if err != nil {
		return err
	}
	for _, c := range conns {
		c.PSK = Secret(secrets[c.ID])
		one, err := connectionSpec(known, c, v, r)
		if err != nil {
			return fmt.Errorf("connection %s: %w", c.ID, err)
		}
		spec.Connections = append(spec.Connections, one)
	}
	return nil
}

func connectionSpec(known *lookups, c *Connection, v *VPNService, r *Router) (out ConnectionSpec, err error) {
	ike, err := lookUp(known.op, known.ike, KindIKEPolicy, c.IKEPolicyID)
	if err != nil {
		return out, err
	}
	esp, err := lookUp(known.op, known.esp, KindIPsecPolicy, c.IPsecPolicyID)
	if err != nil {
		return out, err
	}
	sel, err := known.selectors(c, v)
	if err != nil {
		return out, err
	}
	out = ConnectionSpec{
		ID: c.ID, Service: v.ID, AdminStateUp: c.AdminStateUp && v.AdminStateUp,
		LocalAddress: outer(v, r, c.PeerAddress), PeerAddress: c.PeerAddress, LocalID: localID(c, v, r), PeerID: c.PeerID, PSK: c.PSK,
		Local: sel.local, Peer: sel.peer, Initiate: c.Initiator == "bi-directional", MTU: int(c.MTU),
		IKE: IKESpec{Policy: ike.ID, Version: ike.IKEVersion, Aggressive: ike.Phase1NegotiationMode == "aggressive", Encryption: ike.EncryptionAlgorithm,
			Auth: ike.AuthAlgorithm, Group: ike.PFS, Lifetime: ike.Lifetime.Value.N},
		ESP: ESPSpec{Policy: esp.ID, Protocol: esp.TransformProtocol, Encryption: esp.EncryptionAlgorithm, Auth: esp.AuthAlgorithm, PFS: esp.PFS,
			Lifetime: esp.Lifetime.Value.N},
		DPD: DPDSpec{Action: c.DPD.Action, Interval: c.DPD.Interval.N, Timeout: c.DPD.Timeout.N},
	}
	if c.ProbeAddress != nil {
		out.ProbeAddress, err = netip.ParseAddr(*c.ProbeAddress)
	}
	return out, err
}

// localID is what the router calls itself: the outer address unless the connection says otherwise, "" while it has neither.
func localID(c *Connection, v *VPNService, r *Router) string {
	if a := outer(v, r, c.PeerAddress); c.LocalID == "" && a.IsValid() {
		return a.String()
	}
	return c.LocalID
}

// outer is the router's address of the peer's family; for a peer given by name IPv4 goes first. It is the zero Addr where
// the router has none.
func outer(v *VPNService, r *Router, peer string) netip.Addr {
	parse := func(text *string) netip.Addr {
		if text == nil || r.External == nil {
			return netip.Addr{}
		}
		a, _ := netip.ParseAddr(*text)
		return a
	}
	v4, v6 := parse(v.ExternalV4IP), parse(v.ExternalV6IP)
	if p, err := netip.ParseAddr(peer); err == nil && p.Is6() || err != nil && !v4.IsValid() {
		return v6
	}
	return v4
}
