package topology_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"culvert/internal/crud"
	"culvert/internal/keyring"
	"culvert/internal/resource"
	"culvert/internal/store"
	"culvert/internal/topology"
)

// TestInvariants runs random changes, legal or not, and looks at every row after each.
func TestInvariants(t *testing.T) {
	t.Parallel()
	done := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		st, err := store.Open(t.Context(), store.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			rt.Fatal(err)
		}
		defer st.Close()
		keys, err := keyring.Open(filepath.Join(dir, "keyring"))
		if err != nil {
			rt.Fatal(err)
		}
		m := &machine{env: onStore(rt, st, keys), byKind: map[string][]string{}}
		m.seed(t)
		for range rapid.IntRange(10, 40).Draw(rt, "steps") {
			line := m.draw(rt)
			_, err := m.do(t.Context(), line)
			var user *resource.Error
			if err != nil && !errors.As(err, &user) {
				rt.Fatalf("%s: %v", line, err)
			}
			if err == nil {
				done[m.verb]++
			}
			m.forget(err == nil)
			if err := m.look(t.Context()); err != nil {
				rt.Fatalf("after %s: %v", line, m.plain(err.Error()))
			}
		}
	})
	for _, verb := range []string{"create", "update", "delete", "attach", "detach"} {
		if done[verb] == 0 && !t.Failed() {
			t.Errorf("no %s ever succeeded: the test looks at nothing", verb)
		}
	}
}

type machine struct {
	*env
	byKind   map[string][]string // names of what exists
	attached [][2]string         // routers and subnets, perhaps no more
	n        int
	verb     string    // of the last line
	made     [2]string // kind and name that the last line would make
	gone     [2]string // … and take away
}

// seed gives the first lines something to be about.
func (m *machine) seed(t *testing.T) {
	m.run(t, "admin create network ext {\"router:external\":true}", `admin create subnet out {"network_id":"$ext","cidr":"203.0.113.0/29","ip_version":4}`,
		"admin create network net {}", `admin create subnet in {"network_id":"$net","cidr":"10.0.0.0/29","ip_version":4}`, "admin create router r {}")
	m.byKind = map[string][]string{"network": {"ext", "net"}, "subnet": {"out", "in"}, "router": {"r"}}
}

// forget keeps byKind to what exists.
func (m *machine) forget(ok bool) {
	if m.made[0] != "" && !ok {
		l := m.byKind[m.made[0]]
		m.byKind[m.made[0]] = l[:len(l)-1]
	}
	if m.gone[0] != "" && ok {
		m.byKind[m.gone[0]] = slices.DeleteFunc(m.byKind[m.gone[0]], func(n string) bool { return n == m.gone[1] })
	}
	m.made, m.gone = [2]string{}, [2]string{}
}

// draw makes one line about things that exist, or existed.
func (m *machine) draw(t *rapid.T) string {
	pick := func(kind string) string {
		if len(m.byKind[kind]) == 0 {
			return "none"
		}
		return rapid.SampledFrom(m.byKind[kind]).Draw(t, kind)
	}
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	fresh := func(kind string) string {
		m.n++
		name := fmt.Sprintf("%s%d", kind, m.n)
		if kind != "if" {
			m.byKind[kind], m.made = append(m.byKind[kind], name), [2]string{kind, name}
		}
		return name
	}
	ref := func(kind string) string { return `"$` + pick(kind) + `"` }
	ip := func() string {
		return one("ip", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.7", "10.1.0.1", "10.1.0.2", "2001:db8::2")
	}
	cidr := func() string {
		return one("cidr", `"cidr":"10.0.0.0/29","ip_version":4`, `"cidr":"10.0.0.0/30","ip_version":4`, `"cidr":"10.1.0.0/30","ip_version":4`,
			`"cidr":"10.2.0.0/29","ip_version":4`, `"cidr":"2001:db8::/126","ip_version":6`, `"cidr":"2001:db8:1::/64","ip_version":6`)
	}
	lines := []func() string{
		func() string {
			return "create network " + fresh("network") + " {" + one("sort", `"router:external":true`, `"shared":true`, ``) + "}"
		},
		func() string {
			n := ref("network")
			return "create subnet " + fresh("subnet") + ` {"network_id":` + n + `,` + cidr() + "}"
		},
		func() string {
			n := ref("network")
			return "create subnet " + fresh("subnet") + ` {"network_id":` + n + `,` + cidr() + "}"
		},
		func() string { return "create router " + fresh("router") + " {}" },
		func() string {
			n := ref("network")
			return "create router " + fresh("router") + ` {"external_gateway_info":{"network_id":` + n + `}}`
		},
		func() string {
			n := ref("network")
			return "create port " + fresh("port") + ` {"network_id":` + n + "}"
		},
		func() string {
			n := ref("network")
			return "create port " + fresh("port") + ` {"network_id":` + n + `,"fixed_ips":[{"ip_address":"` + ip() + `"}]}`
		},
		func() string {
			return "update port " + pick("port") + ` {"fixed_ips":[{"subnet_id":` + ref("subnet") + `},{"ip_address":"` + ip() + `"}]}`
		},
		func() string {
			r, sub := pick("router"), pick("subnet")
			m.attached = append(m.attached, [2]string{r, sub})
			return "attach " + fresh("if") + " " + r + ` {"subnet_id":"$` + sub + `"}`
		},
		func() string {
			r, sub := pick("router"), pick("subnet")
			m.attached = append(m.attached, [2]string{r, sub})
			return "attach " + fresh("if") + " " + r + ` {"subnet_id":"$` + sub + `"}`
		},
		func() string {
			return "attach " + fresh("if") + " " + pick("router") + ` {"port_id":` + ref("port") + "}"
		},
		func() string {
			if len(m.attached) == 0 {
				return "detach x " + pick("router") + ` {"subnet_id":` + ref("subnet") + "}"
			}
			a := rapid.SampledFrom(m.attached).Draw(t, "attached")
			return "detach x " + a[0] + ` {"subnet_id":"$` + a[1] + `"}`
		},
		func() string {
			return "update router " + pick("router") + ` {"external_gateway_info":{"network_id":` + ref("network") + "}}"
		},
		func() string {
			return "update router " + pick("router") + ` {"external_gateway_info":{"network_id":` + ref("network") + `,"external_fixed_ips":[{"ip_address":"` + ip() + `"}]}}`
		},
		func() string { return "update router " + pick("router") + ` {"external_gateway_info":null}` },
		func() string {
			return "update network " + pick("network") + ` {"shared":` + one("shared", "true", "false") + "}"
		},
		func() string {
			return "update subnet " + pick("subnet") + ` {"gateway_ip":` + one("gw", "null", `"10.0.0.1"`, `"10.0.0.3"`) + "}"
		},
		func() string {
			kind := one("kind", "network", "subnet", "router", "port")
			m.gone = [2]string{kind, pick(kind)}
			return "delete " + kind + " " + m.gone[1]
		},
	}
	line := lines[rapid.IntRange(0, len(lines)-1).Draw(t, "line")]()
	fmt.Sscan(line, &m.verb)
	return "admin " + line
}

// world is every row.
type world struct {
	networks []*topology.Network
	subnets  []*topology.Subnet
	routers  []*topology.Router
	ports    []*topology.Port
	shared   map[string]bool // of the rows, by id
}

func (m *machine) look(ctx context.Context) error {
	return m.svc.Store.View(ctx, func(r resource.Reader) (err error) {
		w := world{shared: map[string]bool{}}
		if w.networks, err = crud.LoadAll[topology.Network](ctx, r, resource.Query{Kind: "network"}); err != nil {
			return err
		}
		if w.subnets, err = crud.LoadAll[topology.Subnet](ctx, r, resource.Query{Kind: "subnet"}); err != nil {
			return err
		}
		if w.routers, err = crud.LoadAll[topology.Router](ctx, r, resource.Query{Kind: "router"}); err != nil {
			return err
		}
		if w.ports, err = crud.LoadAll[topology.Port](ctx, r, resource.Query{Kind: "port"}); err != nil {
			return err
		}
		for _, s := range w.subnets {
			row, err := r.Get(ctx, "subnet", s.ID)
			if err != nil {
				return err
			}
			w.shared[s.ID] = row.Shared
		}
		return errors.Join(w.addresses(), w.lists(), w.gateways(), w.interfaces())
	})
}

// addresses: none twice on a network, each in its subnet, each subnet of the port's network.
func (w *world) addresses() error {
	seen := map[string]string{}
	for _, p := range w.ports {
		keys := []string{p.NetworkID + " " + p.MAC}
		for _, f := range p.FixedIPs {
			keys = append(keys, p.NetworkID+" "+f.IPAddress)
			i := slices.IndexFunc(w.subnets, func(s *topology.Subnet) bool { return s.ID == f.SubnetID })
			if i < 0 || w.subnets[i].NetworkID != p.NetworkID || !netip.MustParsePrefix(w.subnets[i].CIDR).Contains(netip.MustParseAddr(f.IPAddress)) {
				return fmt.Errorf("port %s has %+v, which is not on its network", p.ID, f)
			}
		}
		for _, k := range keys {
			if seen[k] != "" {
				return fmt.Errorf("%s belongs to port %s and to port %s", k, seen[k], p.ID)
			}
			seen[k] = p.ID
		}
	}
	return nil
}

// lists: a network names its subnets and no others, which are shared as it is.
func (w *world) lists() error {
	for _, n := range w.networks {
		want := []string{}
		for _, s := range w.subnets {
			if s.NetworkID == n.ID {
				want = append(want, s.ID)
				if w.shared[s.ID] != n.Shared {
					return fmt.Errorf("subnet %s is shared: %v, its network %v", s.ID, w.shared[s.ID], n.Shared)
				}
			}
		}
		got := slices.Sorted(slices.Values(n.Subnets))
		if slices.Sort(want); !slices.Equal(got, want) {
			return fmt.Errorf("network %s names the subnets %v, but has %v", n.ID, got, want)
		}
	}
	return nil
}

// gateways: a router has a gateway port exactly when it has a gateway, and both say the same.
func (w *world) gateways() error {
	ports := map[string][]*topology.Port{}
	for _, p := range w.ports {
		if p.Owner == "network:router_gateway" {
			ports[p.DeviceID] = append(ports[p.DeviceID], p)
		}
	}
	for _, r := range w.routers {
		mine := ports[r.ID]
		delete(ports, r.ID)
		switch {
		case r.External == nil && len(mine) == 0:
		case r.External != nil && len(mine) == 1 && mine[0].NetworkID == r.External.NetworkID && reflect.DeepEqual(mine[0].FixedIPs, r.External.FixedIPs):
		default:
			return fmt.Errorf("router %s has the gateway %+v and the gateway ports %+v", r.ID, r.External, mine)
		}
	}
	if len(ports) > 0 {
		return fmt.Errorf("gateway ports of no router: %v", ports)
	}
	return nil
}

// interfaces: no two subnets of a router overlap, inside or outside.
func (w *world) interfaces() error {
	cidrs := map[string]netip.Prefix{}
	for _, s := range w.subnets {
		cidrs[s.ID] = netip.MustParsePrefix(s.CIDR)
	}
	for _, r := range w.routers {
		var seen []string
		for _, p := range w.ports {
			if p.DeviceID != r.ID || p.Owner != "network:router_interface" {
				continue
			}
			for _, f := range p.FixedIPs {
				for _, other := range seen {
					if cidrs[other].Overlaps(cidrs[f.SubnetID]) {
						return fmt.Errorf("router %s has the overlapping subnets %s and %s", r.ID, other, f.SubnetID)
					}
				}
				seen = append(seen, f.SubnetID)
			}
		}
	}
	return nil
}
