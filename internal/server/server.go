// Package server is a whole Culvert server in one value: the store, the keyset, identity, topology and VPN behind one HTTP
// handler. It only wires; the command line, the tests and the benchmarks start it.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"culvert/internal/api"
	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/keyring"
	"culvert/internal/store"
	"culvert/internal/topology"
	"culvert/internal/vpn"

	"github.com/google/uuid"
)

// Config is what can be chosen. Data and Log must be set.
type Config struct {
	Data          string // folder for database, keyset and agent token
	Database      string // postgres://…; "" is SQLite in Data
	PublicURL     string
	Defaults      string // "" is secure
	WeakCrypto    string // "" is warn
	MaxPairs      int
	PageLimit     int
	Quotas        map[string]int64  // limits of projects without their own, by kind; nil: the shipped ones
	CORSOrigins   []string          // web pages of these origins may call the API; none: no page may
	CatalogNames  []api.CatalogName // more services of the catalog that are the network API, such as vpc
	TokenLifetime time.Duration
	// PendingDeadline ends a PENDING_* that no gateway answers; 0 is the VPN's own default.
	PendingDeadline time.Duration
	Now             func() time.Time // nil: time.Now
	NewID           func() string    // nil: random UUIDs
	Log             *slog.Logger
}

// Server is open until Close.
type Server struct {
	Handler    http.Handler
	AgentToken string
	FirstAdmin *identity.FirstAdmin // set by the very first start alone

	Store     *store.Store
	Keyring   *keyring.Keyring
	Identity  *identity.Service
	Resources *crud.Service
	VPN       *vpn.Service
	lock      *os.File
}

// Open makes the data folder if it is missing, locks it, and wires everything on it.
func Open(ctx context.Context, c Config) (s *Server, err error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = uuid.NewString
	}
	if c.Defaults == "" {
		c.Defaults = "secure"
	}
	if c.WeakCrypto == "" {
		c.WeakCrypto = "warn"
	}
	s = &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if err := s.openData(ctx, c); err != nil {
		return s, err
	}
	if s.Resources, err = crud.New(crud.Config{Store: s.Store, Sealer: s.Keyring, Now: c.Now, NewID: c.NewID}); err != nil {
		return s, err
	}
	return s, s.wire(ctx, c)
}

// openData opens what lies in the data folder.
func (s *Server) openData(ctx context.Context, c Config) (err error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if s.lock, err = lock(filepath.Join(c.Data, "lock")); err != nil {
		return err
	}
	if s.AgentToken, err = agentToken(filepath.Join(c.Data, "agent.token")); err != nil {
		return err
	}
	if s.Keyring, err = keyring.Open(filepath.Join(c.Data, "keyset.json")); err != nil {
		return err
	}
	s.Store, err = store.Open(ctx, store.Config{URL: c.Database, Dir: c.Data, Log: c.Log})
	return err
}

func (s *Server) wire(ctx context.Context, c Config) error {
	top, err := topology.New(topology.Config{Service: s.Resources})
	if err != nil {
		return err
	}
	s.Resources.Add(top.Kinds()...)
	s.VPN, err = vpn.New(vpn.Config{Resources: s.Resources, Topology: view{top}, Log: c.Log, Defaults: c.Defaults, WeakCrypto: c.WeakCrypto,
		MaxPairs: c.MaxPairs, Quotas: c.Quotas, PendingDeadline: c.PendingDeadline})
	if err != nil {
		return err
	}
	top.SetGuard(s.VPN)
	s.Identity, err = identity.New(identity.Config{Store: s.Store, Sealer: s.Keyring, Now: c.Now, TokenLifetime: c.TokenLifetime})
	if err != nil {
		return err
	}
	if s.FirstAdmin, err = s.Identity.Bootstrap(ctx); err != nil {
		return err
	}
	keystone, err := api.NewKeystone(api.KeystoneConfig{Service: s.Identity, Log: c.Log, PublicURL: c.PublicURL, Names: c.CatalogNames})
	if err != nil {
		return err
	}
	s.Handler, err = api.New(api.Config{Resources: s.Resources, Auth: s.Identity, Identity: keystone, Routers: top, Tags: top, Quotas: s.VPN, ConnectionTags: s.VPN, VPCs: top, CORSOrigins: c.CORSOrigins, Gateways: s.VPN,
		AgentToken: s.AgentToken, Log: c.Log, PublicURL: c.PublicURL, PageLimit: c.PageLimit})
	return err
}

// Run does the server's own work until ctx ends.
func (s *Server) Run(ctx context.Context) error { return s.VPN.Run(ctx) }

// Close lets go of the store and of the data folder.
func (s *Server) Close() error {
	var errs []error
	if s.Store != nil {
		errs = append(errs, s.Store.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
