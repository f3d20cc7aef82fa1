package gateway

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"culvert/internal/vpn"
)

// wiring is what a Spec wants of our own namespace's interfaces, addresses and routes.
type wiring struct {
	external vpn.Link // zero: none
	internal []vpn.Link
	onLo     []netip.Prefix
}

func (r *router) wiring(spec vpn.Spec) *wiring {
	w := &wiring{internal: slices.Clone(spec.Internal), onLo: anchors(probed(spec), r.ownAddresses(spec))}
	if spec.External != nil {
		w.external = *spec.External
	}
	if r.plane == Userland {
		w.onLo = anchors(spec, r.ownAddresses(spec))
	}
	return w
}

// isWired tells whether the wiring was left as the Spec wants it. Then the tunnels need not wait for another look at it.
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

// rewireAfter is what the tunnels of a Set may take before its wiring is looked at again.
const rewireAfter = time.Second

// rewireSoon looks at the wiring again, for what others may have done to it, and goes on until it is right. It needs op.
func (r *router) rewireSoon() {
	if r.rewire {
		return
	}
	r.rewire = true
	r.g.running.Add(1)
	go func() {
		defer r.g.running.Done()
		for pause := rewireAfter; ; pause = min(2*pause, 30*time.Second) {
			select {
			case <-time.After(pause):
			case <-r.g.closed.Done():
				return
			}
			if r.rewireNow() {
				return
			}
		}
	}()
}

func (r *router) rewireNow() (done bool) {
	r.op.Lock()
	defer r.op.Unlock()
	r.mu.Lock()
	spec, over := r.spec, r.closing
	r.mu.Unlock()
	again := r.rewire
	r.rewire = false
	if over || !again || r.ns == nil || !r.ns.current() {
		return true
	}
	err := r.setWiring(r.ns, spec)
	if err == nil {
		return true
	}
	r.g.log.Error("look at the links again", "router", r.id, "err", err)
	if err = r.apply(r.g.closed, spec); err != nil {
		r.rewire = true
	}
	return err == nil
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
