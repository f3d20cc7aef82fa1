package api

import (
	"net/http"

	"culvert/internal/identity"
)

// object is any JSON object of the identity API.
type object = map[string]any

func (k *Keystone) versions(c *keystoneCall) error {
	return c.json(http.StatusMultipleChoices, object{"versions": object{"values": []object{keystoneVersion(c)}}})
}

func (k *Keystone) version(c *keystoneCall) error {
	return c.json(http.StatusOK, object{"version": keystoneVersion(c)})
}

func keystoneVersion(c *keystoneCall) object {
	return object{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []object{{"rel": "self", "href": c.url + "/v3/"}},
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

func (k *Keystone) login(c *keystoneCall) error {
	auth, err := c.object("auth")
	if err != nil {
		return err
	}
	l, err := parseLogin(auth)
	if err != nil {
		return err
	}
	l.Source = c.source()
	text, t, err := k.Service.Login(c, l)
	if err != nil {
		return err
	}
	who := traceOf(c)
	who.user, who.project = t.Caller().UserID, t.Caller().ProjectID
	return k.token(c, http.StatusCreated, text, t)
}

// validate tells about the token in X-Subject-Token.
func (k *Keystone) validate(c *keystoneCall) error {
	text := c.r.Header.Get("X-Subject-Token")
	t, err := k.Service.Subject(c, c.by.Caller(), text)
	if err != nil {
		return err
	}
	return k.token(c, http.StatusOK, text, t)
}

func (k *Keystone) revoke(c *keystoneCall) error {
	return c.none(k.Service.Revoke(c, c.by.Caller(), c.r.Header.Get("X-Subject-Token")))
}

func (k *Keystone) token(c *keystoneCall, code int, text string, t *identity.Token) error {
	doc := tokenDoc(t)
	if _, without := c.r.URL.Query()["nocatalog"]; !without && (t.Project != nil || t.Domain != nil || t.System) {
		doc["catalog"] = k.catalog(c)
	}
	h := c.w.Header()
	h.Set("X-Subject-Token", text)
	h.Set("Vary", "X-Auth-Token")
	h.Set("Cache-Control", "no-store")
	return c.json(code, object{"token": doc})
}

func tokenDoc(t *identity.Token) object {
	doc := object{
		"methods": t.Methods, "audit_ids": t.AuditIDs,
		"issued_at": keystoneTime(t.IssuedAt), "expires_at": keystoneTime(t.ExpiresAt),
		"user": object{"id": t.User.ID, "name": t.User.Name, "domain": idName(t.UserDomain.ID, t.UserDomain.Name), "password_expires_at": nil},
	}
	if a := t.Credential; a != nil {
		doc["application_credential"] = object{"id": a.ID, "name": a.Name, "restricted": !a.Unrestricted}
	}
	switch {
	case t.Project != nil:
		doc["project"] = object{"id": t.Project.ID, "name": t.Project.Name, "domain": idName(t.ProjectDomain.ID, t.ProjectDomain.Name)}
		doc["is_domain"] = false
	case t.Domain != nil:
		doc["domain"] = idName(t.Domain.ID, t.Domain.Name)
	case t.System:
		doc["system"] = object{"all": true}
	default:
		return doc
	}
	roles := []object{}
	for _, r := range t.Roles {
		roles = append(roles, idName(r.ID, r.Name))
	}
	doc["roles"] = roles
	return doc
}

func idName(id, name string) object { return object{"id": id, "name": name} }

func (k *Keystone) catalogOnly(c *keystoneCall) error {
	return c.json(http.StatusOK, object{"catalog": k.catalog(c), "links": object{"self": c.self(), "previous": nil, "next": nil}})
}

func (k *Keystone) authProjects(c *keystoneCall) error {
	all, err := k.Service.OwnProjects(c, c.by, c.by.User.ID)
	return listOf(c, "projects", all, projectDoc, err)
}

func (k *Keystone) authDomains(c *keystoneCall) error {
	all, err := k.Service.OwnDomains(c, c.by)
	return listOf(c, "domains", all, domainDoc, err)
}
