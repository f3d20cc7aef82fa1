package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"culvert/internal/resource"
)

// Ref names a domain by id or by name; both empty names nothing.
type Ref struct{ ID, Name string }

// NameRef names a user or a project by id, or by name and domain.
type NameRef struct {
	ID, Name string
	Domain   Ref
}

// Scope is what a login asks the token to be good for. The zero value asks for the user's default project, if there is one.
type Scope struct {
	Unscoped bool
	Project  *NameRef
	Domain   *Ref
	System   bool
}

// Login is a request for a token.
type Login struct {
	Methods    []string // "password", "token", "application_credential"
	User       NameRef  // of the method password
	Password   string
	Token      string        // of the method token
	Credential CredentialRef // of the method application_credential
	Secret     string        // likewise
	Scope      Scope
	Source     string // address of the client; its failures are counted together
}

// Login answers a new token's text and what it stands for. Its errors are *Error: 401, and 429 after too many failures.
func (s *Service) Login(ctx context.Context, l Login) (string, *Token, error) {
	c, err := s.proveAll(ctx, l)
	if err != nil {
		return "", nil, err
	}
	now := s.Now()
	c.Issued = now.UnixMicro()
	if last := now.Add(s.TokenLifetime).UnixMicro(); c.Expires == 0 || c.Expires > last {
		c.Expires = last
	}
	id, err := s.newAuditID()
	if err != nil {
		return "", nil, err
	}
	c.Audit = append([]string{id}, c.Audit...)
	if c.Credential != "" {
		err = s.ownScope(ctx, l, &c)
	} else {
		err = s.scope(ctx, l.Scope, &c)
	}
	if err != nil {
		return "", nil, err
	}
	t, _, err := s.lookUp(ctx, c)
	if err != nil {
		return "", nil, err
	}
	text, err := s.sealToken(c)
	return text, t, err
}

// proveAll checks every method of the login; all must prove the same user.
func (s *Service) proveAll(ctx context.Context, l Login) (claims, error) {
	var c claims
	for _, m := range l.Methods {
		got, err := s.prove(ctx, m, l)
		if err != nil {
			return c, err
		}
		if c.User != "" && c.User != got.User {
			return c, Unauthorized()
		}
		if c.Credential != "" && got.Credential != "" && c.Credential != got.Credential {
			return c, Unauthorized()
		}
		c.User, c.Generation = got.User, got.Generation
		if got.Credential != "" {
			c.Credential, c.Project = got.Credential, got.Project
		}
		if got.Expires != 0 && (c.Expires == 0 || got.Expires < c.Expires) {
			c.Expires = got.Expires // a token ends with what it was made from
		}
		if m == "token" {
			c.Audit = got.Audit[:min(1, len(got.Audit))]
		}
		for _, m := range append([]string{m}, got.Methods...) {
			if !slices.Contains(c.Methods, m) {
				c.Methods = append(c.Methods, m)
			}
		}
	}
	if c.User == "" {
		return c, BadRequest("auth.identity.methods must name at least one of password, token and application_credential.")
	}
	return c, nil
}

func (s *Service) prove(ctx context.Context, method string, l Login) (claims, error) {
	switch method {
	case "password":
		return s.provePassword(ctx, l)
	case "token":
		t, err := s.Validate(ctx, l.Token)
		if err != nil {
			return claims{}, err
		}
		return t.claims, nil
	case "application_credential":
		return s.proveCredential(ctx, l)
	}
	return claims{}, errorf(401, "Attempted to authenticate with an unsupported method; supported are password, token and application_credential.")
}

func (s *Service) provePassword(ctx context.Context, l Login) (claims, error) {
	u, stored, err := s.credentials(ctx, l.User)
	if err != nil {
		return claims{}, err
	}
	if err := s.checkPassword(ctx, limitName(u, l.User), stored, l.Password, l.Source); err != nil {
		return claims{}, err
	}
	return claims{User: u.ID, Generation: u.Generation}, nil
}

// limitName is what failures are counted under: the user, or what was said where there is no such user.
func limitName(u User, ref NameRef) string {
	if u.ID != "" {
		return u.ID
	}
	return ref.ID + "\x00" + ref.Name + "\x00" + ref.Domain.ID + "\x00" + ref.Domain.Name
}

// checkPassword compares, at the same cost whether or not there is such a user, and counts what fails. A password that was
// verified a short time ago is not refused for the failures of others.
func (s *Service) checkPassword(ctx context.Context, name, stored, password, source string) error {
	d := s.hasher.digest(name, stored, password)
	if s.hasher.known(d) {
		return nil
	}
	if err := s.hasher.enter(ctx); err != nil {
		return err
	}
	defer s.hasher.leave()
	// Both again in here: others waited for the same slot.
	if s.hasher.known(d) {
		return nil
	}
	if wait := s.limit.wait(name, source); wait > 0 {
		return tooMany(wait)
	}
	ok, err := verify(stored, s.hasher.dummy, password)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !ok {
		s.limit.failed(name, source)
		return Unauthorized()
	}
	s.hasher.remember(d)
	return nil
}

// credentials finds a user and the stored hash; a zero User and "" when there is none, or none that may log in.
func (s *Service) credentials(ctx context.Context, ref NameRef) (u User, stored string, err error) {
	err = s.Store.View(ctx, func(r resource.Reader) error {
		id, err := resolveRef[User](ctx, r, kindUser, ref, func(u *User) string { return u.ID })
		if err != nil {
			return err
		}
		found, row, err := getRow[User](ctx, r, kindUser, id)
		if err != nil || !found.Enabled {
			return err
		}
		u = *found
		stored, err = s.openHash(PasswordPurpose, &row)
		return err
	})
	if errors.Is(err, resource.ErrNotFound) {
		err = nil
	}
	return u, stored, err
}

func (s *Service) openHash(purpose string, row *resource.Row) (string, error) {
	if row.Sealed == nil {
		return "", nil
	}
	b, err := s.Sealer.Open(purpose, row.ID, row.Sealed)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", row.Kind, row.ID, err)
	}
	return string(b), nil
}

// resolveRef returns the id of what ref names, or resource.ErrNotFound.
func resolveRef[T any](ctx context.Context, r resource.Reader, kind string, ref NameRef, id func(*T) string) (string, error) {
	if ref.ID != "" {
		return ref.ID, nil
	}
	domain, err := domainID(ctx, r, ref.Domain)
	if err != nil {
		return "", err
	}
	v, err := byName[T](ctx, r, kind, ref.Name, domain)
	if err != nil {
		return "", err
	}
	return id(v), nil
}

func domainID(ctx context.Context, r resource.Reader, ref Ref) (string, error) {
	if ref.ID != "" {
		return ref.ID, nil
	}
	if ref.Name == "" {
		return "", resource.ErrNotFound
	}
	d, err := byName[Domain](ctx, r, kindDomain, ref.Name, "")
	if err != nil {
		return "", err
	}
	return d.ID, nil
}

// scope puts into c what the login asks for.
func (s *Service) scope(ctx context.Context, want Scope, c *claims) error {
	err := s.Store.View(ctx, func(r resource.Reader) (err error) {
		switch {
		case want.Unscoped:
		case want.System:
			c.System = true
		case want.Project != nil:
			c.Project, err = resolveRef[Project](ctx, r, kindProject, *want.Project, func(p *Project) string { return p.ID })
		case want.Domain != nil:
			c.Domain, err = domainID(ctx, r, *want.Domain)
		default:
			c.Project, err = defaultProject(ctx, r, c.User)
		}
		return err
	})
	if errors.Is(err, resource.ErrNotFound) {
		return Unauthorized()
	}
	return err
}

// defaultProject is "" when the user has none, or may not use it now: the token is then unscoped, as Keystone's.
func defaultProject(ctx context.Context, r resource.Reader, user string) (string, error) {
	u, err := get[User](ctx, r, kindUser, user)
	if err != nil || u.DefaultProjectID == "" {
		return "", err
	}
	_, _, err = enabledProject(ctx, r, u.DefaultProjectID)
	var e *Error
	if errors.Is(err, resource.ErrNotFound) || errors.As(err, &e) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	roles, err := rolesOn(ctx, r, user, Target{ProjectID: u.DefaultProjectID})
	if err != nil || len(roles) == 0 {
		return "", err
	}
	return u.DefaultProjectID, nil
}
