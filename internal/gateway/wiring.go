package gateway

import (
	"net/netip"
	"reflect"

	"culvert/internal/vpn"
)

// wiring is what a Spec wants of our own namespace's interfaces, addresses and routes.
type wiring struct {
	external *vpn.Link
	internal []vpn.Link
	onLo     []netip.Prefix
}

func (r *router) wiring(spec vpn.Spec) *wiring {
	w := &wiring{external: spec.External, internal: spec.Internal, onLo: anchors(probed(spec), r.ownAddresses(spec))}
	if r.plane == Userland {
		w.onLo = anchors(spec, r.ownAddresses(spec))
	}
	return w
}

// isWired tells whether the last Set left the wiring that the Spec wants. Then the tunnels need not wait for another look
// at it.
func (r *router) isWired(spec vpn.Spec) bool {
	return r.wired != nil && spec.Namespace == "" && reflect.DeepEqual(r.wired, r.wiring(spec))
}

// setWiring makes the wiring true. Bridges that this router has no more use for are removed.
func (r *router) setWiring(ns *namespace, spec vpn.Spec) error {
	want := r.wiring(spec)
	r.noteOwn(spec, want.onLo)
	if spec.Namespace != "" {
		noted, err := r.readAnchors()
		if err != nil {
			return err
		}
		return r.setAnchors(ns, append(want.onLo, inUse(noted, spec, want.onLo)...))
	}
	idle, err := r.setLinks(ns, spec, want)
	if err != nil {
		r.wired = nil
		return err
	}
	r.wired = want
	return r.dropBridges(idle)
}

// setLinks answers the bridges that the router has no more use for.
func (r *router) setLinks(ns *namespace, spec vpn.Spec, want *wiring) (idle []string, err error) {
	r.g.links.Lock()
	defer r.g.links.Unlock()
	w := &wires{host: r.g.host, ns: ns, physical: r.g.cfg.Physical}
	if idle, err = r.noteBridges(spec); err != nil {
		return nil, err
	}
	interfaces := wantedInterfaces(spec)
	if err := w.set(interfaces); err != nil {
		return nil, err
	}
	var gateways []netip.Addr
	if spec.External != nil {
		gateways = spec.External.Gateways
	}
	return idle, w.setAddresses(interfaces, want.onLo, gateways)
}
