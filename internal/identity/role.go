package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"

	"culvert/internal/resource"
)

// Roles lists all roles, for an admin.
func (s *Service) Roles(ctx context.Context, by *Token, f Filter) ([]Role, error) {
	return list(ctx, s, by, "list_roles", f.query(kindRole), func(r *Role) bool { return f.keeps(r.Name) })
}

// Role shows one, to an admin.
func (s *Service) Role(ctx context.Context, by *Token, id string) (*Role, error) {
	if !by.caller.Admin() {
		return nil, forbidden("get_role")
	}
	return show[Role](ctx, s, kindRole, id)
}

// Immutable says that the role's meaning is fixed: rights go by the names of these (Keystone's bootstrap does the same).
func (r *Role) Immutable() bool {
	return slices.Contains([]string{RoleReader, RoleMember, RoleAdmin, RoleService}, r.Name)
}

func (r *Role) row() resource.Row { return resource.Row{Kind: kindRole, ID: r.ID, Uniq: r.Name} }

func (r *Role) read(in map[string]any) error {
	f := &fields{in: in}
	f.name(maxName, &r.Name)
	f.text("description", 0, maxName, &r.Description)
	f.fixed("id", r.ID)
	f.fixed("domain_id", nil) // roles of one domain do not exist here
	f.options()
	f.take("links")
	f.extras(&r.Extra)
	return f.err
}

// CreateRole makes a role from the attributes of a request. It gives no right here, but other services may know its name.
func (s *Service) CreateRole(ctx context.Context, by *Token, in map[string]any) (*Role, error) {
	if !by.caller.Admin() {
		return nil, forbidden("create_role")
	}
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	r := &Role{ID: id, Implies: []string{}}
	delete(in, "id")
	if err := r.read(in); err != nil {
		return nil, err
	}
	return r, s.change(ctx, func(tx resource.Tx) error {
		return duplicate(s.insert(ctx, tx, r.row(), r), kindRole, r.Name)
	})
}

// mutable finds a role that may be changed: 403 for those of the first start.
func mutable(ctx context.Context, tx resource.Tx, id, action string) (*Role, error) {
	r, err := get[Role](ctx, tx, kindRole, id)
	if err != nil {
		return nil, found(err, kindRole, id)
	}
	if r.Immutable() {
		return nil, errorf(http.StatusForbidden, "Could not %s immutable role %q: the rights of its users go by its name.", action, r.Name)
	}
	return r, nil
}

// UpdateRole changes the attributes that the request names.
func (s *Service) UpdateRole(ctx context.Context, by *Token, id string, in map[string]any) (r *Role, err error) {
	if !by.caller.Admin() {
		return nil, forbidden("update_role")
	}
	err = s.change(ctx, func(tx resource.Tx) error {
		if r, err = mutable(ctx, tx, id, "update"); err != nil {
			return err
		}
		if err := r.read(in); err != nil {
			return err
		}
		return duplicate(update(ctx, tx, r.row(), r), kindRole, r.Name)
	})
	return r, err
}

// DeleteRole removes a role with its assignments.
func (s *Service) DeleteRole(ctx context.Context, by *Token, id string) error {
	if !by.caller.Admin() {
		return forbidden("delete_role")
	}
	return s.change(ctx, func(tx resource.Tx) error {
		if _, err := mutable(ctx, tx, id, "delete"); err != nil {
			return err
		}
		return remove(ctx, tx, kindRole, id)
	})
}

func compareText(a, b, a2, b2 string) int { return cmp.Or(cmp.Compare(a, b), cmp.Compare(a2, b2)) }

// row is named by what it says, so that the same assignment exists once.
func (a Assignment) row() resource.Row {
	t := Target{a.ProjectID, a.DomainID, a.System}
	sum := sha256.Sum256([]byte("assignment\x00" + a.UserID + "\x00" + a.RoleID + "\x00" + t.id()))
	row := resource.Row{Kind: kindAssignment, ID: hex.EncodeToString(sum[:16]), ProjectID: t.id(), Refs: []string{a.UserID, a.RoleID}}
	if !a.System {
		row.Refs = append(row.Refs, t.id())
	}
	return row
}

func assignment(t Target, user, role string) Assignment {
	return Assignment{UserID: user, RoleID: role, ProjectID: t.ProjectID, DomainID: t.DomainID, System: t.System}
}

func assignmentsOf(ctx context.Context, r resource.Reader, user string) ([]Assignment, error) {
	refs, err := r.Users(ctx, user)
	if err != nil {
		return nil, err
	}
	var out []Assignment
	for _, ref := range refs {
		if ref.Kind != kindAssignment {
			continue
		}
		a, err := get[Assignment](ctx, r, kindAssignment, ref.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, *a)
	}
	return out, nil
}

// known answers 404 for whichever of target, user and role does not exist. An empty role is not asked for.
func known(ctx context.Context, r resource.Reader, t Target, user, role string) error {
	ids := [][2]string{{kindProject, t.ProjectID}, {kindDomain, t.DomainID}, {kindUser, user}, {kindRole, role}}
	for _, k := range ids {
		if k[1] == "" {
			continue
		}
		if _, err := r.Get(ctx, k[0], k[1]); err != nil {
			return found(err, k[0], k[1])
		}
	}
	return nil
}

// Grant gives a user a role on a target; giving it twice is no error.
func (s *Service) Grant(ctx context.Context, by *Token, t Target, user, role string) error {
	if !by.caller.Admin() {
		return forbidden("create_grant")
	}
	return s.change(ctx, func(tx resource.Tx) error {
		if err := known(ctx, tx, t, user, role); err != nil {
			return err
		}
		return s.grant(ctx, tx, assignment(t, user, role))
	})
}

func (s *Service) grant(ctx context.Context, tx resource.Tx, a Assignment) error {
	row := a.row()
	if _, err := tx.Get(ctx, row.Kind, row.ID); !errors.Is(err, resource.ErrNotFound) {
		return err
	}
	return s.insert(ctx, tx, row, a)
}

// Ungrant takes a role away, with the application credentials that need it: 404 if it was not given.
func (s *Service) Ungrant(ctx context.Context, by *Token, t Target, user, role string) error {
	if !by.caller.Admin() {
		return forbidden("revoke_grant")
	}
	return s.change(ctx, func(tx resource.Tx) error {
		if err := known(ctx, tx, t, user, role); err != nil {
			return err
		}
		if err := granted(tx.Delete(ctx, kindAssignment, assignment(t, user, role).row().ID), role); err != nil {
			return err
		}
		return prune(ctx, tx, user, t.ProjectID)
	})
}

func granted(err error, role string) error {
	if errors.Is(err, resource.ErrNotFound) {
		return errorf(http.StatusNotFound, "Could not find role assignment with role: %s.", role)
	}
	return err
}

// Granted answers 404 unless the user has this role on the target by an assignment of its own.
func (s *Service) Granted(ctx context.Context, by *Token, t Target, user, role string) error {
	if !by.caller.Admin() {
		return forbidden("check_grant")
	}
	return s.Store.View(ctx, func(r resource.Reader) error {
		if err := known(ctx, r, t, user, role); err != nil {
			return err
		}
		_, err := r.Get(ctx, kindAssignment, assignment(t, user, role).row().ID)
		return granted(err, role)
	})
}

// Grants are the roles that the user has on the target by assignments of their own, by name.
func (s *Service) Grants(ctx context.Context, by *Token, t Target, user string) (out []Role, err error) {
	if !by.caller.Admin() {
		return nil, forbidden("list_grants")
	}
	err = s.Store.View(ctx, func(r resource.Reader) error {
		if err := known(ctx, r, t, user, ""); err != nil {
			return err
		}
		q := resource.Query{Kind: kindAssignment, ProjectID: t.id(), Filters: []resource.Filter{equals("user_id", user)}}
		given, err := find[Assignment](ctx, r, q)
		out = []Role{}
		for _, a := range given {
			role, err := get[Role](ctx, r, kindRole, a.RoleID)
			if err != nil {
				return err
			}
			out = append(out, *role)
		}
		return err
	})
	slices.SortFunc(out, func(a, b Role) int { return compareText(a.Name, b.Name, a.ID, b.ID) })
	return out, err
}
