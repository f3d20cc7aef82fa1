package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"culvert/internal/resource"
)

// Kinds of rows in the store.
const (
	kindDomain     = "domain"
	kindProject    = "project"
	kindUser       = "user" // its sealed secret is the password's hash
	kindRole       = "role"
	kindAssignment = "role_assignment"
	kindCredential = "application_credential" // its sealed secret is the hash of the credential's
	kindRevocation = "revocation"             // id: the audit id of a token that is no longer valid
	kindState      = "identity_state"
)

// PasswordPurpose is what the hash of a user's password is sealed for, with the user's id.
const PasswordPurpose = "password"

// CredentialPurpose is what the hash of an application credential's secret is sealed for, with the credential's id.
const CredentialPurpose = "application_credential"

const (
	tokenPurpose = "token"
	stateID      = "identity"
	systemID     = "system" // the target of an assignment on the whole system
)

// Domain owns projects and users.
type Domain struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Enabled     bool           `json:"enabled"`
	Extra       map[string]any `json:"extra,omitempty"`
}

// Project owns the resources of the network API.
type Project struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	DomainID    string         `json:"domain_id"`
	Description string         `json:"description"`
	Enabled     bool           `json:"enabled"`
	Tags        []string       `json:"tags"`
	Extra       map[string]any `json:"extra,omitempty"` // attributes that Keystone does not know, kept as they came
}

// User logs in.
type User struct {
	ID               string         `json:"id"`
	Name             string         `json:"name"`
	DomainID         string         `json:"domain_id"`
	Description      string         `json:"description,omitempty"`
	Email            string         `json:"email,omitempty"`
	Enabled          bool           `json:"enabled"`
	DefaultProjectID string         `json:"default_project_id,omitempty"`
	Extra            map[string]any `json:"extra,omitempty"`
	// PasswordChangedAt is when the password was last set.
	PasswordChangedAt time.Time `json:"password_changed_at"`
	// Generation counts what ends every token of this user: a new password, being disabled. A token carries the one it was
	// issued under. (A time would need one clock for all servers, and would forget the rest of its own second.)
	Generation int64 `json:"generation"`
}

// Role is a right that an assignment gives.
type Role struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Implies     []string       `json:"implies"` // ids of roles that this one includes
	Extra       map[string]any `json:"extra,omitempty"`
}

// Assignment gives a user a role on exactly one of project, domain and system.
type Assignment struct {
	UserID    string `json:"user_id"`
	RoleID    string `json:"role_id"`
	ProjectID string `json:"project_id,omitempty"`
	DomainID  string `json:"domain_id,omitempty"`
	System    bool   `json:"system,omitempty"`
}

// Target is what a role is assigned on; exactly one field is set.
type Target struct {
	ProjectID, DomainID string
	System              bool
}

func (t Target) id() string {
	switch {
	case t.System:
		return systemID
	case t.DomainID != "":
		return t.DomainID
	}
	return t.ProjectID
}

type revocation struct {
	ExpiresAt time.Time `json:"expires_at"` // of the token; the row means nothing after
}

func get[T any](ctx context.Context, r resource.Reader, kind, id string) (*T, error) {
	v, _, err := getRow[T](ctx, r, kind, id)
	return v, err
}

func getRow[T any](ctx context.Context, r resource.Reader, kind, id string) (*T, resource.Row, error) {
	row, err := r.Get(ctx, kind, id)
	if err != nil {
		return nil, row, err
	}
	v, err := decode[T](&row)
	return v, row, err
}

func find[T any](ctx context.Context, r resource.Reader, q resource.Query) ([]T, error) {
	out := []T{}
	err := r.Find(ctx, q, func(row *resource.Row) error {
		v, err := decode[T](row)
		if err == nil {
			out = append(out, *v)
		}
		return err
	})
	return out, err
}

func decode[T any](row *resource.Row) (*T, error) {
	v := new(T)
	dec := json.NewDecoder(bytes.NewReader(row.Doc))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return nil, fmt.Errorf("%s %s: %w", row.Kind, row.ID, err)
	}
	return v, nil
}

func equals(name, value string) resource.Filter {
	return resource.Filter{Column: resource.Column{Name: name}, Values: []string{value}}
}

// byName finds the one row of this name in a domain; with an empty domain, of this name at all.
func byName[T any](ctx context.Context, r resource.Reader, kind, name, domain string) (*T, error) {
	q := resource.Query{Kind: kind, Filters: []resource.Filter{equals("name", name)}, Limit: 2}
	if domain != "" {
		q.Filters = append(q.Filters, equals("domain_id", domain))
	}
	all, err := find[T](ctx, r, q)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, resource.ErrNotFound
	}
	return &all[0], nil
}
