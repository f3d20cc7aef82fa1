package identity

import (
	"context"
	"net/http"
	"slices"

	"culvert/internal/resource"
)

// Domains lists all domains, for an admin.
func (s *Service) Domains(ctx context.Context, by *Token, f Filter) ([]Domain, error) {
	return list(ctx, s, by, "list_domains", f.query(kindDomain), func(d *Domain) bool { return f.keeps(d.Name) })
}

// Domain shows one, to an admin and to the domain's own users.
func (s *Service) Domain(ctx context.Context, by *Token, id string) (*Domain, error) {
	if !by.caller.Admin() && id != by.UserDomain.ID {
		return nil, forbidden("get_domain")
	}
	return show[Domain](ctx, s, kindDomain, id)
}

func (d *Domain) row() resource.Row { return resource.Row{Kind: kindDomain, ID: d.ID, Uniq: d.Name} }

func (d *Domain) read(in map[string]any) error {
	f := &fields{in: in}
	f.name(maxProjectName, &d.Name)
	f.text("description", 0, maxName, &d.Description)
	f.flag("enabled", &d.Enabled)
	f.fixed("id", d.ID)
	f.options()
	f.noTags()
	f.take("links")
	f.extras(&d.Extra)
	return f.err
}

// CreateDomain makes a domain from the attributes of a request; it begins without users and projects.
func (s *Service) CreateDomain(ctx context.Context, by *Token, in map[string]any) (*Domain, error) {
	if !by.caller.Admin() {
		return nil, forbidden("create_domain")
	}
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	d := &Domain{ID: id, Enabled: true}
	delete(in, "id")
	if err := d.read(in); err != nil {
		return nil, err
	}
	return d, s.change(ctx, func(tx resource.Tx) error {
		return duplicate(s.insert(ctx, tx, d.row(), d), kindDomain, d.Name)
	})
}

// UpdateDomain changes the attributes that the request names. Disabling a domain makes the tokens of its users, and those for
// its projects, invalid.
func (s *Service) UpdateDomain(ctx context.Context, by *Token, id string, in map[string]any) (d *Domain, err error) {
	if !by.caller.Admin() {
		return nil, forbidden("update_domain")
	}
	err = s.change(ctx, func(tx resource.Tx) error {
		if d, err = get[Domain](ctx, tx, kindDomain, id); err != nil {
			return found(err, kindDomain, id)
		}
		if err := d.read(in); err != nil {
			return err
		}
		return duplicate(update(ctx, tx, d.row(), d), kindDomain, d.Name)
	})
	return d, err
}

// DeleteDomain removes a disabled domain with its users and projects: 403 while it is enabled, and always for the first one,
// which new users and projects go to.
func (s *Service) DeleteDomain(ctx context.Context, by *Token, id string) error {
	if !by.caller.Admin() {
		return forbidden("delete_domain")
	}
	return s.change(ctx, func(tx resource.Tx) error {
		d, err := get[Domain](ctx, tx, kindDomain, id)
		switch {
		case err != nil:
			return found(err, kindDomain, id)
		case id == DefaultDomainID:
			return errorf(http.StatusForbidden, "The domain %q cannot be deleted.", d.Name)
		case d.Enabled:
			return errorf(http.StatusForbidden, "Cannot delete a domain that is enabled, please disable it first.")
		}
		return remove(ctx, tx, kindDomain, id)
	})
}

// OwnDomains are the enabled domains on which the token's user has a role, by name.
func (s *Service) OwnDomains(ctx context.Context, by *Token) (out []Domain, err error) {
	err = s.Store.View(ctx, func(r resource.Reader) error {
		given, err := assignmentsOf(ctx, r, by.User.ID)
		if err != nil {
			return err
		}
		out = []Domain{}
		for _, a := range given {
			have := slices.ContainsFunc(out, func(d Domain) bool { return d.ID == a.DomainID })
			if a.DomainID == "" || have {
				continue
			}
			d, err := get[Domain](ctx, r, kindDomain, a.DomainID)
			if err != nil {
				return err
			}
			if d.Enabled {
				out = append(out, *d)
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Domain) int { return compareText(a.Name, b.Name, a.ID, b.ID) })
	return out, err
}
