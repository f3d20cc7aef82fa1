package gateway

import (
	"net/netip"

	"culvert/internal/vpn"
)

// probeTargets answers what is to be probed: of the connections that are up those with a probe_address, each from the
// gateway's own address in one of its local networks.
func (r *router) probeTargets() map[string]probeTarget {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]probeTarget{}
	for id, c := range r.conns {
		if c.state != vpn.StateUp || !c.spec.ProbeAddress.IsValid() {
			continue
		}
		if from := ownIn(c.spec.Local, r.own); from.IsValid() {
			out[id] = probeTarget{from, c.spec.ProbeAddress}
		}
	}
	return out
}

// noteOwn notes the addresses of the router's interfaces, and those that stand in on lo (anchors).
func (r *router) noteOwn(spec vpn.Spec, onLo []netip.Prefix) {
	own := r.ownAddresses(spec)
	for _, a := range onLo {
		own = append(own, a.Addr())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = own
}

// ownIn is the first of the addresses that one of the networks contains, zero if none does.
func ownIn(networks []netip.Prefix, own []netip.Addr) netip.Addr {
	for _, p := range networks {
		for _, a := range own {
			if p.Contains(a) {
				return a
			}
		}
	}
	return netip.Addr{}
}

// probed is the Spec with those connections alone that are probed.
func probed(spec vpn.Spec) vpn.Spec {
	var out []vpn.ConnectionSpec
	for _, c := range spec.Connections {
		if c.ProbeAddress.IsValid() {
			out = append(out, c)
		}
	}
	spec.Connections = out
	return spec
}

// mtuOf is the connection's mtu as it is wanted now, 0 for one that is gone.
func (r *router) mtuOf(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil {
		return c.spec.MTU
	}
	return 0
}

// openNamespace opens the namespace that the router lives in.
func (r *router) openNamespace() (*namespace, error) {
	r.mu.Lock()
	name := r.spec.Namespace
	r.mu.Unlock()
	if name == "" {
		return openNamespace(NamespaceName(r.id))
	}
	return r.g.openNamed(name)
}

// probe makes the probers those of the targets. It is the follower's.
func (m *meter) probe(targets map[string]probeTarget) {
	for id, p := range m.probers {
		if targets[id] != p.target {
			p.stop()
			delete(m.probers, id)
			m.setProbe(id, nil)
		}
	}
	for id, target := range targets {
		if m.probers[id] == nil {
			if m.probers == nil {
				m.probers = map[string]*prober{}
			}
			m.mu.Lock()
			g := m.gauge(id, m.r.g.now())
			m.mu.Unlock()
			m.probers[id] = startProber(m.r.g.closed, m.r, id, target, m.pulse, &g.probes)
			m.setProbe(id, m.probers[id])
		}
	}
}

func (m *meter) setProbe(id string, p *prober) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p != nil {
		m.gauge(id, m.r.g.now()).probe = p
	} else if g := m.gauges[id]; g != nil {
		g.probe = nil
	}
}
