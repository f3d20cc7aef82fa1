package cli

import "culvert/internal/identity"

type projectCmd struct {
	List   projectListCmd   `cmd:"" help:"List projects."`
	Create projectCreateCmd `cmd:"" help:"Make a project."`
	Set    projectSetCmd    `cmd:"" help:"Rename, describe, enable or disable a project."`
	Delete projectDeleteCmd `cmd:"" help:"Delete a project with the roles on it."`
}

// projectView is a project as it is shown.
type projectView struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DomainID    string `json:"domain_id"`
	Description string `json:"description"`
	Enabled     bool   `json:"enabled"`
}

func viewProject(p *identity.Project) projectView {
	return projectView{p.ID, p.Name, p.DomainID, p.Description, p.Enabled}
}

type projectListCmd struct {
	identityFlags
}

func (c *projectListCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		all, err := d.Projects(d, d.by, identity.Filter{DomainID: d.domain.ID})
		if err != nil {
			return err
		}
		views, rows := []projectView{}, [][]string{}
		for i := range all {
			p := &all[i]
			views = append(views, viewProject(p))
			rows = append(rows, []string{p.Name, yesNo(p.Enabled), p.Description, p.ID})
		}
		return d.table(views, "NAME|ENABLED|DESCRIPTION|ID", rows)
	})
}

type projectCreateCmd struct {
	identityFlags
	Name        string `arg:"" help:"Name of the project, 1 to 64 characters."`
	Description string `help:"Free text."`
}

// Help is shown by culvert project create --help.
func (projectCreateCmd) Help() string {
	return `Nobody but admins can use it before somebody has a role on it:

  culvert project create lab
  culvert role grant member ann --project lab` + besides
}

func (c *projectCreateCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		p, err := d.CreateProject(d, d.by, map[string]any{"name": c.Name, "domain_id": d.domain.ID, "description": c.Description})
		if err != nil {
			return err
		}
		return d.say(viewProject(p), "Made the project %s (%s).", p.Name, p.ID)
	})
}

type projectSetCmd struct {
	identityFlags
	switches
	Project     string  `arg:"" help:"The project, by name or id."`
	Name        *string `placeholder:"NAME" help:"New name."`
	Description *string `help:"New free text; \"\" for none."`
}

// Help is shown by culvert project set --help.
func (projectSetCmd) Help() string {
	return "Disabling a project ends all tokens for it; its tunnels stay up." + besides
}

func (c *projectSetCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		p, err := d.findProject(c.Project)
		if err != nil {
			return err
		}
		in, err := c.changes(map[string]*string{"name": c.Name, "description": c.Description})
		if err != nil {
			return err
		}
		if p, err = d.UpdateProject(d, d.by, p.ID, in); err != nil {
			return err
		}
		return d.say(viewProject(p), "Changed the project %s (%s); enabled: %s.", p.Name, p.ID, yesNo(p.Enabled))
	})
}

type projectDeleteCmd struct {
	identityFlags
	Project string `arg:"" help:"The project, by name or id."`
}

// Help is shown by culvert project delete --help.
func (projectDeleteCmd) Help() string {
	return `The networks and VPN services of the project stay, tunnels included, and only admins see them then: delete those first.` + besides
}

func (c *projectDeleteCmd) Run(e *env) error {
	return c.with(e, func(d *desk) error {
		p, err := d.findProject(c.Project)
		if err != nil {
			return err
		}
		if err := d.DeleteProject(d, d.by, p.ID); err != nil {
			return err
		}
		return d.say(viewProject(p), "Deleted the project %s (%s).", p.Name, p.ID)
	})
}
