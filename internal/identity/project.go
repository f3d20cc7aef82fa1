package identity

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"culvert/internal/resource"
)

// Filter narrows a list; an empty field does not. Enabled is "", "true" or "false".
type Filter struct {
	Name, NameContains, DomainID, Enabled string
}

func (f Filter) query(kind string) resource.Query {
	q := resource.Query{Kind: kind, Order: []resource.Order{{Column: resource.Column{Name: "name"}}}}
	if f.Name != "" {
		q.Filters = append(q.Filters, equals("name", f.Name))
	}
	if f.DomainID != "" {
		q.Filters = append(q.Filters, equals("domain_id", f.DomainID))
	}
	if on, err := strconv.ParseBool(f.Enabled); err == nil {
		c := resource.Column{Name: "enabled", Type: resource.Bool}
		q.Filters = append(q.Filters, resource.Filter{Column: c, Values: []string{strconv.FormatBool(on)}})
	}
	return q
}

// Projects lists all projects, for an admin.
func (s *Service) Projects(ctx context.Context, by *Token, f Filter) ([]Project, error) {
	return list(ctx, s, by, "list_projects", f.query(kindProject), func(p *Project) bool { return f.keeps(p.Name) })
}

// Project shows one, to an admin and to who works in it.
func (s *Service) Project(ctx context.Context, by *Token, id string) (*Project, error) {
	if !by.caller.Admin() && (id == "" || id != by.caller.ProjectID) {
		return nil, forbidden("get_project")
	}
	return show[Project](ctx, s, kindProject, id)
}

func (f Filter) keeps(name string) bool { return strings.Contains(name, f.NameContains) }

func list[T any](ctx context.Context, s *Service, by *Token, action string, q resource.Query, keep func(*T) bool) (out []T, err error) {
	if !by.caller.Admin() {
		return nil, forbidden(action)
	}
	err = s.Store.View(ctx, func(r resource.Reader) error {
		out, err = find[T](ctx, r, q)
		return err
	})
	return slices.DeleteFunc(out, func(v T) bool { return !keep(&v) }), err
}

func show[T any](ctx context.Context, s *Service, kind, id string) (v *T, err error) {
	err = s.Store.View(ctx, func(r resource.Reader) error {
		v, err = get[T](ctx, r, kind, id)
		return err
	})
	return v, found(err, kind, id)
}

func (p *Project) read(in map[string]any, domain string) error {
	f := &fields{in: in}
	f.name(maxProjectName, &p.Name)
	f.text("description", 0, maxName, &p.Description)
	f.flag("enabled", &p.Enabled)
	f.tags(&p.Tags)
	f.fixed("id", p.ID)
	f.fixed("domain_id", domain, nil)
	f.fixed("parent_id", domain, nil) // projects of projects do not exist here
	f.fixed("is_domain", false)
	f.options()
	f.take("links")
	f.extras(&p.Extra)
	return f.err
}

// CreateProject makes a project from the attributes of a request, in the domain that it names or else the caller's.
func (s *Service) CreateProject(ctx context.Context, by *Token, in map[string]any) (*Project, error) {
	if !by.caller.Admin() {
		return nil, forbidden("create_project")
	}
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	p := &Project{ID: id, DomainID: by.homeDomain(in), Enabled: true, Tags: []string{}}
	delete(in, "id")
	if err := p.read(in, p.DomainID); err != nil {
		return nil, err
	}
	return p, s.change(ctx, func(tx resource.Tx) error {
		if _, err := tx.Get(ctx, kindDomain, p.DomainID); err != nil {
			return found(err, kindDomain, p.DomainID)
		}
		return duplicate(s.insert(ctx, tx, p.row(), p), kindProject, p.Name)
	})
}

// homeDomain is the domain that a new project or user belongs to.
func (t *Token) homeDomain(in map[string]any) string {
	if d, ok := in["domain_id"].(string); ok {
		return d
	}
	switch {
	case t.Domain != nil:
		return t.Domain.ID
	case t.Project != nil:
		return t.Project.DomainID
	}
	return t.User.DomainID
}

func (p *Project) row() resource.Row {
	return resource.Row{Kind: kindProject, ID: p.ID, Uniq: p.DomainID + ":" + p.Name, Refs: []string{p.DomainID}}
}

// UpdateProject changes the attributes that the request names. Disabling a project makes its tokens invalid.
func (s *Service) UpdateProject(ctx context.Context, by *Token, id string, in map[string]any) (p *Project, err error) {
	if !by.caller.Admin() {
		return nil, forbidden("update_project")
	}
	err = s.change(ctx, func(tx resource.Tx) error {
		if p, err = get[Project](ctx, tx, kindProject, id); err != nil {
			return found(err, kindProject, id)
		}
		if err := p.read(in, p.DomainID); err != nil {
			return err
		}
		return duplicate(update(ctx, tx, p.row(), p), kindProject, p.Name)
	})
	return p, err
}

func update(ctx context.Context, tx resource.Tx, row resource.Row, v any) (err error) {
	if row.Doc, err = resource.Encode(v); err != nil {
		return err
	}
	return tx.Update(ctx, row)
}

// DeleteProject removes a project with the role assignments on it. What it owns in the network API stays, visible to admins:
// Keystone does not know of it either.
func (s *Service) DeleteProject(ctx context.Context, by *Token, id string) error {
	if !by.caller.Admin() {
		return forbidden("delete_project")
	}
	return s.change(ctx, func(tx resource.Tx) error { return remove(ctx, tx, kindProject, id) })
}

func duplicate(err error, kind, name string) error {
	if errors.Is(err, resource.ErrDuplicate) {
		return conflict(kind, name)
	}
	return err
}

// OwnProjects are the enabled projects on which the user has a role, by name.
func (s *Service) OwnProjects(ctx context.Context, by *Token, user string) (out []Project, err error) {
	if !by.caller.Admin() && user != by.User.ID {
		return nil, forbidden("list_user_projects")
	}
	err = s.Store.View(ctx, func(r resource.Reader) error {
		if _, err := r.Get(ctx, kindUser, user); err != nil {
			return found(err, kindUser, user)
		}
		given, err := assignmentsOf(ctx, r, user)
		if err != nil {
			return err
		}
		out = []Project{}
		for _, a := range given {
			have := slices.ContainsFunc(out, func(p Project) bool { return p.ID == a.ProjectID })
			if a.ProjectID == "" || have {
				continue
			}
			p, err := get[Project](ctx, r, kindProject, a.ProjectID)
			if err != nil {
				return err
			}
			if p.Enabled {
				out = append(out, *p)
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Project) int { return compareText(a.Name, b.Name, a.ID, b.ID) })
	return out, err
}
