package gateway

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// setConnections makes charon have the Spec's connections: those that went or may not be are unloaded, new and changed
// ones loaded. Others are not touched. fresh says that the session has seen nothing yet. Nothing is told to charon before
// all is prepared, whose answer it hands on.
func (r *router) setConnections(ctx context.Context, s *session, spec vpn.Spec, fresh bool, prepared preparation) (extra bool, err error) {
	todo := r.plan(spec, s.loaded, s.has)
	news := r.notePeers(s.loaded) || len(todo.gone)+len(todo.load) > 0
	if news {
		if err := s.loaded.doubt(todo); err != nil {
			return false, err
		}
	}
	if extra, err = prepared(); err != nil {
		return extra, err
	}
	if news {
		if err := errors.Join(r.change(ctx, s, todo), s.loaded.write()); err != nil {
			return extra, err
		}
	}
	for _, id := range todo.same {
		r.loadedOne(id, false, s.loaded.Parked)
	}
	r.recall(s.loaded)
	if fresh || todo.touched() {
		before := r.sighted()
		sas, err := s.sas(ctx, "")
		if err != nil {
			return extra, err
		}
		r.seeAll(s, sas, before)
	}
	r.poke()
	return extra, nil
}

// plan takes the Spec into the state and answers what charon is to be told. A connection that is not to be in charon is
// marked before it is unloaded, and one that charon does not know as it is to be, so that nobody initiates it in between.
func (r *router) plan(spec vpn.Spec, l *loaded, has available) changes {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.g.now()
	old := r.conns
	r.conns = make(map[string]*connection, len(spec.Connections))
	unresolved := map[string]*vpn.Reason{}
	list := slices.Clone(spec.Connections)
	for i, cs := range list {
		c := old[cs.ID]
		if c == nil {
			c = &connection{peer: l.Peers[cs.ID], adopted: r.spec.Router == ""}
		}
		r.conns[cs.ID] = c
		c.parked = c.parked && c.spec.DPD == cs.DPD
		c.spec, unresolved[cs.ID] = r.literal(c, cs)
		list[i] = c.spec
	}
	family := families(list, r.plane)
	var wanted []*connConfig
	for _, cs := range list {
		c := r.conns[cs.ID]
		cfg, state, why := r.decide(cs, spec, has, l.Salt, without(family[kinOf(cs)], cs.ID))
		if away := r.missingAddress(cs, spec.Namespace); cfg != nil && away != nil {
			cfg, state, why = nil, vpn.StateDown, *away
		}
		if cfg != nil && unresolved[cs.ID] != nil {
			cfg, state, why = nil, vpn.StateDown, *unresolved[cs.ID]
		}
		if cfg == nil {
			c.cfg, c.loaded, c.parked, c.established, c.try, c.renewal = nil, false, false, false, attempt{}, renewal{}
			c.down(state, why, now)
			continue
		}
		c.cfg = cfg
		c.settle()
		wanted = append(wanted, cfg)
	}
	todo := l.compare(wanted)
	for _, one := range todo.load {
		r.conns[one.cfg.id].untold = true
	}
	return todo
}

// literal replaces a peer's name by its address, so that charon never looks anything up. It needs mu.
func (r *router) literal(c *connection, cs vpn.ConnectionSpec) (vpn.ConnectionSpec, *vpn.Reason) {
	if c.peer.Name != cs.PeerAddress {
		c.peer = peerName{Name: cs.PeerAddress}
	}
	addr, unresolved := r.g.names.address(cs, c.peer.Addr, c.state == vpn.StateUp)
	if c.peer.Addr = addr; addr.IsValid() {
		cs.PeerAddress = addr.String()
	}
	return cs, unresolved
}

// notePeers notes what names were resolved to: after a restart a tunnel must not wait for a resolver. It answers whether
// the note has changed.
func (r *router) notePeers(l *loaded) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := map[string]peerName{}
	for id, c := range r.conns {
		if _, err := netip.ParseAddr(c.peer.Name); err != nil && c.peer.Addr.IsValid() {
			now[id] = c.peer
		}
	}
	if maps.Equal(now, l.Peers) {
		return false
	}
	l.Peers = now
	return true
}

// decide answers a connection's configuration, or why it has none.
func (r *router) decide(c vpn.ConnectionSpec, spec vpn.Spec, has available, key marker, siblings []vpn.ConnectionSpec) (*connConfig, string, vpn.Reason) {
	switch {
	case !c.AdminStateUp:
		return nil, vpn.StateDown, adminDown(c, spec.Services)
	case spec.External == nil:
		return nil, vpn.StateDown, noGateway()
	case !c.LocalAddress.IsValid():
		return nil, vpn.StateDown, noLocalAddress()
	}
	cfg, err := configure(c, r.plane, key, siblings...)
	if err == nil {
		err = has.lacks(c, r.plane)
	}
	if err != nil {
		why := gatewayFailed(err)
		if refused := (*configError)(nil); errors.As(err, &refused) {
			why = refused.reason
		}
		return nil, vpn.StateError, why
	}
	return cfg, "", vpn.Reason{}
}

func (r *router) change(ctx context.Context, s *session, todo changes) error {
	if err := s.unload(ctx, todo.gone...); err != nil {
		return err
	}
	if todo.touched() {
		if err := s.endIdle(ctx, todo.load); err != nil {
			return err
		}
	}
	for _, c := range todo.load {
		if err := r.loadOne(ctx, s, c); err != nil {
			return err
		}
	}
	return nil
}

// loadOne loads a new or changed connection. Its SAs follow when they are seen to be of another configuration: see
// connection.see.
func (r *router) loadOne(ctx context.Context, s *session, c loading) error {
	err := s.load(ctx, c)
	if refused := (*vici.CommandError)(nil); errors.As(err, &refused) {
		r.refused(c.cfg.id, refused)
		return s.unload(ctx, c.cfg.id)
	}
	if err != nil {
		return err
	}
	s.loaded.Conns[c.cfg.id] = c.want
	r.loadedOne(c.cfg.id, true, nil)
	r.poke()
	return nil
}

// families groups the connections that are to be in charon by what makes them siblings.
func families(list []vpn.ConnectionSpec, dataplane string) map[kin][]vpn.ConnectionSpec {
	out := map[kin][]vpn.ConnectionSpec{}
	for _, c := range list {
		if c.AdminStateUp && c.LocalAddress.IsValid() && configurable(c, dataplane) == nil {
			out[kinOf(c)] = append(out[kinOf(c)], c)
		}
	}
	return out
}

func without(list []vpn.ConnectionSpec, id string) []vpn.ConnectionSpec {
	if len(list) < 2 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(list), func(c vpn.ConnectionSpec) bool { return c.ID == id })
}

func (r *router) refused(id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil {
		c.cfg, c.loaded, c.try = nil, false, attempt{}
		c.down(vpn.StateError, reason("config_refused", "ours", "config", "charon refused the configuration: "+err.Error(), ""), r.g.now())
	}
}

// loadedOne takes in that charon has a connection as it is to be; parked are those that an earlier process noted.
func (r *router) loadedOne(id string, changed bool, parked map[string]parking) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.conns[id]
	if c == nil {
		return
	}
	first := !c.met
	c.met = true
	if died := c.reason != nil && c.reason.Code == charonDied().Code; (!c.loaded || changed) && c.state != vpn.StateUp && !died {
		c.waiting(r.g.now())
	}
	c.loaded, c.untold = true, false
	if changed {
		c.parked, c.demand, c.gaveUp, c.cause = false, nil, false, finding{}
		if c.state == vpn.StateUp {
			c.clearWarning("pfs_mismatch") // until the new configuration has been tried
		}
		c.try.reset()
	}
	if first {
		c.parkAgain(parked)
	}
	c.settle()
}
