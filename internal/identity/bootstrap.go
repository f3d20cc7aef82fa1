package identity

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"

	"culvert/internal/resource"
)

// What a first start makes.
const (
	DefaultDomainID   = "default"
	DefaultDomainName = "Default"
	AdminName         = "admin" // of the first user and of the first project
)

// FirstAdmin is what a first start made. The password is in no other place: show it once.
type FirstAdmin struct {
	UserID, UserName, Password string
	ProjectID, ProjectName     string
	DomainID, DomainName       string
}

// Bootstrap fills an empty store with the domain Default, the project and the user admin with a generated password, the roles
// reader, member, admin and service, and makes the user an admin of project, domain and system. On a store that was filled
// before it does nothing and returns nil.
func (s *Service) Bootstrap(ctx context.Context) (*FirstAdmin, error) {
	b, err := s.newBootstrap(ctx)
	if err != nil {
		return nil, fmt.Errorf("bootstrap identity: %w", err)
	}
	did := false
	_, err = s.Store.Change(ctx, func(tx resource.Tx) error {
		_, err := tx.Get(ctx, kindState, stateID)
		if did = errors.Is(err, resource.ErrNotFound); !did {
			return err
		}
		return b.store(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("bootstrap identity: %w", err)
	}
	if !did {
		return nil, nil
	}
	return &FirstAdmin{b.user.ID, AdminName, b.password, b.project.ID, AdminName, DefaultDomainID, DefaultDomainName}, nil
}

// NewPassword makes a password by chance: 24 characters, 120 bits.
func (s *Service) NewPassword() (string, error) {
	raw, err := s.random(15)
	return base32.StdEncoding.EncodeToString(raw), err
}

// bootstrap is what is stored first.
type bootstrap struct {
	*Service
	password string
	sealed   []byte
	domain   Domain
	project  Project
	user     User
	roles    []Role // each implies the one before it, the last none
}

func (s *Service) newBootstrap(ctx context.Context) (*bootstrap, error) {
	b := &bootstrap{Service: s}
	var ids [6]string
	for i := range ids {
		id, err := s.newID()
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	var err error
	if b.password, err = s.NewPassword(); err != nil {
		return nil, err
	}
	b.domain = Domain{ID: DefaultDomainID, Name: DefaultDomainName, Description: "The default domain", Enabled: true}
	b.project = Project{ID: ids[0], Name: AdminName, DomainID: DefaultDomainID, Description: "The first project", Enabled: true, Tags: []string{}}
	b.user = User{ID: ids[1], Name: AdminName, DomainID: DefaultDomainID, Enabled: true, PasswordChangedAt: s.Now().UTC(), Generation: 1}
	b.roles = []Role{
		{ID: ids[2], Name: RoleReader, Description: "Sees what its project owns", Implies: []string{}},
		{ID: ids[3], Name: RoleMember, Description: "Changes what its project owns", Implies: []string{ids[2]}},
		{ID: ids[4], Name: RoleAdmin, Description: "May do everything in every project", Implies: []string{ids[3]}},
		{ID: ids[5], Name: RoleService, Description: "Validates the tokens of others", Implies: []string{}},
	}
	b.sealed, err = s.sealPassword(ctx, b.user.ID, b.password)
	return b, err
}

func (b *bootstrap) store(ctx context.Context, tx resource.Tx) error {
	user := b.user.row()
	user.Sealed = b.sealed
	err := errors.Join(
		b.insert(ctx, tx, resource.Row{Kind: kindState, ID: stateID}, struct{}{}),
		b.insert(ctx, tx, resource.Row{Kind: kindDomain, ID: b.domain.ID, Uniq: b.domain.Name}, b.domain),
		b.insert(ctx, tx, b.project.row(), b.project),
		b.insert(ctx, tx, user, b.user),
	)
	for _, r := range b.roles {
		err = errors.Join(err, b.insert(ctx, tx, resource.Row{Kind: kindRole, ID: r.ID, Uniq: r.Name}, r))
	}
	for _, t := range []Target{{ProjectID: b.project.ID}, {DomainID: b.domain.ID}, {System: true}} {
		err = errors.Join(err, b.insert(ctx, tx, assignment(t, b.user.ID, b.roles[2].ID).row(), assignment(t, b.user.ID, b.roles[2].ID)))
	}
	return err
}
