// Package vpn is the domain: IKE policies, IPsec policies, VPN services, endpoint groups and IPsec site connections with
// every rule of the API, the Spec that a gateway gets of them and the status that its reports become. It is the only place
// for these rules; no HTTP, no SQL and no Linux may enter.
package vpn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Names of the kinds: the JSON keys of api-contract section 1.
const (
	KindIKEPolicy     = "ikepolicy"
	KindIPsecPolicy   = "ipsecpolicy"
	KindService       = "vpnservice"
	KindEndpointGroup = "endpoint_group"
	KindConnection    = "ipsec_site_connection"
	// KindSpec rows note which router's Spec changed in which revision; they are no resource of the API.
	KindSpec = "spec"
)

// Router is what the VPN needs to know of a router.
type Router struct {
	ID           string
	ProjectID    string
	Name         string // "" where it is not known
	AdminStateUp bool
	External     *Link    // nil: no external gateway
	Internal     []Link   // its interfaces
	Subnets      []string // ids of the subnets that its interfaces are on
	// Namespace is the network namespace that the router lives in already, wherever it is; "": a gateway makes one.
	Namespace string
	// Mark is what that namespace's owner wants of packets out of a tunnel; nil: nothing.
	Mark *Mark
}

// Subnet is what the VPN needs to know of a subnet.
type Subnet struct {
	ID        string
	ProjectID string
	CIDR      netip.Prefix
}

// Topology knows routers and subnets: our own, or a Neutron's. Both answer resource.ErrNotFound for what does not exist.
type Topology interface {
	Router(ctx context.Context, r resource.Reader, id string) (*Router, error)
	Subnet(ctx context.Context, r resource.Reader, id string) (*Subnet, error)
}

// Foreign is a Topology of somebody else's: its routers and subnets are no rows of our store, so that none of ours refers to
// them, and they may change or go without our consent.
type Foreign interface {
	Topology
	// Refresh makes sure that the Topology's next answers on these routers and subnets are not older than this call. It is
	// called before a change begins, since a change must not wait for another host. Unknown ids are no error.
	Refresh(ctx context.Context, routers, subnets []string) error
}

// Config is what a Service needs. Zero values of the limits are replaced by their defaults.
type Config struct {
	Resources *crud.Service
	Topology  Topology
	Log       *slog.Logger
	// Defaults is the profile of attributes that a policy POST leaves out: "secure" or "neutron" (api-contract D1).
	Defaults string
	// WeakCrypto is what happens to md5, sha1, 3des and the groups 1, 2, 5 and 22: "allow", "warn" or "deny".
	WeakCrypto string
	// MaxPairs bounds the pairs of local and peer selectors of one connection; default 100.
	MaxPairs int
	// Quotas are the limits of projects without any of their own, by kind; -1 is none. Names left out keep the defaults
	// of api-contract section 10.
	Quotas map[string]int64
	// PendingDeadline ends every PENDING_* that no gateway answers; default 20 s (api-contract D10).
	PendingDeadline time.Duration
	// HostGrace is how long no gateway host may watch before everything is DOWN for want of one; default 10 s.
	HostGrace time.Duration
	// Instance tells this server from others on the same database, and is the same after a restart; "": there are none.
	Instance string
}

// Service adds the VPN's kinds to the resources, and stands between them and the gateways.
type Service struct {
	Config
	foreign        Foreign // Topology if it is one; nil: routers and subnets are rows of our store
	connectionKind *resource.Kind
	watched        atomic.Int64     // Watched
	quotas         map[string]int64 // every limit, by kind
	hosts          hosts
	counted        counters
}

// New adds the five kinds to c.Resources, and limits how many of them a project may have.
func New(c Config) (*Service, error) {
	if c.MaxPairs == 0 {
		c.MaxPairs = 100
	}
	if c.PendingDeadline == 0 {
		c.PendingDeadline = 20 * time.Second
	}
	if c.HostGrace == 0 {
		c.HostGrace = 10 * time.Second
	}
	if c.Defaults != "secure" && c.Defaults != "neutron" {
		return nil, fmt.Errorf("defaults %q: allowed are secure and neutron", c.Defaults)
	}
	if w := c.WeakCrypto; w != "allow" && w != "warn" && w != "deny" {
		return nil, fmt.Errorf("weak crypto %q: allowed are allow, warn and deny", w)
	}
	quotas, err := limits(c.Quotas)
	if err != nil {
		return nil, err
	}
	s := &Service{Config: c, quotas: quotas}
	s.foreign, _ = c.Topology.(Foreign)
	s.Resources.SetQuota(s)
	return s, s.addKinds()
}

// addKinds is the list of everything that the API's VPN part serves.
func (s *Service) addKinds() error {
	ike, ipsec := ikePolicyKind(), ipsecPolicyKind()
	service, group, conn := serviceKind(), endpointGroupKind(), connectionKind()
	s.connectionKind = conn
	o := resource.Options{Profile: s.Defaults, Enums: s.enums(), Rules: map[string]resource.Rule{
		"psk": pskRule, "cidrs": cidrsRule, "local_id": idRule(0), "peer_id": idRule(1)}}
	err := errors.Join(ike.Parse(IKEPolicy{}, o), ipsec.Parse(IPsecPolicy{}, o), service.Parse(VPNService{}, o),
		group.Parse(EndpointGroup{}, o), conn.Parse(Connection{}, o))
	if err != nil {
		return err
	}
	s.Resources.Add(
		crud.Define(ike, s.ikePolicyRules()),
		crud.Define(ipsec, s.ipsecPolicyRules()),
		crud.Define(service, s.serviceRules()),
		crud.Define(group, s.endpointGroupRules()),
		crud.Define(conn, s.connectionRules()),
	)
	return nil
}

// by narrows a query to rows of a kind whose attribute is one of the ids.
func by(kind, attr string, ids ...string) resource.Query {
	return resource.Query{Kind: kind, Filters: []resource.Filter{{Column: resource.Column{Name: attr}, Values: ids}}}
}

// visible reads a referenced resource in the caller's scope: 404 for what a member may not see, 400 for what an admin would
// knot together from two projects (api-contract section 2.5).
func visible[T any, P resource.Of[T]](op *crud.Op, kind, id, project string) (*T, error) {
	info := op.Svc.Kinds()[kind].Info()
	v, row, err := crud.Load[T](op, op.Tx, kind, id)
	if errors.Is(err, resource.ErrNotFound) || err == nil && !op.Caller.MayRead(row.ProjectID) {
		return nil, info.ErrNotFound(id)
	}
	if err == nil && row.ProjectID != project {
		return nil, resource.BadRequest("%s %s belongs to the project '%s', not to '%s': all parts of a connection must be of one project", info.Title, id, row.ProjectID, project)
	}
	return v, err
}
