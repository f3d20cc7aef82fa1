package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// A borrowed namespace is somebody else's, with links, addresses, routes and settings: a cloud's, whose L3 agent makes and
// removes it, or one that the operator has bound the router to, perhaps the host's own. Ours in it are charon with its SAs
// and routes, the guard's table and, for userland ESP, addresses on lo; nothing else is touched. Its name is noted in the
// router's folder, so that Remove knows it after a restart.

var namespaceName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$`)

// namespace opens the Spec's namespace. One of our own is made where it is missing.
func (r *router) namespace(spec vpn.Spec) (*namespace, error) {
	if spec.Namespace != "" {
		return r.borrow(spec.Namespace)
	}
	if r.ns != nil && r.ns.current() {
		return r.ns, nil
	}
	r.forgetNamespace()
	if before, err := r.borrowed(); err != nil || before != "" {
		if err == nil {
			err = errors.Join(r.moveOut(before), os.Remove(r.dir.file("namespace")))
		}
		if err != nil {
			return nil, fmt.Errorf("move to a namespace of our own: %w", err)
		}
	}
	ns, err := openNamespace(NamespaceName(r.id))
	if errors.Is(err, os.ErrNotExist) {
		r.settled = false
		ns, err = createNamespace(NamespaceName(r.id))
	}
	if err == nil {
		r.ns = ns
	}
	return ns, err
}

// leave ends the use of a namespace: one of our own stays open for the next Set, while one of the cloud's would live on,
// with all that is in it, after the cloud has removed it.
func (r *router) leave(ns *namespace) {
	if ns != r.ns {
		ns.Close()
	}
}

// forgetNamespace closes our own namespace. What was seen in it is not known of another.
func (r *router) forgetNamespace() {
	if r.ns != nil {
		r.ns.Close()
	}
	r.ns, r.wired, r.settled = nil, nil, false
}

func (r *router) borrow(name string) (*namespace, error) {
	if name != HostNetwork && !namespaceName.MatchString(name) || name == NamespaceName(r.id) {
		return nil, fmt.Errorf("%q cannot be another's network namespace", name)
	}
	if before, err := r.borrowed(); err != nil || before != name {
		if err == nil {
			err = r.moveOut(before)
		}
		if err == nil {
			err = writeFile(r.dir.file("namespace"), []byte(name+"\n"))
		}
		if err != nil {
			return nil, fmt.Errorf("move to another namespace: %w", err)
		}
	}
	ns, err := r.g.openNamed(name)
	if errors.Is(err, os.ErrNotExist) && isBound(r.g, r.id) {
		return nil, advised{fmt.Errorf("--bind-router: it is not there: %w", err), "make the network namespace that --bind-router of the gateway names for this router"}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, advised{fmt.Errorf("the cloud's L3 agent has not made it on this host: %w", err), "the cloud's L3 agent has not made this router on the gateway's host"}
	}
	return ns, err
}

// borrowed is the noted name, "" where the namespace is our own.
func (r *router) borrowed() (string, error) {
	text, err := os.ReadFile(r.dir.file("namespace"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// followNamespace ends a charon that lives in a namespace which has since been removed and made anew under the same name.
func (r *router) followNamespace(ns *namespace) error {
	if r.charon == nil {
		r.charon = adoptCharon(r.dir)
	}
	if r.charon == nil || !r.charon.alive(r.dir) || r.charon.isIn(ns) {
		return nil
	}
	r.g.log.Warn("the router's namespace was made anew; charon starts again in it", "router", r.id, "namespace", ns.name)
	return r.endCharon(0)
}

// endCharon ends a charon that is to be replaced by one elsewhere.
func (r *router) endCharon(grace time.Duration) error {
	if err := r.charon.stop(r.g.closed, r.dir, grace); err != nil {
		return err
	}
	r.charon = nil
	r.mu.Lock()
	s := r.session
	r.mu.Unlock()
	if s != nil {
		<-s.ended // it marks the connections
	}
	return nil
}

// moveOut takes the router out of the namespace that it has been in until now, "" for one of our own.
func (r *router) moveOut(before string) error {
	if r.charon == nil {
		r.charon = adoptCharon(r.dir)
	}
	if r.charon != nil && r.charon.alive(r.dir) {
		r.g.log.Warn("the router moves to another namespace; its tunnels begin anew", "router", r.id)
		if err := r.endCharon(stopGrace); err != nil {
			return err
		}
	}
	r.forgetNamespace()
	return r.vacate(before)
}

// arrive sees what is in the borrowed namespace now.
func (r *router) arrive(ns *namespace) error {
	if err := r.followNamespace(ns); err != nil {
		return err
	}
	noted, err := r.readAnchors()
	if err != nil {
		return err
	}
	v, err := viewOf(ns, noted)
	r.seen, r.there = v.sight, v.own
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forward4, r.forward6 = v.forwards4, v.forwards6
	return err
}

// isIn tells whether the process is in the namespace.
func (c *charon) isIn(ns *namespace) bool {
	var theirs, ours unix.Stat_t
	err := errors.Join(unix.Stat(fmt.Sprintf("/proc/%d/ns/net", c.pid), &theirs), unix.Fstat(int(ns.fd), &ours))
	return err == nil && theirs.Ino == ours.Ino && theirs.Dev == ours.Dev
}

// setAnchors makes our addresses on lo true: those wanted, without those that are there already and not ours.
func (r *router) setAnchors(ns *namespace, want []netip.Prefix) error {
	w := &wires{ns: ns}
	links, err := whole(ns.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	lo := findLink(links, "lo")
	if lo == nil {
		return fmt.Errorf("namespace %s has no lo", ns.name)
	}
	have, err := w.addresses(lo)
	if err != nil {
		return err
	}
	noted, err := r.readAnchors()
	if err != nil {
		return err
	}
	want = slices.DeleteFunc(slices.Clone(want), func(p netip.Prefix) bool { return slices.Contains(have, p) && !slices.Contains(noted, p) })
	others := slices.DeleteFunc(have, func(p netip.Prefix) bool { return slices.Contains(noted, p) })
	both := ordered(slices.Concat(want, noted))
	if err := r.writeAnchors(noted, both); err != nil { // before they are there
		return err
	}
	if err := w.setLinkAddresses(lo, append(others, want...)); err != nil {
		return err
	}
	return r.writeAnchors(both, ordered(want))
}

// inUse are those of our addresses that a selector still covers: with an address the kernel takes away the routes that have it
// as their source, so one that has become superfluous stays until its selector goes.
func inUse(noted []netip.Prefix, spec vpn.Spec, wanted []netip.Prefix) (out []netip.Prefix) {
	for _, p := range noted {
		covered := slices.ContainsFunc(spec.Connections, func(c vpn.ConnectionSpec) bool {
			return slices.ContainsFunc(c.Local, func(l netip.Prefix) bool { return l.Contains(p.Addr()) })
		})
		if covered && !slices.Contains(wanted, p) {
			out = append(out, p)
		}
	}
	return out
}

func ordered(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

func (r *router) readAnchors() (noted []netip.Prefix, err error) {
	text, err := os.ReadFile(r.dir.file("anchors.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &noted)
	}
	if err != nil {
		return nil, fmt.Errorf("addresses of ours: %w", err)
	}
	return noted, nil
}

func (r *router) writeAnchors(before, noted []netip.Prefix) error {
	if slices.Equal(before, noted) {
		return nil
	}
	text, err := json.Marshal(noted)
	if err == nil {
		err = writeFile(r.dir.file("anchors.json"), text)
	}
	if err != nil {
		return fmt.Errorf("addresses of ours: %w", err)
	}
	return nil
}

// giveBack takes what is ours out of a borrowed namespace, after charon has gone.
func (r *router) giveBack(name string) error {
	ns, err := r.g.openNamed(name)
	if errors.Is(err, os.ErrNotExist) { // and everything in it
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	_, _, err = spd{ns}.set(nil, true)
	return errors.Join(err, r.setAnchors(ns, nil), guard{ns}.remove())
}

// remove takes the guard's table away.
func (g guard) remove() error {
	nft, err := nftables.New(nftables.WithNetNSFd(int(g.ns.fd)), nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	defer nft.CloseLasting()
	nft.DelTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
	if err := nft.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove guard: %w", err)
	}
	return nil
}

// outerAddresses are those by which SAs in a network that is not our own are known to be the router's; nil where all are.
func outerAddresses(spec vpn.Spec) []netip.Addr {
	if spec.Namespace == "" {
		return nil
	}
	out := []netip.Addr{}
	for _, c := range spec.Connections {
		out = append(out, c.LocalAddress)
	}
	return out
}
