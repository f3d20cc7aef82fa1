package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"culvert/internal/resource"
)

// Authenticate says who calls with this token. Its error is an *Error with 401 when the token is not valid.
func (s *Service) Authenticate(ctx context.Context, token string) (Caller, error) {
	t, err := s.Validate(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	return t.caller, nil
}

// Validate returns what a token stands for now: sealed by us, not expired, not revoked, its user, project and domain
// enabled, with the roles that the user has at this moment. Every reason against it is the same *Error with 401.
func (s *Service) Validate(ctx context.Context, token string) (*Token, error) {
	if token == "" || len(token) > maxToken {
		return nil, Unauthorized()
	}
	rev, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	now, key := s.Now(), sha256.Sum256([]byte(token))
	if t := s.tokens.get(key, rev); t != nil {
		if t.claims.expired(now) {
			return nil, Unauthorized()
		}
		return t, nil
	}
	c, ok := s.openToken(token)
	if !ok || c.expired(now) {
		return nil, Unauthorized()
	}
	t, rev, err := s.lookUp(ctx, c)
	if err != nil {
		return nil, err
	}
	s.tokens.put(key, rev, t)
	return t, nil
}

// lookUp resolves claims in one snapshot, and says of which revision of identity.
func (s *Service) lookUp(ctx context.Context, c claims) (t *Token, rev int64, err error) {
	err = s.Store.View(ctx, func(r resource.Reader) error {
		if rev, err = stateRev(ctx, r); err != nil {
			return err
		}
		t, err = resolve(ctx, r, c)
		return err
	})
	var e *Error
	switch {
	case errors.Is(err, resource.ErrNotFound):
		err = Unauthorized()
	case err != nil && !errors.As(err, &e):
		err = fmt.Errorf("look up a token: %w", err)
	}
	return t, rev, err
}

// resolve returns resource.ErrNotFound or an *Error for claims that are not good (any more).
func resolve(ctx context.Context, r resource.Reader, c claims) (*Token, error) {
	for _, id := range c.Audit[:min(1, len(c.Audit))] {
		_, err := r.Get(ctx, kindRevocation, id)
		if err == nil {
			return nil, Unauthorized()
		}
		if !errors.Is(err, resource.ErrNotFound) {
			return nil, err
		}
	}
	t := &Token{Methods: c.Methods, AuditIDs: c.Audit, System: c.System, Roles: []Role{}, claims: c,
		IssuedAt: time.UnixMicro(c.Issued).UTC(), ExpiresAt: time.UnixMicro(c.Expires).UTC()}
	if err := t.loadUser(ctx, r); err != nil {
		return nil, err
	}
	if err := t.loadScope(ctx, r); err != nil {
		return nil, err
	}
	if err := t.loadCredential(ctx, r); err != nil {
		return nil, err
	}
	t.caller = Caller{UserID: t.User.ID, UserName: t.User.Name, ProjectID: c.Project, DomainID: c.Domain}
	for _, role := range t.Roles {
		t.caller.Roles = append(t.caller.Roles, role.Name)
	}
	return t, nil
}

func (t *Token) loadUser(ctx context.Context, r resource.Reader) error {
	u, err := get[User](ctx, r, kindUser, t.claims.User)
	if err != nil {
		return err
	}
	if !u.Enabled || u.Generation != t.claims.Generation {
		return Unauthorized()
	}
	d, err := enabledDomain(ctx, r, u.DomainID)
	if err != nil {
		return err
	}
	t.User, t.UserDomain = *u, *d
	return nil
}

func (t *Token) loadScope(ctx context.Context, r resource.Reader) (err error) {
	target, scoped := t.claims.target()
	if !scoped {
		return nil
	}
	if target.ProjectID != "" {
		if t.Project, t.ProjectDomain, err = enabledProject(ctx, r, target.ProjectID); err != nil {
			return err
		}
	}
	if target.DomainID != "" {
		if t.Domain, err = enabledDomain(ctx, r, target.DomainID); err != nil {
			return err
		}
	}
	t.Roles, err = rolesOn(ctx, r, t.User.ID, target)
	if err == nil && len(t.Roles) == 0 {
		err = Unauthorized()
	}
	return err
}

// loadCredential keeps of the user's roles those that the application credential has. A credential that lost one is dead.
func (t *Token) loadCredential(ctx context.Context, r resource.Reader) error {
	if t.claims.Credential == "" {
		return nil
	}
	c, err := get[Credential](ctx, r, kindCredential, t.claims.Credential)
	if err != nil {
		return err
	}
	if c.UserID != t.claims.User || c.ProjectID != t.claims.Project || !c.covered(t.Roles) {
		return Unauthorized()
	}
	t.Credential = c
	t.Roles, err = expand(ctx, r, c.RoleIDs)
	return err
}

func enabledDomain(ctx context.Context, r resource.Reader, id string) (*Domain, error) {
	d, err := get[Domain](ctx, r, kindDomain, id)
	if err == nil && !d.Enabled {
		err = Unauthorized()
	}
	return d, err
}

func enabledProject(ctx context.Context, r resource.Reader, id string) (*Project, *Domain, error) {
	p, err := get[Project](ctx, r, kindProject, id)
	if err != nil {
		return nil, nil, err
	}
	if !p.Enabled {
		return nil, nil, Unauthorized()
	}
	d, err := enabledDomain(ctx, r, p.DomainID)
	return p, d, err
}

// rolesOn are the user's roles on the target with those that they imply, by name.
func rolesOn(ctx context.Context, r resource.Reader, user string, target Target) ([]Role, error) {
	q := resource.Query{Kind: kindAssignment, ProjectID: target.id(), Filters: []resource.Filter{equals("user_id", user)}}
	given, err := find[Assignment](ctx, r, q)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, a := range given {
		ids = append(ids, a.RoleID)
	}
	return expand(ctx, r, ids)
}

// expand returns these roles and all that they imply, by name.
func expand(ctx context.Context, r resource.Reader, ids []string) ([]Role, error) {
	roles, seen := []Role{}, map[string]bool{}
	for len(ids) > 0 {
		id := ids[0]
		ids = ids[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		role, err := get[Role](ctx, r, kindRole, id)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", id, err)
		}
		roles = append(roles, *role)
		ids = append(ids, role.Implies...)
	}
	slices.SortFunc(roles, func(a, b Role) int { return strings.Compare(a.Name, b.Name) })
	return roles, nil
}

// tokenCache keeps resolved tokens by the digest of their text. An entry is good only for the revision of identity at which
// it was resolved.
type tokenCache struct {
	mu sync.RWMutex
	m  map[[sha256.Size]byte]cached
}

type cached struct {
	rev   int64
	token *Token
}

const maxCached = 10_000

func newTokenCache() *tokenCache { return &tokenCache{m: map[[sha256.Size]byte]cached{}} }

func (c *tokenCache) get(key [sha256.Size]byte, rev int64) *Token {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.m[key]; e.token != nil && e.rev == rev {
		return e.token
	}
	return nil
}

func (c *tokenCache) put(key [sha256.Size]byte, rev int64, t *Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= maxCached {
		clear(c.m)
	}
	c.m[key] = cached{rev, t}
}
