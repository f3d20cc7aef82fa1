package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/internal/identity"
	"culvert/internal/openapi"
	"culvert/internal/resource"
)

// keystoneBody is the largest body of a request below /identity: Keystone's own default.
const keystoneBody = 114_688

// KeystoneConfig is what the identity API needs; Service and Log are required.
type KeystoneConfig struct {
	Service   *identity.Service
	Log       *slog.Logger
	PublicURL string // scheme and host of the endpoints in the catalog; "" takes them from each request
	Region    string // of the catalog; "": RegionOne
	Names     []CatalogName
}

// Keystone serves the part of Keystone's API v3 that Culvert's users and their clients need, below /identity.
type Keystone struct {
	KeystoneConfig
	mux   *http.ServeMux
	table []openapi.Route
}

// NewKeystone returns the handler of /identity and everything below.
func NewKeystone(c KeystoneConfig) (*Keystone, error) {
	if c.Service == nil || c.Log == nil {
		return nil, errors.New("keystone: Service and Log must be set")
	}
	if c.Region == "" {
		c.Region = "RegionOne"
	}
	for _, n := range c.Names {
		if n.Name == "" || n.Type == "" || n.Type == "identity" || n.Type == "network" {
			return nil, fmt.Errorf("keystone: the catalog cannot have one more service of type %q and name %q", n.Type, n.Name)
		}
	}
	k := &Keystone{KeystoneConfig: c, mux: http.NewServeMux()}
	k.routes()
	return k, nil
}

// Register serves the identity API in mux.
func (k *Keystone) Register(mux *http.ServeMux) {
	mux.Handle("/identity", k)
	mux.Handle("/identity/", k)
}

// keystoneCall is one request on its way through a handler.
type keystoneCall struct {
	context.Context
	w   http.ResponseWriter
	r   *http.Request
	by  *identity.Token // nil where no token is needed
	url string          // of /identity, as the client sees it
}

type keystoneFunc func(*keystoneCall) error

func (k *Keystone) routes() {
	k.open("GET /identity", k.versions)
	k.open("GET /identity/v3", k.version)
	k.open("POST /identity/v3/auth/tokens", k.login)
	k.user("GET /identity/v3/auth/tokens", k.validate)
	k.user("DELETE /identity/v3/auth/tokens", k.revoke)
	k.user("GET /identity/v3/auth/catalog", k.catalogOnly)
	k.user("GET /identity/v3/auth/projects", k.authProjects)
	k.user("GET /identity/v3/auth/domains", k.authDomains)

	k.manageRoutes()
	k.grantRoutes()
	k.catalogRoutes()
}

func (k *Keystone) manageRoutes() {
	k.user("GET /identity/v3/domains", k.domains)
	k.user("POST /identity/v3/domains", k.createDomain)
	k.user("GET /identity/v3/domains/{id}", k.domain)
	k.user("PATCH /identity/v3/domains/{id}", k.updateDomain)
	k.user("DELETE /identity/v3/domains/{id}", k.deleteDomain)
	k.user("GET /identity/v3/projects", k.projects)
	k.user("POST /identity/v3/projects", k.createProject)
	k.user("GET /identity/v3/projects/{id}", k.project)
	k.user("PATCH /identity/v3/projects/{id}", k.updateProject)
	k.user("DELETE /identity/v3/projects/{id}", k.deleteProject)
	k.user("GET /identity/v3/users", k.users)
	k.user("POST /identity/v3/users", k.createUser)
	k.user("GET /identity/v3/users/{id}", k.showUser)
	k.user("PATCH /identity/v3/users/{id}", k.updateUser)
	k.user("DELETE /identity/v3/users/{id}", k.deleteUser)
	k.open("POST /identity/v3/users/{id}/password", k.changePassword)
	k.user("GET /identity/v3/users/{id}/projects", k.userProjects)
	k.user("GET /identity/v3/users/{id}/groups", k.userGroups)
	k.user("GET /identity/v3/users/{user}/application_credentials", k.credentials)
	k.user("POST /identity/v3/users/{user}/application_credentials", k.createCredential)
	k.user("GET /identity/v3/users/{user}/application_credentials/{id}", k.credential)
	k.user("DELETE /identity/v3/users/{user}/application_credentials/{id}", k.deleteCredential)
	k.user("GET /identity/v3/roles", k.roles)
	k.user("POST /identity/v3/roles", k.createRole)
	k.user("GET /identity/v3/roles/{id}", k.role)
	k.user("PATCH /identity/v3/roles/{id}", k.updateRole)
	k.user("DELETE /identity/v3/roles/{id}", k.deleteRole)
}

func (k *Keystone) grantRoutes() {
	k.user("GET /identity/v3/role_assignments", k.assignments)
	for _, target := range []string{"projects/{project}", "domains/{domain}", "system"} {
		uri := "/identity/v3/" + target + "/users/{user}/roles"
		k.user("GET "+uri, k.grants)
		k.user("GET "+uri+"/{role}", k.granted)
		k.user("PUT "+uri+"/{role}", k.grant)
		k.user("DELETE "+uri+"/{role}", k.ungrant)
	}
}

// catalogRoutes only read: the configuration makes the catalog.
func (k *Keystone) catalogRoutes() {
	k.user("GET /identity/v3/groups", noneOf("groups"))
	k.user("GET /identity/v3/services", fixedList("services", k.serviceDocs, true, "type", "name"))
	k.user("GET /identity/v3/services/{id}", fixedOne("service", k.serviceDocs, true))
	k.user("GET /identity/v3/endpoints", fixedList("endpoints", k.endpointDocs, true, "service_id", "interface", "region_id"))
	k.user("GET /identity/v3/endpoints/{id}", fixedOne("endpoint", k.endpointDocs, true))
	k.user("GET /identity/v3/regions", fixedList("regions", k.regionDocs, false, "parent_region_id"))
	k.user("GET /identity/v3/regions/{id}", fixedOne("region", k.regionDocs, false))
}

// open serves a URI that needs no token.
func (k *Keystone) open(pattern string, do keystoneFunc) { k.handle(pattern, openapi.Anybody, do) }

func (k *Keystone) handle(pattern string, access openapi.Access, do keystoneFunc) {
	method, path, _ := strings.Cut(pattern, " ")
	k.table = append(k.table, openapi.Route{Method: method, Path: path, Access: access})
	k.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &keystoneCall{Context: r.Context(), w: w, r: r, url: k.root(r)}
		if err := do(c); err != nil {
			k.fail(w, r, err)
		}
	})
}

// user serves a URI that needs a token.
func (k *Keystone) user(pattern string, do keystoneFunc) {
	k.handle(pattern, openapi.User, func(c *keystoneCall) (err error) {
		if c.by, err = k.Service.Validate(c, c.r.Header.Get("X-Auth-Token")); err != nil {
			return err
		}
		t, who := traceOf(c), c.by.Caller()
		t.user, t.project = who.UserID, who.ProjectID
		return do(c)
	})
}

// Routes are those that are served.
func (k *Keystone) Routes() []openapi.Route { return slices.Clone(k.table) }

// Authenticate says who makes a request, by its X-Auth-Token.
func (k *Keystone) Authenticate(r *http.Request) (identity.Caller, error) {
	return k.Service.Authenticate(r.Context(), r.Header.Get("X-Auth-Token"))
}

// ServeHTTP answers every path below /identity, with or without a trailing slash.
func (k *Keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := strings.TrimRight(r.URL.Path, "/"); p != r.URL.Path {
		u := *r.URL
		u.Path, u.RawPath = p, strings.TrimRight(u.RawPath, "/")
		r = r.WithContext(r.Context())
		r.URL = &u
	}
	h, pattern := k.mux.Handler(r)
	if pattern != "" {
		k.mux.ServeHTTP(w, r)
		return
	}
	no := &refusal{header: http.Header{}}
	h.ServeHTTP(no, r)
	if no.code == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", no.header.Get("Allow"))
		k.fail(w, r, &identity.Error{Code: no.code, Message: "The method is not allowed for the requested URL."})
		return
	}
	k.fail(w, r, &identity.Error{Code: http.StatusNotFound, Message: "The requested URL was not found on the server."})
}

// refusal takes ServeMux's own 404 or 405 without its text.
type refusal struct {
	header http.Header
	code   int
}

func (n *refusal) Header() http.Header         { return n.header }
func (n *refusal) WriteHeader(code int)        { n.code = code }
func (n *refusal) Write(b []byte) (int, error) { return len(b), nil }

// root is the URL of /identity.
func (k *Keystone) root(r *http.Request) string { return origin(k.PublicURL, r) + "/identity" }

// fail answers an error in Keystone's envelope. What is not for the user goes to the log alone.
func (k *Keystone) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := k.public(r, err)
	switch e.Code {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Keystone uri="`+k.root(r)+`"`)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	var doc challenge
	doc.Error.Code, doc.Error.Title, doc.Error.Message = e.Code, http.StatusText(e.Code), e.Message
	body, err := resource.Encode(doc)
	if err != nil { // strings and a number: it cannot be
		body = []byte("{}")
	}
	write(w, e.Code, body)
}

func (k *Keystone) public(r *http.Request, err error) *identity.Error {
	var e *identity.Error
	if errors.As(err, &e) {
		return e
	}
	var bad *resource.Error
	if errors.As(err, &bad) {
		return &identity.Error{Code: bad.Code, Message: bad.Message}
	}
	if t, ok := r.Context().Value(traceKey{}).(*trace); ok {
		t.err = err
	} else {
		k.Log.ErrorContext(r.Context(), "identity request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &identity.Error{Code: http.StatusServiceUnavailable, Message: "The request was given up before it was done."}
	}
	return &identity.Error{Code: http.StatusInternalServerError, Message: "An unexpected error prevented the server from fulfilling your request."}
}

// object reads the body's object below key, as in {"project": {…}}.
func (c *keystoneCall) object(key string) (map[string]any, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, keystoneBody))
	if e := (*http.MaxBytesError)(nil); errors.As(err, &e) {
		return nil, &identity.Error{Code: http.StatusRequestEntityTooLarge, Message: "The request body is larger than 114688 bytes."}
	}
	if err != nil {
		return nil, identity.BadRequest("The body could not be read to its end.")
	}
	body, err := resource.ParseBody(raw)
	if err != nil {
		return nil, err
	}
	return resource.Unwrap(body, key)
}

func (c *keystoneCall) json(code int, v any) error {
	b, err := resource.Encode(v)
	if err != nil {
		return err
	}
	write(c.w, code, b)
	return nil
}

// none answers 204 unless there is an error.
func (c *keystoneCall) none(err error) error {
	if err == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// source is what failed logins are counted by: the peer's address, of IPv6 the network that one host usually has. A proxy's
// word about it is not taken: any client could write that header.
func (c *keystoneCall) source() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return c.r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Unmap().Is4() {
		return host
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return p.String()
}

// self is the URL of this very list.
func (c *keystoneCall) self() string { return c.here(c.r.URL.RawQuery) }

func (c *keystoneCall) here(query string) string {
	u := url.URL{Path: c.r.URL.Path, RawQuery: query}
	return strings.TrimSuffix(c.url, "/identity") + u.String()
}

// keystoneTime is how Keystone writes a time.
func keystoneTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
