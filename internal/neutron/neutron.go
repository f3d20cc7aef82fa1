// Package neutron is the network of a cloud that has one: what a VPN needs to know of routers and subnets, read from that
// cloud's Neutron, and the way through to Neutron for everything that is not ours. No rule of the VPN enters here: what a
// VPN forbids is asked of VPN.
package neutron

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"culvert/internal/crud"
	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// VPN is what stands on the routers and subnets here.
type VPN interface {
	// InUse names the routers and subnets that it stands on.
	InUse(ctx context.Context) (routers, subnets []string, err error)
	// The others are topology.Guard's.
	MayClearGateway(op *crud.Op, router string) error
	MayDetachSubnet(op *crud.Op, router, subnet string) error
	MayDeleteSubnet(op *crud.Op, subnet string) error
	RouterChanged(op *crud.Op, router string, what ...resource.Difference) error
}

// Changer runs a function on one snapshot, or as one change.
type Changer interface {
	View(ctx context.Context, fn func(*crud.Op) error) error
	Change(ctx context.Context, fn func(*crud.Op) error) (int64, error)
}

// Config is what a Neutron needs.
type Config struct {
	URL string // such as https://cloud.example.net:9696, without /v2.0
	// Login answers a client that is logged in as a user who may see the routers of all projects.
	Login     func(ctx context.Context) (*gophercloud.ProviderClient, error)
	PublicURL string // scheme and host that Neutron is told its clients used; "": those of each request
	Resources Changer
	Log       *slog.Logger
	Now       func() time.Time
	Every     time.Duration // how often routers in use are looked at; 0: 5 s
}

// Neutron is one that runs elsewhere.
type Neutron struct {
	Config
	vpn   VPN // set by SetVPN
	base  *url.URL
	proxy *httputil.ReverseProxy
	poke  chan struct{} // look at the routers now

	mu      sync.Mutex
	routers shelf[vpn.Router]
	subnets shelf[vpn.Subnet]
	used    map[string]bool // routers and subnets that a VPN stands on, as of the last look
	until   time.Time       // until when a Neutron that failed is left alone
	cause   error           // why
}

const every = 5 * time.Second

// New asks nothing yet.
func New(c Config) (*Neutron, error) {
	if c.Login == nil || c.Resources == nil || c.Log == nil || c.Now == nil {
		return nil, errors.New("neutron: Login, Resources, Log and Now must be set")
	}
	base, err := url.Parse(strings.TrimSuffix(strings.TrimRight(c.URL, "/"), "/v2.0"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, errors.New("neutron: the URL must be like https://cloud.example.net:9696, without a user") // and is not told
	}
	if c.Every == 0 {
		c.Every = every
	}
	n := &Neutron{Config: c, base: base, poke: make(chan struct{}, 1), routers: shelf[vpn.Router]{}, subnets: shelf[vpn.Subnet]{}}
	n.proxy = n.newProxy()
	return n, nil
}

// SetVPN sets it once, before anything is asked.
func (n *Neutron) SetVPN(v VPN) { n.vpn = v }

// direct goes through no proxy: tokens travel to the Neutron that the operator named, and nowhere else.
func direct() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConnsPerHost = 32
	t.ResponseHeaderTimeout = 2 * time.Minute // Neutron's slowest answers; RPC to agents takes it a minute
	return t
}
