package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// setAddresses makes the addresses of every interface and of lo true, then the default routes.
func (w *wires) setAddresses(want []iface, onLo []netip.Prefix, gateways []netip.Addr) error {
	links, err := whole(w.ns.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	external := 0
	for _, i := range want {
		l := findLink(links, i.name)
		if l == nil {
			return fmt.Errorf("link %s is gone", i.name)
		}
		if err := w.setLinkAddresses(l, i.link.Addresses); err != nil {
			return err
		}
		if i.name[:3] == "qg-" {
			external = l.Attrs().Index
		}
	}
	if lo := findLink(links, "lo"); lo != nil {
		if err := w.setLinkAddresses(lo, onLo); err != nil {
			return err
		}
	}
	return w.setDefaultRoutes(external, gateways)
}

func (w *wires) setLinkAddresses(l netlink.Link, want []netip.Prefix) error {
	name := l.Attrs().Name
	have, err := w.addresses(l)
	if err != nil {
		return err
	}
	removed := false
	for _, a := range have {
		if !slices.Contains(want, a) {
			if err := w.ns.nl.AddrDel(l, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
				return fmt.Errorf("remove address %s from %s: %w", a, name, err)
			}
			removed = true
		}
	}
	if removed { // with a primary address the kernel takes its secondaries away too
		if have, err = w.addresses(l); err != nil {
			return err
		}
	}
	for _, a := range want {
		if slices.Contains(have, a) {
			continue
		}
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := w.ns.nl.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a, name, err)
		}
	}
	return nil
}

// addresses lists a link's addresses but those that the kernel gives by itself.
func (w *wires) addresses(l netlink.Link) ([]netip.Prefix, error) {
	list, err := whole(func() ([]netlink.Addr, error) { return w.ns.nl.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	var out []netip.Prefix
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		ip = ip.Unmap()
		if !ok || ip.IsLoopback() || (ip.Is6() && ip.IsLinkLocalUnicast()) {
			continue
		}
		out = append(out, netip.PrefixFrom(ip, ones))
	}
	return out, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// setDefaultRoutes makes the main table's default routes those over the external link.
func (w *wires) setDefaultRoutes(external int, gateways []netip.Addr) error {
	have, err := whole(func() ([]netlink.Route, error) {
		return w.ns.nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	standing := map[netip.Addr]bool{}
	for _, r := range have {
		if !isDefault(r) {
			continue
		}
		gw, _ := netip.AddrFromSlice(r.Gw)
		gw = gw.Unmap()
		if r.LinkIndex == external && slices.Contains(gateways, gw) {
			standing[gw] = true
		} else if err := w.ns.nl.RouteDel(&r); err != nil {
			return fmt.Errorf("remove default route via %s: %w", gw, err)
		}
	}
	for _, gw := range gateways {
		if external == 0 || standing[gw] {
			continue
		}
		dst := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
		if gw.Is6() {
			dst = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
		}
		route := &netlink.Route{LinkIndex: external, Dst: dst, Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
		if err := w.ns.nl.RouteReplace(route); err != nil {
			return fmt.Errorf("add default route via %s: %w", gw, err)
		}
	}
	return nil
}

func isDefault(r netlink.Route) bool {
	if r.Type != unix.RTN_UNICAST || r.Gw == nil {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// ownAddresses are those that the router has without our help: of its interfaces, which are there or will be, and in a
// namespace that the operator bound it to those that are there, whatever the API says. It needs op.
func (r *router) ownAddresses(spec vpn.Spec) (own []netip.Addr) {
	if isBound(r.g, r.id) {
		return slices.Clone(r.there)
	}
	for _, i := range wantedInterfaces(spec) {
		for _, a := range i.link.Addresses {
			own = append(own, a.Addr())
		}
	}
	return own
}

// anchors answers the addresses that lo must carry: userland ESP needs an address of the gateway inside each local
// selector (dataplane section 4), so where no interface has one, the selector's first host address stands in.
func anchors(spec vpn.Spec, own []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range spec.Connections {
		for _, p := range c.Local {
			if slices.ContainsFunc(own, p.Contains) {
				continue
			}
			first := p.Addr()
			if p.Bits() < first.BitLen()-1 {
				first = first.Next()
			}
			own = append(own, first)
			out = append(out, netip.PrefixFrom(first, first.BitLen()))
		}
	}
	return out
}
