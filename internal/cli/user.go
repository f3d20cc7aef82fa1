package cli

import (
	"errors"
	"fmt"

	"culvert/internal/identity"
)

type userCmd struct {
	List     userListCmd     `cmd:"" help:"List users."`
	Create   userCreateCmd   `cmd:"" help:"Make a user, with a role on a project if asked."`
	Set      userSetCmd      `cmd:"" help:"Rename, enable or disable a user, or change what is known of it."`
	Password userPasswordCmd `cmd:"" help:"Give a user a new password, also when the old one is lost."`
	Delete   userDeleteCmd   `cmd:"" help:"Delete a user with its roles and application credentials."`
}

// userView is a user as it is shown. Password is set only where it was made by chance.
type userView struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	DomainID         string `json:"domain_id"`
	Enabled          bool   `json:"enabled"`
	Email            string `json:"email"`
	Description      string `json:"description"`
	DefaultProjectID string `json:"default_project_id"`
	Password         string `json:"password,omitempty"`
}

func viewUser(u *identity.User, password string) userView {
	return userView{u.ID, u.Name, u.DomainID, u.Enabled, u.Email, u.Description, u.DefaultProjectID, password}
}

type userListCmd struct {
	identityFlags
}

func (c *userListCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		all, err := d.Users(d, d.by, identity.Filter{DomainID: d.domain.ID})
		if err != nil {
			return err
		}
		views, rows := []userView{}, [][]string{}
		for i := range all {
			u := &all[i]
			views = append(views, viewUser(u, ""))
			rows = append(rows, []string{u.Name, yesNo(u.Enabled), u.Email, u.ID})
		}
		return d.table(views, "NAME|ENABLED|EMAIL|ID", rows)
	})
}

type userCreateCmd struct {
	identityFlags
	passwordFlags
	Name        string `arg:"" help:"Name to log in with."`
	Project     string `placeholder:"PROJECT" help:"Project, by name or id, that becomes its default and on which it gets the role."`
	Role        string `default:"member" placeholder:"ROLE" help:"Role on that project: reader, member or admin (${default})."`
	Email       string `help:"Address to reach the user."`
	Description string `help:"Free text."`
}

// Help is shown by culvert user create --help.
func (userCreateCmd) Help() string {
	return `A password is made by chance and printed once, unless one comes on standard input:

  culvert user create ann --project lab --role reader
  printf %s "$SECRET" | culvert user create robot --project lab --password-stdin

A reader sees what its project owns except pre-shared keys, a member changes it, an admin may do everything in every project.` + besides
}

func (c *userCreateCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		in := map[string]any{"name": c.Name, "domain_id": d.domain.ID, "email": c.Email, "description": c.Description}
		p, role, err := c.grant(d)
		if err != nil {
			return err
		}
		if p != nil {
			in["default_project_id"] = p.ID
		}
		password, shown, err := c.passwordFlags.get(d)
		if err != nil {
			return err
		}
		in["password"] = password
		u, err := d.CreateUser(d, d.by, in)
		if err != nil {
			return err
		}
		if p != nil { // what follows shows the password even if this fails: it is in no other place
			err = d.Grant(d, d.by, identity.Target{ProjectID: p.ID}, u.ID, role.ID)
		}
		text := fmt.Sprintf("Made the user %s (%s).", u.Name, u.ID)
		if p != nil && err == nil {
			text += fmt.Sprintf(" It has the role %s on the project %s.", role.Name, p.Name)
		}
		return errors.Join(err, d.say(viewUser(u, shown), "%s%s", text, passwordLine(u.Name, shown)))
	})
}

// grant finds project and role before anything is made.
func (c *userCreateCmd) grant(d *desk) (*identity.Project, *identity.Role, error) {
	if c.Project == "" {
		return nil, nil, nil
	}
	p, err := d.findProject(c.Project)
	if err != nil {
		return nil, nil, err
	}
	role, err := d.findRole(c.Role)
	return p, role, err
}

func passwordLine(name, shown string) string {
	if shown == "" {
		return ""
	}
	return fmt.Sprintf("\nPassword of %s, shown this once: %s", name, shown)
}

type userSetCmd struct {
	identityFlags
	switches
	User           string  `arg:"" help:"The user, by name or id."`
	Name           *string `placeholder:"NAME" help:"New name."`
	Email          *string `help:"New address; \"\" for none."`
	Description    *string `help:"New free text; \"\" for none."`
	DefaultProject *string `placeholder:"PROJECT" help:"Project that a login without a scope is for, by name or id; \"\" for none. It gives no role there."`
}

// Help is shown by culvert user set --help.
func (userSetCmd) Help() string {
	return `Disabling a user ends all of its tokens and stops its application credentials; enabling it does not bring old tokens back.

  culvert user set ann --disable
  culvert user set ann --name anna --email anna@example.org` + besides
}

func (c *userSetCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		u, err := d.findUser(c.User)
		if err != nil {
			return err
		}
		in, err := c.changes(map[string]*string{"name": c.Name, "email": c.Email, "description": c.Description, "default_project_id": c.DefaultProject})
		if err != nil {
			return err
		}
		if c.DefaultProject != nil && *c.DefaultProject != "" {
			p, err := d.findProject(*c.DefaultProject)
			if err != nil {
				return err
			}
			in["default_project_id"] = p.ID
		}
		if u, err = d.UpdateUser(d, d.by, u.ID, in); err != nil {
			return err
		}
		if c.Disable {
			if err := d.adviseAdmin(); err != nil {
				return err
			}
		}
		return d.say(viewUser(u, ""), "Changed the user %s (%s); enabled: %s.", u.Name, u.ID, yesNo(u.Enabled))
	})
}

type userPasswordCmd struct {
	identityFlags
	passwordFlags
	User string `arg:"" help:"The user, by name or id."`
}

// Help is shown by culvert user password --help.
func (userPasswordCmd) Help() string {
	return `A password is made by chance and printed once, unless one comes on standard input. All tokens of the user end; its application
credentials stay. This is also how the password of the first admin is found again:

  culvert user password admin
  read -rs P && printf %s "$P" | culvert user password admin --password-stdin

A disabled admin comes back with: culvert user set admin --enable; one without its role with:
culvert role grant admin admin --project admin` + besides
}

func (c *userPasswordCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		u, err := d.findUser(c.User)
		if err != nil {
			return err
		}
		password, shown, err := c.passwordFlags.get(d)
		if err != nil {
			return err
		}
		if u, err = d.UpdateUser(d, d.by, u.ID, map[string]any{"password": password}); err != nil {
			return err
		}
		text := ""
		if !u.Enabled {
			text = fmt.Sprintf("\nThe user is disabled: culvert user set %s --enable%s", quoted(u.Name), d.again)
		}
		return d.say(viewUser(u, shown), "The user %s has a new password.%s%s", u.Name, passwordLine(u.Name, shown), text)
	})
}

type userDeleteCmd struct {
	identityFlags
	User string `arg:"" help:"The user, by name or id."`
}

// Help is shown by culvert user delete --help.
func (userDeleteCmd) Help() string {
	return "All tokens of the user end. What its projects own stays." + besides
}

func (c *userDeleteCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		u, err := d.findUser(c.User)
		if err != nil {
			return err
		}
		if err := d.DeleteUser(d, d.by, u.ID); err != nil {
			return err
		}
		if err := d.adviseAdmin(); err != nil {
			return err
		}
		return d.say(viewUser(u, ""), "Deleted the user %s (%s).", u.Name, u.ID)
	})
}
