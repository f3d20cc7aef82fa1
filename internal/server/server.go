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
	"culvert/internal/keystone"
	"culvert/internal/neutron"
	"culvert/internal/store"
	"culvert/internal/vpn"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
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
	// Keystone says who a token belongs to; without a URL identity is our own.
	Keystone keystone.Config
	// Neutron is the URL of the Neutron whose routers and subnets are used, and for which we answer; "": networks are our
	// own. It needs Keystone.
	Neutron string
	// PendingDeadline ends a PENDING_* that no gateway answers; 0 is the VPN's own default.
	PendingDeadline time.Duration
	// HostGrace is how long no gateway host may watch before everything is DOWN; 0 is the VPN's own default.
	HostGrace time.Duration
	Now       func() time.Time // nil: time.Now
	NewID     func() string    // nil: random UUIDs
	Log       *slog.Logger
	Version   string // of the program, for metrics
}

// Server is open until Close.
type Server struct {
	Handler    http.Handler
	AgentToken string
	FirstAdmin *identity.FirstAdmin // set by the very first start alone

	Store     *store.Store
	Keyring   *keyring.Keyring
	Identity  *identity.Service // nil beside a Keystone
	Resources *crud.Service
	VPN       *vpn.Service
	Metrics   http.Handler       // GET /metrics, without a token: for operators alone
	keystone  *keystone.Keystone // nil: identity is our own
	neutron   *neutron.Neutron   // nil: networks are our own
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

// Run does the server's own work until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.VPN.Run(ctx) })
	if s.neutron != nil {
		g.Go(func() error { return s.neutron.Run(ctx) })
	}
	return g.Wait()
}

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
