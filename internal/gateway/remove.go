package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"culvert/internal/vpn"
)

const stopGrace = 3 * time.Second // for charon to say DELETE and go

// remove takes everything of the router away. It needs op, and may be repeated.
func (r *router) remove(ctx context.Context) error {
	r.letGo()
	r.forgetNamespace()
	if r.charon == nil {
		r.charon = adoptCharon(r.dir)
	}
	if r.charon != nil {
		if err := r.charon.stop(ctx, r.dir, stopGrace); err != nil {
			return err
		}
		r.charon = nil
	}
	name, err := r.borrowed()
	if err == nil {
		err = r.vacate(name)
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(string(r.dir))
}

// vacate takes everything of ours out of a borrowed namespace, or with "" takes our own away; charon has ended.
func (r *router) vacate(borrowed string) error {
	if borrowed != "" {
		return r.giveBack(borrowed)
	}
	bridges, err := r.readBridges()
	if err != nil {
		return err
	}
	ns, err := openNamespace(NamespaceName(r.id))
	if err == nil {
		err = errors.Join(r.removeLinks(ns), deleteNamespace(ns.name))
		ns.Close()
	} else if errors.Is(err, os.ErrNotExist) {
		err = deleteNamespace(NamespaceName(r.id)) // perhaps a stale name
	}
	if err != nil {
		return err
	}
	return r.dropBridges(bridges)
}

// removeLinks deletes our links: they would go with the namespace, but later, and a next router may want the names.
func (r *router) removeLinks(ns *namespace) error {
	links, err := whole(ns.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		if isOurs(l.Attrs().Name) {
			if err := ns.nl.LinkDel(l); err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
				return fmt.Errorf("remove link %s: %w", l.Attrs().Name, err)
			}
		}
	}
	return nil
}

// noteBridges writes down which bridges of ours this router is about to use, before they are made, and answers those
// that it used until now.
func (r *router) noteBridges(spec vpn.Spec) (idle []string, err error) {
	before, err := r.readBridges()
	if err != nil {
		return nil, err
	}
	var want []string
	for _, i := range wantedInterfaces(spec) {
		if name := BridgeName(i.link.Network); i.link.Physical == "" && !slices.Contains(want, name) {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	for _, name := range before {
		if !slices.Contains(want, name) {
			idle = append(idle, name)
		}
	}
	all := slices.Concat(want, idle)
	slices.Sort(all)
	return idle, r.writeBridges(before, all)
}

// dropBridges removes bridges that have no port left and strikes them off the note.
func (r *router) dropBridges(names []string) error {
	if len(names) == 0 {
		return nil
	}
	r.g.links.Lock()
	defer r.g.links.Unlock()
	if err := removeBridges(r.g.host, names); err != nil {
		return err
	}
	before, err := r.readBridges()
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(before), func(name string) bool { return slices.Contains(names, name) })
	return r.writeBridges(before, left)
}

func (r *router) readBridges() ([]string, error) {
	text, err := os.ReadFile(r.dir.file("bridges.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	if err == nil {
		err = json.Unmarshal(text, &names)
	}
	if err != nil {
		return nil, fmt.Errorf("bridges of the router: %w", err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, bridgePrefix) }), nil
}

func (r *router) writeBridges(before, names []string) error {
	if slices.Equal(before, names) {
		return nil
	}
	text, err := json.Marshal(names)
	if err == nil {
		err = writeFile(r.dir.file("bridges.json"), text)
	}
	if err != nil {
		return fmt.Errorf("bridges of the router: %w", err)
	}
	return nil
}
