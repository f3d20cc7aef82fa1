package api

import (
	"maps"
	"net/http"

	"culvert/internal/identity"
)

// listOf answers a list below key, with links.
func listOf[T any](c *keystoneCall, key string, all []T, doc func(*keystoneCall, *T) object, err error) error {
	if err != nil {
		return err
	}
	docs := []object{}
	for i := range all {
		docs = append(docs, doc(c, &all[i]))
	}
	return c.json(http.StatusOK, object{key: docs, "links": object{"self": c.self(), "previous": nil, "next": nil}})
}

// oneOf answers one document below key.
func oneOf[T any](c *keystoneCall, code int, key string, v *T, doc func(*keystoneCall, *T) object, err error) error {
	if err != nil {
		return err
	}
	return c.json(code, object{key: doc(c, v)})
}

func selfLink(c *keystoneCall, path string) object { return object{"self": c.url + "/v3/" + path} }

func domainDoc(c *keystoneCall, d *identity.Domain) object {
	return object{"id": d.ID, "name": d.Name, "description": d.Description, "enabled": d.Enabled, "tags": []string{}, "options": object{},
		"links": selfLink(c, "domains/"+d.ID)}
}

func projectDoc(c *keystoneCall, p *identity.Project) object {
	doc := object{}
	maps.Copy(doc, p.Extra)
	maps.Copy(doc, object{"id": p.ID, "name": p.Name, "description": p.Description, "enabled": p.Enabled, "domain_id": p.DomainID,
		"parent_id": p.DomainID, "is_domain": false, "tags": p.Tags, "options": object{}, "links": selfLink(c, "projects/"+p.ID)})
	return doc
}

func userDoc(c *keystoneCall, u *identity.User) object {
	doc := object{}
	maps.Copy(doc, u.Extra)
	maps.Copy(doc, object{"id": u.ID, "name": u.Name, "enabled": u.Enabled, "domain_id": u.DomainID, "password_expires_at": nil,
		"options": object{}, "links": selfLink(c, "users/"+u.ID)})
	for key, v := range map[string]string{"description": u.Description, "email": u.Email, "default_project_id": u.DefaultProjectID} {
		if v != "" {
			doc[key] = v
		}
	}
	return doc
}

func roleDoc(c *keystoneCall, r *identity.Role) object {
	return object{"id": r.ID, "name": r.Name, "description": r.Description, "domain_id": nil, "options": object{}, "links": selfLink(c, "roles/"+r.ID)}
}

func assignmentDoc(c *keystoneCall, a *identity.NamedAssignment) object {
	doc := object{"user": object{"id": a.UserID}, "role": object{"id": a.RoleID}}
	path := "system"
	switch {
	case a.ProjectID != "":
		path = "projects/" + a.ProjectID
		doc["scope"] = object{"project": object{"id": a.ProjectID}}
	case a.DomainID != "":
		path = "domains/" + a.DomainID
		doc["scope"] = object{"domain": object{"id": a.DomainID}}
	default:
		doc["scope"] = object{"system": object{"all": true}}
	}
	doc["links"] = object{"assignment": c.url + "/v3/" + path + "/users/" + a.UserID + "/roles/" + a.RoleID}
	if a.User == nil {
		return doc
	}
	doc["user"] = object{"id": a.User.ID, "name": a.User.Name, "domain": idName(a.UserDomain.ID, a.UserDomain.Name)}
	doc["role"] = idName(a.Role.ID, a.Role.Name)
	if a.Project != nil {
		doc["scope"] = object{"project": object{"id": a.Project.ID, "name": a.Project.Name, "domain": idName(a.ProjectDomain.ID, a.ProjectDomain.Name)}}
	}
	if a.Domain != nil {
		doc["scope"] = object{"domain": idName(a.Domain.ID, a.Domain.Name)}
	}
	return doc
}
