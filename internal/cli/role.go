package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"culvert/internal/identity"
)

type roleCmd struct {
	List   roleListCmd   `cmd:"" help:"List who has which role, and where."`
	Grant  roleGrantCmd  `cmd:"" help:"Give a user a role on a project, a domain or the system."`
	Revoke roleRevokeCmd `cmd:"" help:"Take a role away from a user."`
}

// rolesHelp says what roles mean.
const rolesHelp = `Roles: a reader sees what its project owns except pre-shared keys; a member also changes it; an admin, on whichever project,
domain or system, may do everything in every project; a service may ask whose a token is. Each of reader, member and admin
includes the ones before it.`

// assignmentView is a role assignment as it is shown; exactly one of project, domain and system is set.
type assignmentView struct {
	Role    string `json:"role"`
	RoleID  string `json:"role_id"`
	User    string `json:"user"`
	UserID  string `json:"user_id"`
	Project string `json:"project,omitempty"`
	Domain  string `json:"domain,omitempty"`
	System  bool   `json:"system,omitempty"`
}

func (v *assignmentView) where() string {
	switch {
	case v.System:
		return "system"
	case v.Domain != "":
		return "domain " + v.Domain
	}
	return "project " + v.Project
}

type roleListCmd struct {
	identityFlags
	User    string `placeholder:"USER" help:"Only this user's, by name or id."`
	Project string `placeholder:"PROJECT" help:"Only those on this project, by name or id."`
}

// Help is shown by culvert role list --help.
func (roleListCmd) Help() string { return rolesHelp + besides }

func (c *roleListCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		f := identity.AssignmentFilter{Names: true}
		if c.User != "" {
			u, err := d.findUser(c.User)
			if err != nil {
				return err
			}
			f.UserID = u.ID
		}
		if c.Project != "" {
			p, err := d.findProject(c.Project)
			if err != nil {
				return err
			}
			f.Target.ProjectID = p.ID
		}
		all, err := d.Assignments(d, d.by, f)
		if err != nil {
			return err
		}
		views, rows := []assignmentView{}, [][]string{}
		for i := range all {
			views = append(views, viewAssignment(&all[i]))
		}
		slices.SortFunc(views, func(a, b assignmentView) int {
			return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.where(), b.where()), cmp.Compare(a.Role, b.Role))
		})
		for _, v := range views {
			rows = append(rows, []string{v.Role, v.User, v.where()})
		}
		return d.table(views, "ROLE|USER|ON", rows)
	})
}

func viewAssignment(a *identity.NamedAssignment) assignmentView {
	v := assignmentView{Role: a.Role.Name, RoleID: a.RoleID, User: a.User.Name, UserID: a.UserID, System: a.System}
	if a.Project != nil {
		v.Project = a.Project.Name
	}
	if a.Domain != nil {
		v.Domain = a.Domain.Name
	}
	return v
}

// grantFlags name one assignment.
type grantFlags struct {
	identityFlags
	Role     string `arg:"" help:"The role: reader, member, admin, service or one of your own."`
	User     string `arg:"" help:"The user, by name or id."`
	Project  string `xor:"on" required:"" placeholder:"PROJECT" help:"On this project, by name or id."`
	OnDomain string `xor:"on" required:"" placeholder:"DOMAIN" help:"On this domain, by name or id."`
	System   bool   `xor:"on" required:"" help:"On the whole system."`
}

func (c *grantFlags) find(d *desk) (t identity.Target, v assignmentView, err error) {
	role, err := d.findRole(c.Role)
	if err != nil {
		return t, v, err
	}
	u, err := d.findUser(c.User)
	if err != nil {
		return t, v, err
	}
	v = assignmentView{Role: role.Name, RoleID: role.ID, User: u.Name, UserID: u.ID, System: c.System}
	t.System = c.System
	switch {
	case c.System:
	case c.OnDomain != "":
		dom, err := d.findDomain(c.OnDomain)
		if err != nil {
			return t, v, err
		}
		t.DomainID, v.Domain = dom.ID, dom.Name
	default:
		p, err := d.findProject(c.Project)
		if err != nil {
			return t, v, err
		}
		t.ProjectID, v.Project = p.ID, p.Name
	}
	return t, v, nil
}

type roleGrantCmd struct {
	grantFlags
}

// Help is shown by culvert role grant --help.
func (roleGrantCmd) Help() string {
	return "  culvert role grant member ann --project lab\n\n" + rolesHelp + besides
}

func (c *roleGrantCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		t, v, err := c.find(d)
		if err != nil {
			return err
		}
		if err := d.Grant(d, d.by, t, v.UserID, v.RoleID); err != nil {
			return err
		}
		return d.say(v, "%s has the role %s on %s.", v.User, v.Role, v.where())
	})
}

type roleRevokeCmd struct {
	grantFlags
}

// Help is shown by culvert role revoke --help.
func (roleRevokeCmd) Help() string {
	return `Tokens go by the roles of the moment: those for this project lose the role too, and end if it was the last one. Application
credentials of the user that need the role are deleted.` + besides
}

func (c *roleRevokeCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		t, v, err := c.find(d)
		if err != nil {
			return err
		}
		err = d.Ungrant(d, d.by, t, v.UserID, v.RoleID)
		if e := (*identity.Error)(nil); errors.As(err, &e) && e.Code == http.StatusNotFound {
			return fmt.Errorf("%s does not have the role %s on %s by an assignment of its own", v.User, v.Role, v.where())
		}
		if err != nil {
			return err
		}
		if err := d.adviseAdmin(); err != nil {
			return err
		}
		return d.say(v, "%s no longer has the role %s on %s.", v.User, v.Role, v.where())
	})
}
