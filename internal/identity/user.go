package identity

import (
	"context"
	"net/http"

	"culvert/internal/resource"
)

// Users lists all users, for an admin.
func (s *Service) Users(ctx context.Context, by *Token, f Filter) ([]User, error) {
	return list(ctx, s, by, "list_users", f.query(kindUser), func(u *User) bool { return f.keeps(u.Name) })
}

// User shows one, to an admin and to the user.
func (s *Service) User(ctx context.Context, by *Token, id string) (*User, error) {
	if !by.caller.Admin() && id != by.User.ID {
		return nil, forbidden("get_user")
	}
	return show[User](ctx, s, kindUser, id)
}

// read sets what the request names and returns its password, "" without one.
func (u *User) read(in map[string]any) (password string, given bool, err error) {
	f := &fields{in: in}
	f.name(maxName, &u.Name)
	f.text("description", 0, maxName, &u.Description)
	f.text("email", 0, maxName, &u.Email)
	f.text("default_project_id", 0, maxProjectName, &u.DefaultProjectID)
	f.flag("enabled", &u.Enabled)
	f.password("password", &password)
	f.fixed("id", u.ID)
	f.fixed("domain_id", u.DomainID, nil)
	f.options()
	for _, name := range []string{"links", "password_expires_at", "original_password", "federated"} {
		f.take(name)
	}
	f.extras(&u.Extra)
	_, given = in["password"]
	return password, given, f.err
}

// CreateUser makes a user from the attributes of a request. Without a password it cannot log in.
func (s *Service) CreateUser(ctx context.Context, by *Token, in map[string]any) (*User, error) {
	if !by.caller.Admin() {
		return nil, forbidden("create_user")
	}
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	u := &User{ID: id, DomainID: by.homeDomain(in), Enabled: true, PasswordChangedAt: s.Now().UTC(), Generation: 1}
	delete(in, "id")
	password, _, err := u.read(in)
	if err != nil {
		return nil, err
	}
	sealed, err := s.sealPassword(ctx, id, password)
	if err != nil {
		return nil, err
	}
	return u, s.change(ctx, func(tx resource.Tx) error {
		if _, err := tx.Get(ctx, kindDomain, u.DomainID); err != nil {
			return found(err, kindDomain, u.DomainID)
		}
		row := u.row()
		row.Sealed = sealed
		return duplicate(s.insert(ctx, tx, row, u), kindUser, u.Name)
	})
}

func (u *User) row() resource.Row {
	return resource.Row{Kind: kindUser, ID: u.ID, Uniq: u.DomainID + ":" + u.Name, Refs: []string{u.DomainID}}
}

// sealPassword returns what is stored of a password, nil for "".
func (s *Service) sealPassword(ctx context.Context, id, password string) ([]byte, error) {
	if password == "" {
		return nil, nil
	}
	return s.sealHash(ctx, PasswordPurpose, id, password)
}

func (s *Service) sealHash(ctx context.Context, purpose, id, secret string) ([]byte, error) {
	h, err := s.hasher.hash(ctx, secret)
	if err != nil {
		return nil, err
	}
	return s.Sealer.Seal(purpose, id, []byte(h))
}

// UpdateUser changes the attributes that the request names. A new password, or disabling the user, ends all of its tokens.
func (s *Service) UpdateUser(ctx context.Context, by *Token, id string, in map[string]any) (u *User, err error) {
	if !by.caller.Admin() {
		return nil, forbidden("update_user")
	}
	password := &fields{in: in} // hashed before the change begins: it takes long
	var text string
	if password.password("password", &text); password.err != nil {
		return nil, password.err
	}
	sealed, err := s.sealPassword(ctx, id, text)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func(tx resource.Tx) error {
		row := resource.Row{}
		if u, row, err = getRow[User](ctx, tx, kindUser, id); err != nil {
			return found(err, kindUser, id)
		}
		was := u.Enabled
		_, given, err := u.read(in)
		if err != nil {
			return err
		}
		if given {
			row.Sealed, u.PasswordChangedAt = sealed, s.Now().UTC()
		}
		if given || was && !u.Enabled {
			u.Generation++
		}
		return s.storeUser(ctx, tx, u, row.Sealed)
	})
	return u, err
}

func (s *Service) storeUser(ctx context.Context, tx resource.Tx, u *User, sealed []byte) error {
	row := u.row()
	row.Sealed = sealed
	return duplicate(update(ctx, tx, row, u), kindUser, u.Name)
}

// ChangePassword is a user's own change of password, which the old one proves: no token is needed, as at Keystone's, and what
// fails counts as a failed login. All of the user's tokens end.
func (s *Service) ChangePassword(ctx context.Context, id string, in map[string]any, source string) error {
	f, old, password := &fields{in: in}, "", ""
	f.password("original_password", &old)
	f.password("password", &password)
	if f.err != nil {
		return f.err
	}
	if old == "" || password == "" {
		return BadRequest("password and original_password are required.")
	}
	if old == password {
		return BadRequest("The new password must differ from the old one.")
	}
	u, stored, err := s.credentials(ctx, NameRef{ID: id})
	if err != nil {
		return err
	}
	if err := s.checkPassword(ctx, limitName(u, NameRef{ID: id}), stored, old, source); err != nil {
		return err
	}
	return s.setPassword(ctx, id, password, u.Generation)
}

// setPassword stores a new password unless the user changed since.
func (s *Service) setPassword(ctx context.Context, id, password string, generation int64) error {
	sealed, err := s.sealPassword(ctx, id, password)
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx resource.Tx) error {
		u, err := get[User](ctx, tx, kindUser, id)
		if err != nil {
			return found(err, kindUser, id)
		}
		if u.Generation != generation {
			return errorf(http.StatusConflict, "The user changed at the same time.")
		}
		u.Generation++
		u.PasswordChangedAt = s.Now().UTC()
		return s.storeUser(ctx, tx, u, sealed)
	})
}

// DeleteUser removes a user with its role assignments and application credentials; its tokens end.
func (s *Service) DeleteUser(ctx context.Context, by *Token, id string) error {
	if !by.caller.Admin() {
		return forbidden("delete_user")
	}
	return s.change(ctx, func(tx resource.Tx) error { return remove(ctx, tx, kindUser, id) })
}
