package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// A connection's mtu is the largest packet that goes into its tunnel. TCP learns it from its handshake, where the guard
// lowers the MSS; everything else learns it from the route that charon makes for the peer's networks: a larger packet that
// may not be fragmented is answered with ICMP "fragmentation needed" or "packet too big", which name the mtu.

const (
	charonTable = 220  // where charon has its routes
	tunMTU      = 1400 // of kernel-libipsec's device; no larger packet goes into a tunnel in userland
)

// effectiveMTU is the connection's mtu, or what the data plane allows where that is less.
func effectiveMTU(c vpn.ConnectionSpec, dataplane string) int {
	if dataplane == Userland {
		return min(c.MTU, tunMTU)
	}
	return c.MTU
}

// sizeAfter lets a tunnel come up, and its report go out, before its routes are looked at.
const sizeAfter = 30 * time.Millisecond

// sizeRoutes gives the routes to peers' networks the mtu of their connections, where anything may have changed. It answers
// when to look again.
func (s *session) sizeRoutes() time.Time {
	r := s.r
	r.mu.Lock()
	due, conns := r.unsized, r.spec.Connections
	if due.IsZero() || time.Now().Before(due) {
		r.mu.Unlock()
		return due
	}
	r.unsized = time.Time{}
	r.mu.Unlock()
	ns, err := r.openNamespace()
	if err == nil {
		err = sizeRoutes(ns, conns)
		ns.Close()
	}
	if err != nil {
		r.g.log.Warn("set the mtu of routes", "router", r.id, "err", err)
	}
	return time.Time{}
}

// unsize has the routes looked at.
func (r *router) unsize(after time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsizeHeld(after)
}

// unsizeHeld needs mu.
func (r *router) unsizeHeld(after time.Duration) {
	if due := time.Now().Add(after); r.unsized.IsZero() || due.Before(r.unsized) {
		r.unsized = due
	}
}

// sizeRoutes writes only what differs. A mtu that is no less than the device's needs no word on the route.
func sizeRoutes(ns *namespace, conns []vpn.ConnectionSpec) error {
	routes, err := whole(func() ([]netlink.Route, error) {
		return ns.nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: charonTable}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list charon's routes: %w", err)
	}
	var errs []error
	for _, route := range routes {
		want, known := routeMTU(route, conns)
		if !known || route.Type != unix.RTN_UNICAST {
			continue
		}
		link, err := ns.nl.LinkByIndex(route.LinkIndex)
		if err != nil {
			continue // it went, and its routes with it
		}
		if want >= link.Attrs().MTU {
			want = 0
		}
		if route.MTU == want {
			continue
		}
		route.MTU, route.MTULock = want, want > 0
		if err := ns.nl.RouteReplace(&route); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("route to %s: %w", route.Dst, err))
		}
	}
	return errors.Join(errs...)
}

// routeMTU answers the least mtu of the connections that a route may carry; charon makes two halves of a default route.
func routeMTU(route netlink.Route, conns []vpn.ConnectionSpec) (mtu int, known bool) {
	if route.Dst == nil {
		return 0, false
	}
	addr, ok := netip.AddrFromSlice(route.Dst.IP)
	bits, _ := route.Dst.Mask.Size()
	for _, c := range conns {
		for _, peer := range c.Peer {
			if ok && peer.Bits() <= bits && peer.Contains(addr.Unmap()) && (!known || c.MTU < mtu) {
				mtu, known = c.MTU, true
			}
		}
	}
	return mtu, known
}
