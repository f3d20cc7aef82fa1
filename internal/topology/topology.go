// Package topology is the network around a VPN: networks, subnets, routers and ports as Neutron v2.0 answers them, kept in
// our own store. It knows no HTTP, no SQL and no VPN resource: what those forbid, and what they must learn, goes through Guard.
package topology

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Names of the kinds.
const (
	kindNetwork = "network"
	kindSubnet  = "subnet"
	kindRouter  = "router"
	kindPort    = "port"
)

// Guard is asked inside of the change that it is about; its errors are answered as they are (api-contract section 5,
// "Topology guards").
type Guard interface {
	// MayClearGateway is asked before a router loses its gateway, gets one on another network, or is deleted.
	MayClearGateway(op *crud.Op, router string) error
	// MayDetachSubnet is asked before a subnet leaves its router.
	MayDetachSubnet(op *crud.Op, router, subnet string) error
	// MayDeleteSubnet is asked before a subnet goes, alone or with its network.
	MayDeleteSubnet(op *crud.Op, subnet string) error
	// RouterChanged tells, after it is written, that something of a router changed that a gateway must know, and what.
	RouterChanged(op *crud.Op, router string, what ...resource.Difference) error
}

// Config is what a Topology needs.
type Config struct {
	Service *crud.Service // serves the Kinds
	Rand    io.Reader     // of MAC addresses; nil: crypto/rand
	Guard   Guard         // nil: nothing is forbidden, until SetGuard
}

// Topology holds the rules of the four kinds.
type Topology struct {
	svc   *crud.Service
	rand  io.Reader
	guard Guard
	info  map[string]*resource.Kind
	// taggers are by kind.
	taggers map[string]tagger
}

// New returns a Topology; its Kinds are still to be added to the service.
func New(c Config) (*Topology, error) {
	if c.Service == nil {
		return nil, errors.New("topology: Service must be set")
	}
	t := &Topology{svc: c.Service, rand: c.Rand, guard: c.Guard, info: map[string]*resource.Kind{}}
	if t.rand == nil {
		t.rand = rand.Reader
	}
	if t.guard == nil {
		t.guard = noGuard{}
	}
	for _, k := range []struct {
		name, plural, title string
		proto               any
	}{
		{kindNetwork, "networks", "Network", Network{}},
		{kindSubnet, "subnets", "Subnet", Subnet{}},
		{kindRouter, "routers", "Router", Router{}},
		{kindPort, "ports", "Port", Port{}},
	} {
		info := &resource.Kind{Name: k.name, Plural: k.plural, Path: k.plural, Title: k.title,
			NotFound: k.title + "NotFound", InUse: k.title + "InUse", Filters: filterNames(k.name)}
		if err := info.Parse(k.proto, resource.Options{Rules: rules()}); err != nil {
			return nil, fmt.Errorf("topology: %w", err)
		}
		t.info[k.name] = info
	}
	t.taggers = map[string]tagger{
		kindNetwork: taggerOf[Network](t, kindNetwork), kindSubnet: taggerOf[Subnet](t, kindSubnet),
		kindRouter: taggerOf[Router](t, kindRouter), kindPort: taggerOf[Port](t, kindPort),
	}
	return t, nil
}

// SetGuard sets the guard once, before the service answers anybody.
func (t *Topology) SetGuard(g Guard) { t.guard = g }

// Kinds are the four kinds with their rules.
func (t *Topology) Kinds() []crud.Kind {
	return []crud.Kind{
		crud.Define(t.info[kindNetwork], t.networkRules()),
		crud.Define(t.info[kindSubnet], t.subnetRules()),
		crud.Define(t.info[kindRouter], t.routerRules()),
		crud.Define(t.info[kindPort], t.portRules()),
	}
}

// now is the time as Neutron writes it; its clients parse created_at and updated_at strictly (gophercloud, strptime in Python).
func now(op *crud.Op) string { return op.At.Format("2006-01-02T15:04:05Z") }

type noGuard struct{}

func (noGuard) MayClearGateway(*crud.Op, string) error                       { return nil }
func (noGuard) MayDetachSubnet(*crud.Op, string, string) error               { return nil }
func (noGuard) MayDeleteSubnet(*crud.Op, string) error                       { return nil }
func (noGuard) RouterChanged(*crud.Op, string, ...resource.Difference) error { return nil }
