package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/internal/vpn"
)

// How often a peer's name is looked up: again soon after that or the peer failed, and every minute otherwise.
const (
	lookUpAgain  = time.Minute
	retryLookUp  = 5 * time.Second // after the last one began, or after it failed
	lookUpLimit  = 5 * time.Second
	lookUpsAtOne = 8 // at once
)

// names resolves the peers that are given by name. It does so in the host's network namespace and beside everything else:
// charon would look up inside of initiate, from the router's namespace, and hold VICI for as long as that takes.
type names struct {
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	now    func() time.Time
	wake   chan struct{} // one slot: there may be new names

	mu    sync.Mutex
	known map[string]*resolution
}

// resolution is what a name came to last.
type resolution struct {
	addrs []netip.Addr // sorted; the last good answer
	err   error        // of the last look-up
	asked time.Time    // it began then
	next  time.Time    // look up again then
	busy  bool
}

func newNames(now func() time.Time) *names {
	lookup := func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	return &names{lookup: lookup, now: now, wake: make(chan struct{}, 1), known: map[string]*resolution{}}
}

// address answers the literal to use for a connection: its own peer_address where that is one; otherwise the address in use
// as long as the name still has it, keep is set or nothing better is known; else the first that the name has in the local
// address's family.
func (n *names) address(c vpn.ConnectionSpec, using netip.Addr, keep bool) (netip.Addr, *vpn.Reason) {
	if a, err := netip.ParseAddr(c.PeerAddress); err == nil {
		return a, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.known[c.PeerAddress]
	if r == nil {
		r = &resolution{}
		n.known[c.PeerAddress] = r
		n.poke()
	}
	if keep && using.IsValid() {
		return using, nil
	}
	fitting := slices.DeleteFunc(slices.Clone(r.addrs), func(a netip.Addr) bool { return a.Is4() != c.LocalAddress.Is4() })
	switch {
	case len(fitting) > 0 && !slices.Contains(fitting, using):
		return fitting[0], nil
	case using.IsValid():
		return using, nil
	case r.err == nil && r.addrs == nil:
		why := resolving(c.PeerAddress)
		return netip.Addr{}, &why
	}
	why := unresolvable(c.PeerAddress, r.err)
	return netip.Addr{}, &why
}

func (n *names) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// due answers the names to look up now, and marks them.
func (n *names) due() (out []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, r := range n.known {
		if !r.busy && !r.next.After(n.now()) && len(out) < lookUpsAtOne {
			r.busy, r.asked = true, n.now()
			out = append(out, name)
		}
	}
	return out
}

// resolve looks one name up.
func (n *names) resolve(ctx context.Context, name string) {
	limit, cancel := context.WithTimeout(ctx, lookUpLimit)
	defer cancel()
	addrs, err := n.lookup(limit, name)
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	// What may not stand in peer_address may not come out of a name either: whoever owns the name chooses its addresses.
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !a.IsGlobalUnicast() || a.Zone() != "" })
	slices.SortFunc(addrs, netip.Addr.Compare)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address that can be another site's", name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.known[name]
	if r == nil { // forgotten meanwhile
		return
	}
	r.busy, r.err, r.next = false, err, n.now().Add(lookUpAgain)
	if err != nil {
		r.next = n.now().Add(retryLookUp)
		return
	}
	r.addrs = addrs
}

// use takes in which names the routers use, and when a peer of that name failed last: it may have moved, so that its name is
// looked up again soon. Names that nobody uses any more are forgotten.
func (n *names) use(failed map[string]time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, r := range n.known {
		at, used := failed[name]
		if !used && !r.busy {
			delete(n.known, name)
		}
		if soon := r.asked.Add(retryLookUp); at.After(r.asked) && soon.Before(r.next) {
			r.next = soon
		}
	}
}

// followNames looks names up until the gateway closes, and lets the routers take over what changed.
func (g *Gateway) followNames() {
	defer g.running.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-g.closed.Done():
			return
		case <-tick.C:
		case <-g.names.wake:
		}
		g.names.use(g.namesInUse())
		for _, name := range g.names.due() {
			g.running.Add(1)
			go func() {
				defer g.running.Done()
				g.names.resolve(g.closed, name)
				g.names.poke()
			}()
		}
		for _, r := range g.all() {
			if r.addressesChanged() {
				g.running.Add(1)
				go r.takeAddresses()
			}
		}
	}
}

// namesInUse are the peers of all routers as they are given, by name or not, and when an attempt or a tunnel of one failed last.
func (g *Gateway) namesInUse() map[string]time.Time {
	used := map[string]time.Time{}
	for _, r := range g.all() {
		r.mu.Lock()
		for _, want := range r.spec.Connections {
			at := used[want.PeerAddress]
			if c := r.conns[want.ID]; c != nil && c.failedAt.After(at) {
				at = c.failedAt
			}
			used[want.PeerAddress] = at
		}
		r.mu.Unlock()
	}
	return used
}

func (g *Gateway) all() []*router {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*router, 0, len(g.routers))
	for _, r := range g.routers {
		out = append(out, r)
	}
	return out
}

// addressesChanged tells whether a connection's peer has got another address, or its first, than it is configured with.
func (r *router) addressesChanged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing || r.taking || !r.ready { // what failed is tried again by whoever set it, at a pace
		return false
	}
	for _, want := range r.spec.Connections {
		c := r.conns[want.ID]
		if _, err := netip.ParseAddr(want.PeerAddress); err == nil || c == nil || c.peer.Name != want.PeerAddress {
			continue // no name, or one that no Spec has been applied with yet
		}
		if !want.AdminStateUp || !want.LocalAddress.IsValid() {
			continue
		}
		if a, why := r.g.names.address(want, c.peer.Addr, c.state == vpn.StateUp); a != c.peer.Addr || why != nil && !c.says(why) {
			r.taking = true
			return true
		}
	}
	return false
}

// takeAddresses applies the last Spec again, with the addresses as they are now.
func (r *router) takeAddresses() {
	defer r.g.running.Done()
	r.op.Lock()
	defer r.op.Unlock()
	r.mu.Lock()
	spec, over := r.spec, r.closing
	r.taking = false
	r.mu.Unlock()
	if over || spec.Router == "" {
		return
	}
	if err := r.apply(r.g.closed, spec); err != nil && r.g.closed.Err() == nil {
		r.g.log.Error("take over a peer's new address", "router", r.id, "err", err)
	}
}

// says tells whether this is the reason that the connection is down for.
func (c *connection) says(why *vpn.Reason) bool {
	return c.reason != nil && c.reason.Code == why.Code && c.reason.Summary == why.Summary
}

func resolving(name string) vpn.Reason {
	return reason("peer_resolving", "path", "resolve", "the name of the peer is being looked up: "+name, "")
}

func unresolvable(name string, err error) vpn.Reason {
	why := "it has no address of the router's IP version"
	if err != nil {
		why = err.Error()
	}
	return reason("peer_unresolved", "path", "resolve", fmt.Sprintf("the name of the peer cannot be resolved: %s: %s", name, why),
		"set peer_address to a name that the gateway's host resolves, or to an IP address")
}
