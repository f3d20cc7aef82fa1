package api

import (
	"net/http"

	"culvert/internal/identity"
)

// nameFilter reads the filters that lists share. Unknown ones are ignored, as Keystone does.
func (c *keystoneCall) nameFilter() identity.Filter {
	q := c.r.URL.Query()
	return identity.Filter{Name: q.Get("name"), NameContains: q.Get("name__contains"), Enabled: q.Get("enabled")}
}

func (c *keystoneCall) ownedFilter() identity.Filter {
	f := c.nameFilter()
	f.DomainID = c.r.URL.Query().Get("domain_id")
	return f
}

func (c *keystoneCall) id() string { return c.r.PathValue("id") }

func (k *Keystone) domains(c *keystoneCall) error {
	all, err := k.Service.Domains(c, c.by, c.nameFilter())
	return listOf(c, "domains", all, domainDoc, err)
}

func (k *Keystone) domain(c *keystoneCall) error {
	d, err := k.Service.Domain(c, c.by, c.id())
	return oneOf(c, http.StatusOK, "domain", d, domainDoc, err)
}

func (k *Keystone) projects(c *keystoneCall) error {
	all, err := k.Service.Projects(c, c.by, c.ownedFilter())
	if q := c.r.URL.Query(); q.Get("is_domain") == "true" || q.Get("is_domain") == "True" {
		all = nil // no project is a domain here
	}
	return listOf(c, "projects", all, projectDoc, err)
}

func (k *Keystone) project(c *keystoneCall) error {
	p, err := k.Service.Project(c, c.by, c.id())
	return oneOf(c, http.StatusOK, "project", p, projectDoc, err)
}

func (k *Keystone) createProject(c *keystoneCall) error {
	in, err := c.object("project")
	if err != nil {
		return err
	}
	p, err := k.Service.CreateProject(c, c.by, in)
	return oneOf(c, http.StatusCreated, "project", p, projectDoc, err)
}

func (k *Keystone) updateProject(c *keystoneCall) error {
	in, err := c.object("project")
	if err != nil {
		return err
	}
	p, err := k.Service.UpdateProject(c, c.by, c.id(), in)
	return oneOf(c, http.StatusOK, "project", p, projectDoc, err)
}

func (k *Keystone) deleteProject(c *keystoneCall) error {
	return c.none(k.Service.DeleteProject(c, c.by, c.id()))
}

func (k *Keystone) users(c *keystoneCall) error {
	all, err := k.Service.Users(c, c.by, c.ownedFilter())
	return listOf(c, "users", all, userDoc, err)
}

func (k *Keystone) showUser(c *keystoneCall) error {
	u, err := k.Service.User(c, c.by, c.id())
	return oneOf(c, http.StatusOK, "user", u, userDoc, err)
}

func (k *Keystone) createUser(c *keystoneCall) error {
	in, err := c.object("user")
	if err != nil {
		return err
	}
	u, err := k.Service.CreateUser(c, c.by, in)
	return oneOf(c, http.StatusCreated, "user", u, userDoc, err)
}

func (k *Keystone) updateUser(c *keystoneCall) error {
	in, err := c.object("user")
	if err != nil {
		return err
	}
	u, err := k.Service.UpdateUser(c, c.by, c.id(), in)
	return oneOf(c, http.StatusOK, "user", u, userDoc, err)
}

func (k *Keystone) deleteUser(c *keystoneCall) error {
	return c.none(k.Service.DeleteUser(c, c.by, c.id()))
}

func (k *Keystone) changePassword(c *keystoneCall) error {
	in, err := c.object("user")
	if err != nil {
		return err
	}
	return c.none(k.Service.ChangePassword(c, c.by, c.id(), in, c.source()))
}

func (k *Keystone) userProjects(c *keystoneCall) error {
	all, err := k.Service.OwnProjects(c, c.by, c.id())
	return listOf(c, "projects", all, projectDoc, err)
}

func (k *Keystone) roles(c *keystoneCall) error {
	all, err := k.Service.Roles(c, c.by, c.ownedFilter())
	return listOf(c, "roles", all, roleDoc, err)
}

func (k *Keystone) role(c *keystoneCall) error {
	r, err := k.Service.Role(c, c.by, c.id())
	return oneOf(c, http.StatusOK, "role", r, roleDoc, err)
}

func (c *keystoneCall) target() identity.Target {
	return identity.Target{ProjectID: c.r.PathValue("project"), DomainID: c.r.PathValue("domain")}
}

func (k *Keystone) grants(c *keystoneCall) error {
	all, err := k.Service.Grants(c, c.by, c.target(), c.r.PathValue("user"))
	return listOf(c, "roles", all, roleDoc, err)
}

func (k *Keystone) granted(c *keystoneCall) error {
	return c.none(k.Service.Granted(c, c.by, c.target(), c.r.PathValue("user"), c.r.PathValue("role")))
}

func (k *Keystone) grant(c *keystoneCall) error {
	return c.none(k.Service.Grant(c, c.by, c.target(), c.r.PathValue("user"), c.r.PathValue("role")))
}

func (k *Keystone) ungrant(c *keystoneCall) error {
	return c.none(k.Service.Ungrant(c, c.by, c.target(), c.r.PathValue("user"), c.r.PathValue("role")))
}

func (k *Keystone) assignments(c *keystoneCall) error {
	q := c.r.URL.Query()
	on := func(name string) bool { // ?effective alone says yes
		v, given := q[name]
		return given && v[0] != "0" && v[0] != "false" && v[0] != "False"
	}
	all, err := k.Service.Assignments(c, c.by, identity.AssignmentFilter{
		UserID: q.Get("user.id"), RoleID: q.Get("role.id"),
		Target: identity.Target{ProjectID: q.Get("scope.project.id"), DomainID: q.Get("scope.domain.id"), System: q.Get("scope.system") != ""},
		Names:  on("include_names"), Effective: on("effective"),
	})
	return listOf(c, "role_assignments", all, assignmentDoc, err)
}
