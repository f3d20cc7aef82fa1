package api

import (
	"maps"

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
	return c.list(key, docs)
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
	doc := object{}
	maps.Copy(doc, d.Extra)
	maps.Copy(doc, object{"id": d.ID, "name": d.Name, "description": d.Description, "enabled": d.Enabled, "tags": []string{}, "options": object{},
		"links": selfLink(c, "domains/"+d.ID)})
	return doc
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
	doc, options := object{}, object{}
	if r.Immutable() {
		options["immutable"] = true
	}
	maps.Copy(doc, r.Extra)
	maps.Copy(doc, object{"id": r.ID, "name": r.Name, "description": r.Description, "domain_id": nil, "options": options,
		"links": selfLink(c, "roles/"+r.ID)})
	return doc
}

// credentialTime is how Keystone writes the end of an application credential: without a zone.
const credentialTime = "2006-01-02T15:04:05.000000"

func credentialDoc(c *keystoneCall, a *identity.NamedCredential) object {
	roles := []object{}
	for _, r := range a.Roles {
		roles = append(roles, object{"id": r.ID, "name": r.Name, "domain_id": nil})
	}
	doc := object{"id": a.ID, "name": a.Name, "description": a.Description, "user_id": a.UserID, "project_id": a.ProjectID, "roles": roles,
		"unrestricted": a.Unrestricted, "expires_at": nil, "system": nil,
		"links": selfLink(c, "users/"+a.UserID+"/application_credentials/"+a.ID)}
	if a.ExpiresAt != nil {
		doc["expires_at"] = a.ExpiresAt.Format(credentialTime)
	}
	if a.Secret != "" {
		doc["secret"] = a.Secret
	}
	return doc
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
