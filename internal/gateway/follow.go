package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// Whoever owns a borrowed namespace may take it away, make it anew, or move the router's addresses to another host, and
// tells nobody. So the gateway looks, and applies the last Spec again where something is otherwise: the guard must stand in
// a new namespace before it is wired, and charon must come back.

const (
	followEvery = 2 * time.Second
	// A namespace appears by name first; what makes it a namespace, and its links, follow. So a name that comes or goes makes
	// the gateway look more often for a while.
	followSoon = 50 * time.Millisecond
	followFor  = 3 * time.Second
)

const loopback = 1 // the index of lo, in every network namespace

// sight is what was seen of a borrowed namespace. Two that are equal need no work; the zero one is a namespace that is
// not there.
type sight struct {
	inode     uint64
	addresses string // but those of ours
	forwards4 bool
	forwards6 bool
}

// view is a sight with what it was made of.
type view struct {
	sight
	own []netip.Addr // addresses there, but ours
}

// viewOf looks at an open namespace. noted are our own addresses on lo.
func viewOf(ns *namespace, noted []netip.Prefix) (v view, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.fd), &st); err != nil {
		return v, fmt.Errorf("network namespace %s: %w", ns.name, err)
	}
	v.inode = st.Ino
	list, err := whole(func() ([]netlink.Addr, error) { return ns.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return v, fmt.Errorf("addresses in %s: %w", ns.name, err)
	}
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		ours := a.LinkIndex == loopback && slices.Contains(noted, netip.PrefixFrom(ip, ip.BitLen()))
		if !ok || ours || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		v.own = append(v.own, ip)
	}
	slices.SortFunc(v.own, netip.Addr.Compare)
	v.addresses = fmt.Sprint(v.own)
	err = ns.do(func() error {
		v.forwards4, v.forwards6 = isOne("ipv4/ip_forward"), isOne("ipv6/conf/all/forwarding")
		return nil
	})
	return v, err
}

func isOne(setting string) bool {
	text, err := os.ReadFile(filepath.Join("/proc/sys/net", setting))
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// glance is the sight of a borrowed namespace; nil is one that is not there. It needs op.
func (r *router) glance(ns *namespace) sight {
	if ns == nil {
		return sight{}
	}
	noted, err := r.readAnchors()
	if err != nil {
		return sight{}
	}
	v, err := viewOf(ns, noted)
	if err != nil {
		return sight{}
	}
	return v.sight
}

// follow looks at the routers and their guards until the gateway closes.
func (g *Gateway) follow() {
	defer g.running.Done()
	names := watchNames(g.closed)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	fast := time.NewTicker(followSoon)
	defer fast.Stop()
	fast.Stop()
	due := time.NewTimer(followEvery)
	defer due.Stop()
	var until time.Time
	for {
		guardToo := false
		select {
		case <-g.closed.Done():
			return
		case <-tick.C:
			guardToo = true
		case <-due.C:
		case <-fast.C:
			if time.Now().After(until) {
				fast.Stop()
			}
		case <-names:
			until = time.Now().Add(followFor)
			fast.Reset(followSoon)
		}
		if next := g.followAll(guardToo); !next.IsZero() {
			due.Reset(time.Until(next))
		}
	}
}

// followAll answers when a guard has something to let go; zero: none is known to.
func (g *Gateway) followAll(guardToo bool) (next time.Time) {
	for _, r := range g.all() {
		if t := g.followOne(r, guardToo); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// followOne applies the last Spec again if the router's namespace is not what it was, lets go what the guard has held long
// enough, and puts back what somebody else took from it.
func (g *Gateway) followOne(r *router, guardToo bool) (next time.Time) {
	if !r.op.TryLock() { // whoever is at work sees it as it is
		return time.Time{}
	}
	r.mu.Lock()
	spec, over := r.spec, r.closing
	r.mu.Unlock()
	var work func(vpn.Spec)
	if !over && spec.Router != "" {
		work, next = r.need(spec, guardToo), r.linger.next()
	}
	if work == nil {
		r.op.Unlock()
		return next
	}
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		defer r.op.Unlock()
		work(spec)
	}()
	return time.Time{}
}

// takeOver needs op.
func (r *router) takeOver(spec vpn.Spec) {
	r.g.log.Info("the router's namespace has changed", "router", r.id, "namespace", spec.Namespace)
	if err := r.apply(r.g.closed, spec); err != nil && r.g.closed.Err() == nil {
		r.g.log.Warn("take over a changed namespace", "router", r.id, "err", err)
	}
}

// watchNames tells of each name that comes or goes in netnsDir. Where it cannot, the looks every now and then remain.
func watchNames(ctx context.Context) <-chan struct{} {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		_ = f.Close()
		return nil
	}
	if _, err := unix.InotifyAddWatch(fd, netnsDir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_TO); err != nil {
		_ = f.Close()
		return nil
	}
	out := make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { _ = f.Close() }) // ends the read
	go func() {
		for buffer := make([]byte, 4096); ; {
			if _, err := f.Read(buffer); err != nil {
				return
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out
}

// warnForwarding tells of each tunnel that is up whether anybody but the router itself can use it. It needs mu.
func (r *router) warnForwarding() {
	if r.spec.Namespace == "" {
		return
	}
	for _, c := range r.conns {
		if c.state != vpn.StateUp || len(c.spec.Local) == 0 {
			continue
		}
		sysctl, on := "net.ipv4.ip_forward", r.forward4
		if c.spec.Local[0].Addr().Is6() {
			sysctl, on = "net.ipv6.conf.all.forwarding", r.forward6
		}
		if why := notForwarding(sysctl); on {
			c.clearWarning(why.Code)
		} else {
			c.warn(why, r.g.now())
		}
	}
}

// missingAddress says why a connection cannot stand in its borrowed namespace; nil: it can. It needs op.
func (r *router) missingAddress(c vpn.ConnectionSpec, namespace string) *vpn.Reason {
	if namespace == "" || slices.Contains(r.there, c.LocalAddress) {
		return nil
	}
	why := addressAway(c.LocalAddress, namespace, isBound(r.g, r.id))
	return &why
}
