package api

import (
	"net/http"

	"culvert/internal/identity"
)

func (k *Keystone) roles(c *keystoneCall) error {
	all, err := k.Service.Roles(c, c.by, c.ownedFilter())
	return listOf(c, "roles", all, roleDoc, err)
}

func (k *Keystone) role(c *keystoneCall) error {
	r, err := k.Service.Role(c, c.by, c.id())
	return oneOf(c, http.StatusOK, "role", r, roleDoc, err)
}

func (k *Keystone) createRole(c *keystoneCall) error {
	in, err := c.object("role")
	if err != nil {
		return err
	}
	r, err := k.Service.CreateRole(c, c.by, in)
	return oneOf(c, http.StatusCreated, "role", r, roleDoc, err)
}

func (k *Keystone) updateRole(c *keystoneCall) error {
	in, err := c.object("role")
	if err != nil {
		return err
	}
	r, err := k.Service.UpdateRole(c, c.by, c.id(), in)
	return oneOf(c, http.StatusOK, "role", r, roleDoc, err)
}

func (k *Keystone) deleteRole(c *keystoneCall) error {
	return c.none(k.Service.DeleteRole(c, c.by, c.id()))
}

func (c *keystoneCall) target() identity.Target {
	t := identity.Target{ProjectID: c.r.PathValue("project"), DomainID: c.r.PathValue("domain")}
	t.System = t == identity.Target{}
	return t
}

func (k *Keystone) grants(c *keystoneCall) error {
	all, err := k.Service.Grants(c, c.by, c.target(), c.owner())
	return listOf(c, "roles", all, roleDoc, err)
}

func (k *Keystone) granted(c *keystoneCall) error {
	return c.none(k.Service.Granted(c, c.by, c.target(), c.owner(), c.r.PathValue("role")))
}

func (k *Keystone) grant(c *keystoneCall) error {
	return c.none(k.Service.Grant(c, c.by, c.target(), c.owner(), c.r.PathValue("role")))
}

func (k *Keystone) ungrant(c *keystoneCall) error {
	return c.none(k.Service.Ungrant(c, c.by, c.target(), c.owner(), c.r.PathValue("role")))
}

func (k *Keystone) assignments(c *keystoneCall) error {
	q := c.r.URL.Query()
	on := func(name string) bool { // ?effective alone says yes
		v, given := q[name]
		return given && v[0] != "0" && v[0] != "false" && v[0] != "False"
	}
	if q.Has("scope.project.id") && q.Has("scope.domain.id") || q.Has("user.id") && q.Has("group.id") {
		return identity.BadRequest("Only one scope, and only one of user and group, may be named.")
	}
	if q.Has("group.id") || q.Has("scope.OS-INHERIT:inherited_to") { // neither groups nor inherited roles exist here
		return c.list("role_assignments", nil)
	}
	all, err := k.Service.Assignments(c, c.by, identity.AssignmentFilter{
		UserID: q.Get("user.id"), RoleID: q.Get("role.id"),
		Target: identity.Target{ProjectID: q.Get("scope.project.id"), DomainID: q.Get("scope.domain.id"), System: q.Get("scope.system") != ""},
		Names:  on("include_names"), Effective: on("effective"),
	})
	return listOf(c, "role_assignments", all, assignmentDoc, err)
}
