// Package api is HTTP in: it turns requests into calls of the domain, and documents, pages and errors into the bytes that
// OpenStack clients expect. Every kind of resource is served by the same few handlers; no rule of any kind, no SQL and no
// Linux may enter here.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/openapi"
	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// Authenticator knows who a token belongs to. An invalid token is an *identity.Error with code 401.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (identity.Caller, error)
}

// Routers are the two actions of a router. The answers are written as JSON.
type Routers interface {
	AddRouterInterface(ctx context.Context, c identity.Caller, router string, body map[string]any) (map[string]any, error)
	RemoveRouterInterface(ctx context.Context, c identity.Caller, router string, body map[string]any) (map[string]any, error)
}

// Config is what the API needs. Resources, Auth and Log are required; what else is nil is not served.
type Config struct {
	Resources      *crud.Service // every kind in it is served, at /v2.0/<Kind.Path>
	Auth           Authenticator
	Identity       http.Handler // served below /identity; it sees the whole path
	Routers        Routers
	Tags           Tagger
	Quotas         vpn.Quotas
	ConnectionTags ConnectionTags
	Events         Events
	Statistics     Statistics
	VPCs           VPCs
	CORSOrigins    []string // web pages of these origins may call; none: no page may
	Gateways       Gateways
	// Upstream is what answers for everything below /v2.0 that is not served here; nil: nothing does.
	Upstream Upstream
	// Keystone is the URL of the Keystone that Auth asks, such as https://cloud.example.net:5000/v3; "": Identity is ours.
	Keystone string
	// AgentToken is the bearer token of /agent/v1/*. While it is empty those URIs do not exist.
	AgentToken string
	Log        *slog.Logger
	// Observe is told of every request: its method, the pattern that served it ("" for none), the status and the time.
	Observe   func(method, route string, code int, took time.Duration)
	PublicURL string        // scheme and host that answers link to; "" takes them from each request
	PageLimit int           // rows of one list answer at most; 0: 1000
	BulkLimit int           // resources of one POST at most; 0: 100
	Heartbeat time.Duration // between two signs of life on an agent's watch; 0: 5 s
}

const (
	defaultPageLimit = 1000
	defaultBulkLimit = 100
	defaultHeartbeat = 5 * time.Second
)

type server struct {
	Config
	buffers chan []byte // see answer
	table   []openapi.Route
}

// New returns the whole HTTP surface. The watches of agents end with the request's context: give http.Server a BaseContext
// that ends before Shutdown is called.
func New(c Config) (http.Handler, error) {
	if c.Resources == nil || c.Auth == nil || c.Log == nil {
		return nil, errors.New("api: Resources, Auth and Log must be set")
	}
	if c.PageLimit <= 0 {
		c.PageLimit = defaultPageLimit
	}
	if c.BulkLimit <= 0 {
		c.BulkLimit = defaultBulkLimit
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = defaultHeartbeat
	}
	pages, err := newCORS(c.CORSOrigins)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s := &server{Config: c, buffers: make(chan []byte, keepBuffers)}
	mux := http.NewServeMux()
	s.routes(mux)
	return &edge{next: mux, log: c.Log, cors: pages, fail: s.fail, observe: c.Observe}, nil
}

func (s *server) routes(mux *http.ServeMux) {
	s.serve(mux, "/", anybody, nil)
	s.serve(mux, "/{$}", anybody, verbs{"GET": s.versions, "HEAD": s.versions})
	s.serve(mux, "/healthz", anybody, verbs{"GET": s.health, "HEAD": s.health})
	s.documentRoutes(mux)
	mux.Handle("/v2.0/", s.projectRoutes())
	s.serve(mux, "/v2.0", s.user, verbs{"GET": s.index})
	for _, uri := range []string{"/v2.0/extensions", "/v2.0/extensions/{alias}"} {
		// Not even the method is right for a write here: upstream answers 404 (api-contract section 10).
		s.serve(mux, uri, s.user, nil)
	}
	s.serve(mux, "GET /v2.0/extensions", s.user, verbs{"GET": s.extensions})
	s.serve(mux, "GET /v2.0/extensions/{alias}", s.user, verbs{"GET": s.extension})
	for _, k := range s.Resources.Kinds() {
		h := &kind{s, k.Info()}
		uri := "/v2.0/" + h.Path
		s.serve(mux, uri, s.user, verbs{"GET": h.list, "POST": h.create})
		s.serve(mux, uri+"/{id}", s.user, verbs{"GET": h.show, "PUT": h.update, "DELETE": h.delete})
		if s.Tags != nil && s.Tags.HasTags(h.Name) {
			h.tagRoutes(mux)
		}
	}
	s.connectionRoutes(mux)
	if r := s.Resources.Kinds()["router"]; s.Routers != nil && r != nil {
		h := &kind{s, r.Info()}
		s.serve(mux, "/v2.0/routers/{id}/add_router_interface", s.user, verbs{"PUT": h.action(s.Routers.AddRouterInterface)})
		s.serve(mux, "/v2.0/routers/{id}/remove_router_interface", s.user, verbs{"PUT": h.action(s.Routers.RemoveRouterInterface)})
	}
	if s.Quotas != nil {
		s.quotaRoutes(mux)
	}
	if s.VPCs != nil {
		s.serve(mux, "/v1/{project}/subnets", s.user, verbs{"GET": s.vpcSubnets})
	}
	if s.Resources.Kinds()["port"] != nil {
		s.serve(mux, "/v2.0/security-groups", s.user, verbs{"GET": s.noSecurityGroups})
	}
	if s.Keystone != "" {
		s.serve(mux, "/identity", s.keystoneElsewhere, nil)
		s.serve(mux, "/identity/", s.keystoneElsewhere, nil)
	}
	if s.Identity != nil {
		mux.Handle("/identity", s.Identity)
		mux.Handle("/identity/", s.Identity)
	}
	if s.Gateways != nil && s.AgentToken != "" {
		s.serve(mux, "/agent/v1/watch", s.agent, verbs{"GET": s.watch})
		s.serve(mux, "/agent/v1/reports", s.agent, verbs{"POST": s.reports})
		s.serve(mux, "/agent/v1/counters", s.agent, verbs{"POST": s.counters})
	}
}

// noSecurityGroups is for clients that list them to find out whether there are any. There are none, and nothing else of
// that API exists.
func (s *server) noSecurityGroups(c *call) error {
	if _, err := parseParams(c.r.URL.RawQuery); err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string][]string{"security_groups": {}})
}

// health answers 200 while the store answers.
func (s *server) health(c *call) error {
	err := s.Resources.Store.View(c, func(r resource.Reader) error {
		_, err := r.Rev(c)
		return err
	})
	if err != nil {
		c.trace.err = err
		return resource.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable", "The store does not answer.")
	}
	return c.json(http.StatusOK, map[string]string{"status": "ok"})
}

type routerFunc func(ctx context.Context, c identity.Caller, router string, body map[string]any) (map[string]any, error)
