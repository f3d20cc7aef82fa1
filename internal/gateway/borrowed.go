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

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// A borrowed namespace is a cloud's: its L3 agent makes it, with links, addresses, routes and settings, and removes it. Ours
// in it are charon with its SAs, the guard's table and, for userland ESP, addresses on lo; nothing else is touched. Its name
// is noted in the router's folder, so that Remove knows it after a restart.

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
	r.ns, r.wired = nil, nil
}

func (r *router) borrow(name string) (*namespace, error) {
	if !namespaceName.MatchString(name) || name == NamespaceName(r.id) {
		return nil, fmt.Errorf("%q cannot be another's network namespace", name)
	}
	before, err := r.borrowed()
	if err == nil && before != name {
		err = writeFile(r.dir.file("namespace"), []byte(name+"\n"))
	}
	if err != nil {
		return nil, fmt.Errorf("note the namespace: %w", err)
	}
	ns, err := openNamespace(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the cloud's L3 agent has not made it on this host: %w", err)
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
	if err := r.charon.stop(r.g.closed, r.dir, 0); err != nil {
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
	ns, err := openNamespace(name)
	if errors.Is(err, os.ErrNotExist) { // and everything in it
		return nil
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	return errors.Join(r.setAnchors(ns, nil), guard{ns}.remove())
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
