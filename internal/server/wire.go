package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"culvert/internal/api"
	"culvert/internal/identity"
	"culvert/internal/keystone"
	"culvert/internal/metrics"
	"culvert/internal/neutron"
	"culvert/internal/topology"
	"culvert/internal/vpn"
)

func (s *Server) wire(ctx context.Context, c Config) (err error) {
	out := api.Config{Resources: s.Resources, CORSOrigins: c.CORSOrigins, AgentToken: s.AgentToken, Log: c.Log, PublicURL: c.PublicURL,
		PageLimit: c.PageLimit}
	if c.Neutron != "" && c.Keystone.URL == "" {
		return errors.New("a Neutron's topology needs the identity of its Keystone: Neutron would not know our tokens")
	}
	if c.Keystone.URL != "" {
		err = s.wireKeystone(c, &out)
	} else {
		err = s.wireIdentity(ctx, c, &out)
	}
	if err != nil {
		return err
	}
	if c.Neutron != "" {
		err = s.wireNeutron(ctx, c, &out)
	} else {
		err = s.wireTopology(c, &out)
	}
	if err != nil {
		return err
	}
	out.ConnectionTags, out.Events, out.Statistics, out.Gateways = s.VPN, s.VPN, s.VPN, s.VPN
	counted := metrics.New(metrics.Config{Source: s.VPN, Version: c.Version, Log: c.Log})
	s.Metrics, out.Observe = counted.Handler(), counted.Observe
	s.Handler, err = api.New(out)
	return err
}

// wireIdentity makes identity our own.
func (s *Server) wireIdentity(ctx context.Context, c Config, out *api.Config) (err error) {
	s.Identity, err = identity.New(identity.Config{Store: s.Store, Sealer: s.Keyring, Now: c.Now, TokenLifetime: c.TokenLifetime})
	if err != nil {
		return err
	}
	if s.FirstAdmin, err = s.Identity.Bootstrap(ctx); err != nil {
		return err
	}
	own, err := api.NewKeystone(api.KeystoneConfig{Service: s.Identity, Log: c.Log, PublicURL: c.PublicURL, Names: c.CatalogNames})
	out.Auth, out.Identity = s.Identity, own
	return err
}

// wireKeystone takes identity from a Keystone.
func (s *Server) wireKeystone(c Config, out *api.Config) (err error) {
	c.Keystone.Now = c.Now
	if s.keystone, err = keystone.New(c.Keystone); err != nil {
		return err
	}
	out.Auth, out.Keystone = s.keystone, s.keystone.Endpoint()
	return nil
}

// wireTopology makes networks our own.
func (s *Server) wireTopology(c Config, out *api.Config) error {
	top, err := topology.New(topology.Config{Service: s.Resources})
	if err != nil {
		return err
	}
	s.Resources.Add(top.Kinds()...)
	if err := s.wireVPN(c, view{top}); err != nil {
		return err
	}
	top.SetGuard(s.VPN)
	out.Routers, out.Tags, out.VPCs, out.Quotas = top, top, top, s.VPN
	return nil
}

// wireNeutron takes networks from a Neutron, and stands in front of it.
func (s *Server) wireNeutron(ctx context.Context, c Config, out *api.Config) (err error) {
	s.neutron, err = neutron.New(neutron.Config{URL: c.Neutron, Login: s.keystone.Login, PublicURL: c.PublicURL, Resources: s.Resources,
		Log: c.Log, Now: c.Now})
	if err != nil {
		return err
	}
	if err := s.wireVPN(c, s.neutron); err != nil {
		return err
	}
	s.neutron.SetVPN(s.VPN)
	out.Upstream, out.Quotas = s.neutron, s.neutron.Quotas(s.VPN)
	return s.neutron.Warm(ctx)
}

func (s *Server) wireVPN(c Config, top vpn.Topology) (err error) {
	s.VPN, err = vpn.New(vpn.Config{Resources: s.Resources, Topology: top, Log: c.Log, Defaults: c.Defaults, WeakCrypto: c.WeakCrypto,
		MaxPairs: c.MaxPairs, Quotas: c.Quotas, PendingDeadline: c.PendingDeadline,
		HostGrace: c.HostGrace, Instance: instance(c)})
	return err
}

// instance names this server among those on one database: a data folder is of one server. SQLite has one server alone.
func instance(c Config) string {
	if c.Database == "" || !strings.HasPrefix(c.Database, "postgres") {
		return ""
	}
	host, _ := os.Hostname() // "" is as good where there is but one host
	dir, err := filepath.Abs(c.Data)
	if err != nil {
		dir = c.Data
	}
	sum := sha256.Sum256([]byte(host + ":" + dir))
	return hex.EncodeToString(sum[:8])
}
