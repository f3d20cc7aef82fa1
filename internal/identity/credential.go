package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"time"

	"culvert/internal/resource"
)

// maxCredentials is how many application credentials one user may have.
const maxCredentials = 200

// Credential lets a program log in as its user on one project, with a secret of its own (Keystone's application credential).
// It ends with its user, its project, any of its roles there, and at ExpiresAt; it outlives a change of the user's password.
type Credential struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"` // unique among the user's
	Description string     `json:"description,omitempty"`
	UserID      string     `json:"user_id"`
	ProjectID   string     `json:"project_id"`
	RoleIDs     []string   `json:"role_ids"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	// Unrestricted lets its tokens make and delete application credentials.
	Unrestricted bool `json:"unrestricted"`
}

// NamedCredential is a credential with its roles. Secret is set by CreateCredential alone.
type NamedCredential struct {
	Credential
	Roles  []Role
	Secret string
}

// covered says whether all its roles are among these.
func (c *Credential) covered(have []Role) bool {
	for _, id := range c.RoleIDs {
		if !slices.ContainsFunc(have, func(r Role) bool { return r.ID == id }) {
			return false
		}
	}
	return true
}

func (c *Credential) row() resource.Row {
	refs := append([]string{c.UserID, c.ProjectID}, c.RoleIDs...)
	return resource.Row{Kind: kindCredential, ID: c.ID, Uniq: c.UserID + ":" + c.Name, Refs: refs}
}

// read sets what the request names, and returns the secret that it chose, "" if none.
func (c *Credential) read(in map[string]any, by *Token, now time.Time) (secret string, err error) {
	f := &fields{in: in}
	f.name(maxName, &c.Name)
	f.text("description", 0, maxName, &c.Description)
	f.password("secret", &secret)
	f.flag("unrestricted", &c.Unrestricted)
	f.future("expires_at", now, &c.ExpiresAt)
	f.roles(by.Roles, &c.RoleIDs)
	f.fixed("project_id", by.caller.ProjectID, nil)
	if v, given := f.take("access_rules"); given && v != nil { // ignoring a restriction would give more than was asked for
		f.fail("access_rules", "access rules are not supported")
	}
	return secret, f.err
}

// CreateCredential makes an application credential of the caller's on the project of the caller's token, and returns it with
// its secret, which is in no other place. Without roles in the request it has all of the token's.
func (s *Service) CreateCredential(ctx context.Context, by *Token, user string, in map[string]any) (*NamedCredential, error) {
	if user != by.User.ID || by.restricted() {
		return nil, forbidden("create_application_credential")
	}
	if by.caller.ProjectID == "" {
		return nil, BadRequest("An application credential needs a token that is scoped to a project.")
	}
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	c := &NamedCredential{Credential: Credential{ID: id, UserID: user, ProjectID: by.caller.ProjectID}}
	if c.Secret, err = c.read(in, by, s.Now()); err != nil {
		return nil, err
	}
	if c.Secret == "" {
		raw, err := s.random(64)
		if err != nil {
			return nil, err
		}
		c.Secret = base64.RawURLEncoding.EncodeToString(raw)
	}
	sealed, err := s.sealHash(ctx, CredentialPurpose, id, c.Secret)
	if err != nil {
		return nil, err
	}
	return c, s.change(ctx, func(tx resource.Tx) error { return s.storeCredential(ctx, tx, c, sealed) })
}

func (s *Service) storeCredential(ctx context.Context, tx resource.Tx, c *NamedCredential, sealed []byte) error {
	others, err := credentialsOf(ctx, tx, c.UserID)
	if err != nil {
		return err
	}
	if len(others) >= maxCredentials {
		return errorf(http.StatusForbidden, "Unable to create additional application credentials, maximum of %d already exceeded for user.", maxCredentials)
	}
	have, err := rolesOn(ctx, tx, c.UserID, Target{ProjectID: c.ProjectID})
	if err != nil {
		return err
	}
	if !c.covered(have) {
		return BadRequest("Invalid application credential: a role is not assigned any more.")
	}
	for _, r := range have {
		if slices.Contains(c.RoleIDs, r.ID) {
			c.Roles = append(c.Roles, r)
		}
	}
	row := c.Credential.row()
	row.Sealed = sealed
	return duplicate(s.insert(ctx, tx, row, c.Credential), "application credential", c.Name)
}

func credentialsOf(ctx context.Context, r resource.Reader, user string) ([]Credential, error) {
	refs, err := r.Users(ctx, user)
	if err != nil {
		return nil, err
	}
	out := []Credential{}
	for _, ref := range refs {
		if ref.Kind != kindCredential {
			continue
		}
		c, err := get[Credential](ctx, r, kindCredential, ref.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Credential) int { return compareText(a.Name, b.Name, a.ID, b.ID) })
	return out, nil
}

func (c *NamedCredential) load(ctx context.Context, r resource.Reader) error {
	for _, id := range c.RoleIDs {
		role, err := get[Role](ctx, r, kindRole, id)
		if err != nil {
			return err
		}
		c.Roles = append(c.Roles, *role)
	}
	slices.SortFunc(c.Roles, func(a, b Role) int { return compareText(a.Name, b.Name, a.ID, b.ID) })
	return nil
}

// Credentials lists a user's application credentials by name, to the user and to admins. An empty name names all.
func (s *Service) Credentials(ctx context.Context, by *Token, user, name string) (out []NamedCredential, err error) {
	if user != by.User.ID && !by.caller.Admin() {
		return nil, forbidden("list_application_credentials")
	}
	err = s.Store.View(ctx, func(r resource.Reader) error {
		if _, err := r.Get(ctx, kindUser, user); err != nil {
			return found(err, kindUser, user)
		}
		all, err := credentialsOf(ctx, r, user)
		out = []NamedCredential{}
		for _, c := range all {
			n := NamedCredential{Credential: c}
			if name != "" && name != c.Name {
				continue
			}
			if err := n.load(ctx, r); err != nil {
				return err
			}
			out = append(out, n)
		}
		return err
	})
	return out, err
}

// Credential shows one, to its user and to admins.
func (s *Service) Credential(ctx context.Context, by *Token, user, id string) (n *NamedCredential, err error) {
	if user != by.User.ID && !by.caller.Admin() {
		return nil, forbidden("get_application_credential")
	}
	err = s.Store.View(ctx, func(r resource.Reader) error {
		c, err := credentialOf(ctx, r, user, id)
		if err != nil {
			return err
		}
		n = &NamedCredential{Credential: *c}
		return n.load(ctx, r)
	})
	return n, err
}

// credentialOf answers 404 for another user's credential as for none.
func credentialOf(ctx context.Context, r resource.Reader, user, id string) (*Credential, error) {
	c, err := get[Credential](ctx, r, kindCredential, id)
	if err == nil && c.UserID != user {
		err = resource.ErrNotFound
	}
	return c, found(err, "application credential", id)
}

// DeleteCredential ends an application credential and its tokens.
func (s *Service) DeleteCredential(ctx context.Context, by *Token, user, id string) error {
	if user != by.User.ID && !by.caller.Admin() || by.restricted() {
		return forbidden("delete_application_credential")
	}
	return s.change(ctx, func(tx resource.Tx) error {
		if _, err := credentialOf(ctx, tx, user, id); err != nil {
			return err
		}
		return tx.Delete(ctx, kindCredential, id)
	})
}

// restricted says that the token may make and delete no application credentials, lest a stolen one breeds.
func (t *Token) restricted() bool { return t.Credential != nil && !t.Credential.Unrestricted }

// CredentialRef names an application credential by id, or by name and user.
type CredentialRef struct {
	ID, Name string
	User     NameRef
}

func (s *Service) proveCredential(ctx context.Context, l Login) (claims, error) {
	c, u, stored, err := s.findCredential(ctx, l.Credential)
	if err != nil {
		return claims{}, err
	}
	name := "credential " + c.ID
	if c.ID == "" {
		name += l.Credential.ID + "\x00" + l.Credential.Name + "\x00" + limitName(User{}, l.Credential.User)
	}
	if err := s.checkPassword(ctx, name, stored, l.Secret, l.Source); err != nil {
		return claims{}, err
	}
	out := claims{User: u.ID, Generation: u.Generation, Project: c.ProjectID, Credential: c.ID}
	if c.ExpiresAt != nil {
		out.Expires = c.ExpiresAt.UnixMicro()
	}
	return out, nil
}

// findCredential finds a credential, its user and the stored hash; all zero when there is none, or none that may log in.
func (s *Service) findCredential(ctx context.Context, ref CredentialRef) (c Credential, u User, stored string, err error) {
	err = s.Store.View(ctx, func(r resource.Reader) error {
		id, err := credentialID(ctx, r, ref)
		if err != nil {
			return err
		}
		got, row, err := getRow[Credential](ctx, r, kindCredential, id)
		if err != nil {
			return err
		}
		user, err := get[User](ctx, r, kindUser, got.UserID)
		if err != nil || !user.Enabled || got.ExpiresAt != nil && !s.Now().Before(*got.ExpiresAt) {
			return err
		}
		c, u = *got, *user
		stored, err = s.openHash(CredentialPurpose, &row)
		return err
	})
	if errors.Is(err, resource.ErrNotFound) {
		err = nil
	}
	return c, u, stored, err
}

func credentialID(ctx context.Context, r resource.Reader, ref CredentialRef) (string, error) {
	if ref.ID != "" {
		return ref.ID, nil
	}
	user, err := resolveRef(ctx, r, kindUser, ref.User, func(u *User) string { return u.ID })
	if err != nil {
		return "", err
	}
	all, err := credentialsOf(ctx, r, user)
	if err != nil {
		return "", err
	}
	for _, c := range all {
		if c.Name == ref.Name {
			return c.ID, nil
		}
	}
	return "", resource.ErrNotFound
}

// ownScope refuses every scope but the credential's own, and with its own method even to ask for one.
func (s *Service) ownScope(ctx context.Context, l Login, c *claims) error {
	if l.Scope == (Scope{}) {
		return nil
	}
	want := claims{User: c.User}
	if !slices.Contains(l.Methods, "application_credential") {
		if err := s.scope(ctx, l.Scope, &want); err != nil {
			return err
		}
	}
	if want.Project != c.Project {
		return errorf(http.StatusUnauthorized, "Error authenticating with application credential: Application credentials cannot request a scope.")
	}
	return nil
}
