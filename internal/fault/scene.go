package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/site"
)

// Config is what a Scene needs: a client, as admin, of a running server with a gateway on this machine.
type Config struct {
	API        *client.Client
	Hostless   *client.Client // of a server that no gateway host watches; nil: faults that need one cannot be laid
	RunDir     string         // short path, for the peers' sockets
	GatewayDir string         // the gateway's run folder
	Prefix     string         // of the namespaces' names, at most 5 bytes
}

// Scene is a head office, and the faults that were laid in it, until Close.
type Scene struct {
	Config
	ctx    context.Context // of what goes on in the background
	cancel context.CancelFunc
	work   errgroup.Group
	main   *site.Site
	hq     *lab.Host

	mu   sync.Mutex
	laid []*Laid
	subs int // sites with a network of their own
}

// The addresses of a scene are for documentation (RFC 5737) or private, and live in network namespaces alone.
const (
	outerCIDR = "198.51.100.0/24"
	offCIDR   = "192.0.2.0/24" // of an outer network without next hop
	hqHost    = "10.10.0.10"
	psk       = "sandbox-kT7-wq2Lz9"
	// MaxFaults is how many faults one scene has addresses for.
	MaxFaults = 200
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// Open lays the head office that most faults share.
func Open(ctx context.Context, c Config) (*Scene, error) {
	s := &Scene{Config: c}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("head office: %w", err), s.Close())
	}
	return s, nil
}

func (s *Scene) open(ctx context.Context) (err error) {
	if err := unlimited(ctx, s.API); err != nil {
		return err
	}
	if s.main, err = s.newSite(ctx, "sandbox", s.API, outerCIDR, ""); err != nil {
		return err
	}
	if err := s.main.AwaitService(ctx); err != nil {
		return err
	}
	s.hq, err = s.main.StartHost(ctx, s.Prefix+"hq", addr(hqHost))
	return err
}

// unlimited takes the limits away that a project starts with: a scene has more connections.
func unlimited(ctx context.Context, api *client.Client) error {
	limits := client.Object{}
	for _, kind := range []string{"vpnservice", "ipsec_site_connection", "ikepolicy", "ipsecpolicy", "endpoint_group"} {
		limits[kind] = -1
	}
	_, err := api.Call(ctx, "PUT", "/v2.0/quotas/"+api.Project, client.Object{"quota": limits})
	return err
}

// newSite lays a router between an inner network of its own and an outer one: that of wan, a new one of the CIDR, or with
// neither of them none.
func (s *Scene) newSite(ctx context.Context, name string, api *client.Client, outer, wan string) (*site.Site, error) {
	s.mu.Lock()
	inner := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 10, byte(s.subs), 0}), 24)
	s.subs++
	s.mu.Unlock()
	out := &site.Site{API: api, Name: name, Inner: inner, WAN: wan}
	if wan == "" && outer != "" {
		out.Outer = netip.MustParsePrefix(outer)
		if outer == outerCIDR {
			out.Hop = out.Outer.Addr().Next().String()
		}
		if err := out.MakeWAN(ctx); err != nil {
			return nil, err
		}
	}
	for _, step := range []func(context.Context) error{out.MakeLAN, out.MakeRouter, func(ctx context.Context) error { return out.MakeService(ctx, nil) }} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// spawn runs something until the scene is closed.
func (s *Scene) spawn(fn func(context.Context) error) {
	s.work.Go(func() error {
		if err := fn(s.ctx); err != nil && s.ctx.Err() == nil {
			return err
		}
		return nil
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Laid are the faults that were laid so far.
func (s *Scene) Laid() []*Laid {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.laid)
}

// Close takes the peers and the head office's machine away; what lies in the server is the server's.
func (s *Scene) Close() error {
	s.cancel()
	errs := []error{s.work.Wait()}
	s.mu.Lock()
	defer s.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(8)
	for _, l := range s.laid {
		if l.Branch != nil {
			g.Go(l.Branch.Close)
		}
	}
	errs = append(errs, g.Wait())
	if s.hq != nil {
		errs = append(errs, s.hq.Close())
	}
	return errors.Join(errs...)
}

// Sweep takes away what a scene with this prefix left that was killed.
func Sweep(runDir, prefix string) error {
	found := map[string]bool{}
	for _, dir := range []string{"/run/netns", runDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), prefix) {
				found[filepath.Base(e.Name())] = true
			}
		}
	}
	var names []string
	for name := range found {
		names = append(names, name)
	}
	return lab.Sweep(runDir, names...)
}
