package gateway

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// short cuts an id to what fits behind a three-letter prefix in a link's name (15 bytes), as Neutron does.
func short(id string) string { return id[:min(11, len(id))] }

// BridgeName answers the host bridge of a network that is mapped to no physical one.
func BridgeName(network string) string { return bridgePrefix + short(network) }

const bridgePrefix = "cb-"

func hostEnd(port string) string { return "ch-" + short(port) }

func isOurs(name string) bool {
	return strings.HasPrefix(name, "qg-") || strings.HasPrefix(name, "qr-")
}

// iface is one wanted interface of a router.
type iface struct {
	name string // in the namespace
	link vpn.Link
}

func wantedInterfaces(spec vpn.Spec) []iface {
	var out []iface
	if spec.External != nil {
		out = append(out, iface{"qg-" + short(spec.External.Port), *spec.External})
	}
	for _, l := range spec.Internal {
		out = append(out, iface{"qr-" + short(l.Port), l})
	}
	return out
}

// wires reconciles the links of one router between the host and its namespace.
type wires struct {
	host     *netlink.Handle
	ns       *namespace
	physical map[string]string
}

// set makes the wanted interfaces true: extra ones go, changed ones are mended or replaced, right ones are not touched.
func (w *wires) set(want []iface) error {
	have, err := whole(w.ns.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range have {
		name := l.Attrs().Name
		if isOurs(name) && !slices.ContainsFunc(want, func(i iface) bool { return i.name == name }) {
			if err := w.ns.nl.LinkDel(l); err != nil {
				return fmt.Errorf("remove link %s: %w", name, err)
			}
		}
	}
	if err := w.up("lo", have); err != nil {
		return err
	}
	for _, i := range want {
		if err := w.setOne(i, have); err != nil {
			return fmt.Errorf("link %s: %w", i.name, err)
		}
	}
	return nil
}

func (w *wires) up(name string, have []netlink.Link) error {
	l := findLink(have, name)
	if l == nil || l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := w.ns.nl.LinkSetUp(l); err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	return nil
}

func (w *wires) setOne(i iface, have []netlink.Link) error {
	lower, isBridge, err := w.lower(i.link)
	if err != nil {
		return err
	}
	l := findLink(have, i.name)
	if l != nil && !w.fits(l, i, lower, isBridge) {
		if err := w.ns.nl.LinkDel(l); err != nil {
			return fmt.Errorf("replace: %w", err)
		}
		l = nil
	}
	if l == nil {
		if l, err = w.add(i, lower, isBridge); err != nil {
			return err
		}
	}
	return w.mend(l, i, lower, isBridge)
}

// lower answers the host link below a router's interface: the bridge of an unmapped network, made when it is first
// needed, or what the operator mapped the physical network to.
func (w *wires) lower(l vpn.Link) (netlink.Link, bool, error) {
	if l.Physical == "" {
		b, err := w.bridge(BridgeName(l.Network))
		return b, true, err
	}
	name, ok := w.physical[l.Physical]
	if !ok {
		return nil, false, unreachable(l.Physical, fmt.Errorf("physical network %q is mapped to no interface of this gateway", l.Physical))
	}
	lower, err := w.host.LinkByName(name)
	if err != nil {
		return nil, false, unreachable(l.Physical, fmt.Errorf("interface %s of physical network %q: %w", name, l.Physical, err))
	}
	return lower, lower.Type() == "bridge", nil
}

// unreachable says that the gateway has no way to a physical network.
func unreachable(physical string, err error) error {
	return advised{err, "check --physical-network " + physical + "=… of the gateway"}
}

// advised is an error with what to do about it, in words that a tenant may read.
type advised struct {
	error
	hint string
}

func (a advised) Unwrap() error { return a.error }

// Hint is for the reason of a status.
func (a advised) Hint() string { return a.hint }

// fits tells whether an existing interface is of the wanted kind and hangs on the right link; what else differs can be
// mended in place.
func (w *wires) fits(l netlink.Link, i iface, lower netlink.Link, isBridge bool) bool {
	if !isBridge {
		return l.Type() == "macvlan" && l.Attrs().ParentIndex == lower.Attrs().Index
	}
	if l.Type() != "veth" {
		return false
	}
	_, err := w.host.LinkByName(hostEnd(i.link.Port))
	return err == nil
}

func (w *wires) add(i iface, lower netlink.Link, isBridge bool) (netlink.Link, error) {
	mac, err := net.ParseMAC(i.link.MAC)
	if err != nil {
		return nil, err
	}
	if isBridge {
		err = w.addVeth(i, mac)
	} else {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr, attrs.MTU = i.name, mac, i.link.MTU
		attrs.ParentIndex, attrs.Namespace = lower.Attrs().Index, netlink.NsFd(int(w.ns.fd))
		err = w.host.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
	}
	if err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	return w.ns.nl.LinkByName(i.name)
}

func (w *wires) addVeth(i iface, mac net.HardwareAddr) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = hostEnd(i.link.Port), i.link.MTU
	if old, err := w.host.LinkByName(attrs.Name); err == nil { // its inner end went to a namespace that is no more ours
		if err := w.host.LinkDel(old); err != nil {
			return err
		}
	}
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = i.name, mac, uint32(i.link.MTU)
	veth.PeerNamespace = netlink.NsFd(int(w.ns.fd))
	if err := w.host.LinkAdd(veth); err != nil {
		return err
	}
	return writeSettings([]setting{{"ipv6/conf/" + attrs.Name + "/disable_ipv6", "1"}})
}

// mend makes MTU, MAC, the bridge and "up" true.
func (w *wires) mend(l netlink.Link, i iface, lower netlink.Link, isBridge bool) error {
	if isBridge {
		if err := w.mendHostEnd(i, lower); err != nil {
			return fmt.Errorf("host end: %w", err)
		}
	}
	a := l.Attrs()
	if i.link.MTU != 0 && a.MTU != i.link.MTU {
		if err := w.ns.nl.LinkSetMTU(l, i.link.MTU); err != nil {
			return fmt.Errorf("mtu %d: %w", i.link.MTU, err)
		}
	}
	if mac, err := net.ParseMAC(i.link.MAC); err != nil {
		return err
	} else if a.HardwareAddr.String() != mac.String() {
		if err := w.ns.nl.LinkSetHardwareAddr(l, mac); err != nil {
			return fmt.Errorf("mac %s: %w", mac, err)
		}
	}
	if a.Flags&net.FlagUp == 0 {
		return w.ns.nl.LinkSetUp(l)
	}
	return nil
}

func (w *wires) mendHostEnd(i iface, bridge netlink.Link) error {
	l, err := w.host.LinkByName(hostEnd(i.link.Port))
	if err != nil {
		return err
	}
	a := l.Attrs()
	if i.link.MTU != 0 && a.MTU != i.link.MTU {
		if err := w.host.LinkSetMTU(l, i.link.MTU); err != nil {
			return err
		}
	}
	if a.MasterIndex != bridge.Attrs().Index {
		if err := w.host.LinkSetMasterByIndex(l, bridge.Attrs().Index); err != nil {
			return err
		}
	}
	if a.Flags&net.FlagUp == 0 {
		return w.host.LinkSetUp(l)
	}
	return nil
}

// aloof are the settings that keep the host itself out of a network whose bridge it carries: it would otherwise answer
// ARP on it for its own addresses, and take packets sent to them.
func aloof(bridge string) []setting {
	return []setting{
		{"ipv4/conf/" + bridge + "/arp_ignore", "8"},
		{"ipv4/conf/" + bridge + "/rp_filter", "1"}, // no route leads there, so nothing passes
		{"ipv6/conf/" + bridge + "/disable_ipv6", "1"},
	}
}

// bridge finds or makes a bridge of ours.
func (w *wires) bridge(name string) (netlink.Link, error) {
	l, err := w.host.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		snooping := false // no querier here: snooping would lose IPv6 neighbour discovery
		if err := w.host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("add bridge %s: %w", name, err)
		}
		l, err = w.host.LinkByName(name)
	}
	if err == nil {
		err = writeSettings(aloof(name))
	}
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", name, err)
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		return l, w.host.LinkSetUp(l)
	}
	return l, nil
}

// removeBridges takes away those bridges of ours that have no port any more.
func removeBridges(host *netlink.Handle, names []string) error {
	links, err := whole(host.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, name := range names {
		b := findLink(links, name)
		if b == nil || slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Attrs().MasterIndex == b.Attrs().Index }) {
			continue
		}
		if err := host.LinkDel(b); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove bridge %s: %w", name, err)
		}
	}
	return nil
}

func findLink(links []netlink.Link, name string) netlink.Link {
	for _, l := range links {
		if l.Attrs().Name == name {
			return l
		}
	}
	return nil
}
