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

func (k *Keystone) createDomain(c *keystoneCall) error {
	in, err := c.object("domain")
	if err != nil {
		return err
	}
	d, err := k.Service.CreateDomain(c, c.by, in)
	return oneOf(c, http.StatusCreated, "domain", d, domainDoc, err)
}

func (k *Keystone) updateDomain(c *keystoneCall) error {
	in, err := c.object("domain")
	if err != nil {
		return err
	}
	d, err := k.Service.UpdateDomain(c, c.by, c.id(), in)
	return oneOf(c, http.StatusOK, "domain", d, domainDoc, err)
}

func (k *Keystone) deleteDomain(c *keystoneCall) error {
	return c.none(k.Service.DeleteDomain(c, c.by, c.id()))
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
	return c.none(k.Service.ChangePassword(c, c.id(), in, c.source()))
}

func (k *Keystone) userProjects(c *keystoneCall) error {
	all, err := k.Service.OwnProjects(c, c.by, c.id())
	return listOf(c, "projects", all, projectDoc, err)
}

// userGroups is empty: there are no groups.
func (k *Keystone) userGroups(c *keystoneCall) error {
	_, err := k.Service.User(c, c.by, c.id())
	return listOf[identity.User](c, "groups", nil, nil, err)
}

func (c *keystoneCall) owner() string { return c.r.PathValue("user") }

func (k *Keystone) credentials(c *keystoneCall) error {
	all, err := k.Service.Credentials(c, c.by, c.owner(), c.r.URL.Query().Get("name"))
	return listOf(c, "application_credentials", all, credentialDoc, err)
}

func (k *Keystone) createCredential(c *keystoneCall) error {
	in, err := c.object("application_credential")
	if err != nil {
		return err
	}
	a, err := k.Service.CreateCredential(c, c.by, c.owner(), in)
	c.w.Header().Set("Cache-Control", "no-store")
	return oneOf(c, http.StatusCreated, "application_credential", a, credentialDoc, err)
}

func (k *Keystone) credential(c *keystoneCall) error {
	a, err := k.Service.Credential(c, c.by, c.owner(), c.id())
	return oneOf(c, http.StatusOK, "application_credential", a, credentialDoc, err)
}

func (k *Keystone) deleteCredential(c *keystoneCall) error {
	return c.none(k.Service.DeleteCredential(c, c.by, c.owner(), c.id()))
}
