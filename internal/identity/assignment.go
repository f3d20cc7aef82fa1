package identity

import (
	"context"
	"slices"

	"culvert/internal/resource"
)

// AssignmentFilter narrows the list of assignments; an empty field does not. Effective lists the implied roles as well.
type AssignmentFilter struct {
	UserID, RoleID   string
	Target           Target
	Names, Effective bool
}

// NamedAssignment is an assignment with what it names; the pointers are set when names were asked for.
type NamedAssignment struct {
	Assignment
	User                      *User
	UserDomain, ProjectDomain *Domain
	Role                      *Role
	Project                   *Project
	Domain                    *Domain
}

// Assignments lists role assignments: all of them for an admin, their own for others.
func (s *Service) Assignments(ctx context.Context, by *Token, f AssignmentFilter) (out []NamedAssignment, err error) {
	if !by.caller.Admin() && f.UserID != by.User.ID {
		return nil, forbidden("list_role_assignments")
	}
	q := resource.Query{Kind: kindAssignment, ProjectID: f.Target.id()}
	if f.UserID != "" {
		q.Filters = append(q.Filters, equals("user_id", f.UserID))
	}
	err = s.Store.View(ctx, func(r resource.Reader) error {
		given, err := find[Assignment](ctx, r, q)
		if err != nil {
			return err
		}
		if f.Effective {
			if given, err = effective(ctx, r, given); err != nil {
				return err
			}
		}
		out = []NamedAssignment{}
		for _, a := range given {
			if f.RoleID != "" && f.RoleID != a.RoleID {
				continue
			}
			n := NamedAssignment{Assignment: a}
			if f.Names {
				if err := n.load(ctx, r); err != nil {
					return err
				}
			}
			out = append(out, n)
		}
		return nil
	})
	return out, err
}

// effective adds an assignment for each implied role.
func effective(ctx context.Context, r resource.Reader, given []Assignment) ([]Assignment, error) {
	var out []Assignment
	for _, a := range given {
		roles, err := expand(ctx, r, []string{a.RoleID})
		if err != nil {
			return nil, err
		}
		for _, role := range roles {
			a.RoleID = role.ID
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

func (n *NamedAssignment) load(ctx context.Context, r resource.Reader) (err error) {
	if n.User, err = get[User](ctx, r, kindUser, n.UserID); err != nil {
		return err
	}
	if n.UserDomain, err = get[Domain](ctx, r, kindDomain, n.User.DomainID); err != nil {
		return err
	}
	if n.Role, err = get[Role](ctx, r, kindRole, n.RoleID); err != nil {
		return err
	}
	if n.DomainID != "" {
		n.Domain, err = get[Domain](ctx, r, kindDomain, n.DomainID)
	}
	if n.ProjectID == "" || err != nil {
		return err
	}
	if n.Project, err = get[Project](ctx, r, kindProject, n.ProjectID); err != nil {
		return err
	}
	n.ProjectDomain, err = get[Domain](ctx, r, kindDomain, n.Project.DomainID)
	return err
}
