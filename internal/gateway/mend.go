package gateway

import (
	"os"

	"culvert/internal/vpn"
)

// Whoever flushes the nft ruleset of a namespace, as Debian's nftables.conf does when it is loaded, or its SPD, takes the guard
// away too, and tells nobody. So the gateway looks: whether anybody has written there costs one question, and only if so the
// rules are read.

// seal is by what it is seen that nobody has touched the guard since it was made true.
type seal struct {
	known      bool   // it was made true
	generation uint32 // of the namespace's nftables; 0: somebody wrote meanwhile
	policies   uint32 // in its SPD, charon's too; where the kernel does ESP
}

// need answers what is to be done about the router, nil: nothing. It needs op.
func (r *router) need(spec vpn.Spec, guardToo bool) (work func(vpn.Spec)) {
	next := r.linger.next()
	ns, err := r.enter(spec)
	if err == nil {
		defer r.leave(ns)
	}
	switch {
	case spec.Namespace != "" && r.glance(ns) != r.seen:
		return r.takeOver
	case !next.IsZero() && !r.g.now().Before(next):
		return r.release
	case guardToo && err == nil && r.touched(ns):
		return r.mend
	}
	return nil
}

// touched tells whether the guard may be another than it was made. One that could not be made is tried again by whoever set it.
func (r *router) touched(ns *namespace) bool {
	if !r.seal.known {
		return false
	}
	generation, err := ns.rules.ask(ns)
	if err != nil || generation != r.seal.generation {
		return true
	}
	if r.plane != Kernel {
		return false
	}
	policies, err := ns.policies.ask(ns)
	return err != nil || policies != r.seal.policies
}

// mend makes the guard true again. It needs op.
func (r *router) mend(spec vpn.Spec) {
	added, err := r.restore(spec)
	if err != nil {
		r.seal = seal{known: true} // so that the next look tries again
		if !r.unmended {
			r.g.log.Error("somebody else has changed the guard, which cannot be mended; trying again", "router", r.id, "err", err)
		}
	} else if added > 0 {
		r.g.log.Warn("somebody else took rules of the guard away; they stand again", "router", r.id, "rules", added)
	}
	r.unmended = err != nil
}

// restore answers how many rules were missing. Those that somebody else has put into the guard go too, unless the last Spec could
// not be applied: what that has no longer may still be needed.
func (r *router) restore(spec vpn.Spec) (added int, err error) {
	ns, err := r.enter(spec)
	if err != nil {
		return 0, err
	}
	defer r.leave(ns)
	r.mu.Lock()
	ready := r.ready
	r.mu.Unlock()
	out, err := r.setGuard(ns, spec, false)
	if err == nil && out.extra && ready {
		_, err = r.setGuard(ns, spec, true)
	}
	return out.added, err
}

// enter opens the namespace in which a Spec has been applied.
func (r *router) enter(spec vpn.Spec) (*namespace, error) {
	if spec.Namespace != "" {
		return r.g.openNamed(spec.Namespace)
	}
	if r.ns == nil {
		return nil, os.ErrNotExist
	}
	return r.ns, nil
}
