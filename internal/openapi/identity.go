package openapi

import "strings"

// entity is one sort of thing in Keystone's API. Its schemas say what there is at least: clients may keep attributes of
// their own in most of them.
type entity struct {
	one, title string
	// properties of an answer by type: s string, s? string or null, b boolean, a array, o object, o? object that may be missing
	properties string
}

// entities go by the segment of their collection.
func entities() map[string]entity {
	return map[string]entity{
		"domains":  {"domain", "a domain", "id:s name:s description:s enabled:b tags:a options:o links:o"},
		"projects": {"project", "a project", "id:s name:s description:s enabled:b domain_id:s parent_id:s is_domain:b tags:a options:o links:o"},
		"users":    {"user", "a user", "id:s name:s enabled:b domain_id:s password_expires_at:s? options:o links:o"},
		"groups":   {"group", "a group", "id:s name:s"},
		"roles":    {"role", "a role", "id:s name:s description:s domain_id:s? options:o links:o"},
		"application_credentials": {"application_credential", "an application credential",
			"id:s name:s description:s user_id:s project_id:s roles:a unrestricted:b expires_at:s? system:s? links:o"},
		"role_assignments": {"role_assignment", "a role assignment", "user:o role:o scope:o links:o"},
		"services":         {"service", "a service of the catalog", "id:s type:s name:s description:s enabled:b links:o"},
		"endpoints":        {"endpoint", "an endpoint of the catalog", "id:s interface:s service_id:s url:s region:s region_id:s enabled:b links:o"},
		"regions":          {"region", "a region", "id:s description:s parent_region_id:s? links:o"},
	}
}

func (e entity) schema() Object {
	properties := Object{}
	for p := range strings.FieldsSeq(e.properties) {
		name, code, _ := strings.Cut(p, ":")
		properties[name] = map[string]Object{"s": text(), "s?": {"type": []string{"string", "null"}}, "b": {"type": "boolean"},
			"a": {"type": "array"}, "o": {"type": "object"}}[code]
	}
	out := closed(properties)
	out["additionalProperties"] = true
	return out
}

// identitySchemas are there only where identity is served.
func (b *builder) identitySchemas() {
	if b.doc.Paths["/identity"] == nil {
		return
	}
	for _, e := range entities() {
		b.doc.Components.Schemas["identity."+e.one] = e.schema()
	}
	link := Object{"type": []string{"string", "null"}}
	b.doc.Components.Schemas["identity.links"] = closed(Object{"self": text(), "previous": link, "next": link})
	b.doc.Components.Schemas["identity.version"] = closed(Object{"id": text(), "status": text(), "updated": text(), "links": list(ref("link")),
		"media-types": Object{"type": "array"}})
	catalog := list(closed(Object{"id": text(), "type": text(), "name": text(),
		"endpoints": list(closed(Object{"id": text(), "interface": text(), "url": text(), "region": text(), "region_id": text()}))}))
	b.doc.Components.Schemas["identity.catalog"] = catalog
	object := Object{"type": "object"}
	b.doc.Components.Schemas["identity.token"] = Object{"type": "object", "required": []string{"methods", "audit_ids", "issued_at", "expires_at", "user"},
		"properties": Object{"methods": list(text()), "audit_ids": list(text()), "issued_at": text(), "expires_at": text(), "user": object,
			"application_credential": object, "project": object, "is_domain": Object{"type": "boolean"}, "domain": object, "system": object,
			"roles": list(object), "catalog": ref("identity.catalog")}}
}

// identityOperation describes what is below /identity; nil for what it does not know.
func (b *builder) identityOperation(method, path string) *Operation {
	op := tokenOperations()[method+" "+path]
	if op == nil {
		op = entityOperation(method, strings.Split(strings.TrimPrefix(path, "/v3/"), "/"))
	}
	if op != nil {
		op.Tags = []string{"identity"}
	}
	return op
}

func tokenOperations() map[string]*Operation {
	login := Object{"auth": Object{
		"identity": Object{"methods": []string{"password"}, "password": Object{"user": Object{"name": "admin", "domain": Object{"id": "default"}, "password": "…"}}},
		"scope":    Object{"project": Object{"name": "admin", "domain": Object{"id": "default"}}}}}
	token := jsonAnswer("The token's text is in the header X-Subject-Token.", closed(Object{"token": ref("identity.token")}))
	subject := Object{"name": "X-Subject-Token", "in": "header", "required": true, "description": "The token that is meant.", "schema": text()}
	without := queryParameter("nocatalog", "Without the catalog.", Object{"type": "string"})
	password := Object{"user": Object{"original_password": "…", "password": "…"}}
	return map[string]*Operation{
		"GET ": {Summary: "The versions of the identity API", Responses: map[string]Object{
			"300": jsonAnswer("There is one.", closed(Object{"versions": closed(Object{"values": list(ref("identity.version"))})}))}},
		"GET /v3": simple("", "The version of the identity API", closed(Object{"version": ref("identity.version")})),
		"POST /v3/auth/tokens": {Summary: "Log in", Description: "By password, token or application credential; scoped to a project, a domain, the system, or not.",
			Parameters: []Object{without}, RequestBody: jsonBody(closed(Object{"auth": Object{"type": "object"}}), login), request: login,
			Responses: map[string]Object{"201": token, "429": response("IdentityError")}},
		"GET /v3/auth/tokens": {Summary: "Show a token", Parameters: []Object{subject, without}, Responses: map[string]Object{"200": token}},
		"DELETE /v3/auth/tokens": {Summary: "Revoke a token", Parameters: []Object{subject},
			Responses: map[string]Object{"204": {"description": "It is not valid any more."}}},
		"GET /v3/auth/catalog":  simple("", "Show the catalog", closed(Object{"catalog": ref("identity.catalog"), "links": ref("identity.links")})),
		"GET /v3/auth/projects": listEntities("projects", entities()["projects"], "List the projects that one may log in to"),
		"GET /v3/auth/domains":  listEntities("domains", entities()["domains"], "List the domains that one may log in to"),
		"POST /v3/users/{id}/password": {Summary: "Change one's own password", Description: "No token is needed: the old password is the proof.",
			RequestBody: jsonBody(closed(Object{"user": Object{"type": "object"}}), password), request: password,
			Responses: map[string]Object{"204": {"description": "Changed; the user's tokens are not valid any more."}, "429": response("IdentityError")}},
	}
}

// entityOperation reads a collection, or one item of it, off the end of a path.
func entityOperation(method string, parts []string) *Operation {
	last := parts[len(parts)-1]
	if e, ok := entities()[last]; ok {
		return collectionOperation(method, last, e)
	}
	if len(parts) < 2 {
		return nil
	}
	e, ok := entities()[parts[len(parts)-2]]
	if !ok || !strings.HasPrefix(last, "{") {
		return nil
	}
	if len(parts) > 2 && e.one == "role" {
		return grantOperation(method)
	}
	return itemOperation(method, e)
}

func collectionOperation(method, many string, e entity) *Operation {
	switch method {
	case "GET":
		return listEntities(many, e, "List "+strings.ReplaceAll(many, "_", " "))
	case "POST":
		op := withEntity(e, "Create "+e.title, "201")
		op.RequestBody = entityBody(e)
		return op
	}
	return nil
}

func itemOperation(method string, e entity) *Operation {
	switch method {
	case "GET":
		return withEntity(e, "Show "+e.title, "200")
	case "PATCH":
		op := withEntity(e, "Change "+e.title, "200")
		op.RequestBody = entityBody(e)
		return op
	case "DELETE":
		return &Operation{Summary: "Delete " + e.title, Responses: map[string]Object{"204": {"description": "Gone."}}}
	}
	return nil
}

func grantOperation(method string) *Operation {
	summary := map[string]string{"GET": "Whether a user has a role", "PUT": "Give a user a role", "DELETE": "Take a role from a user"}[method]
	if summary == "" {
		return nil
	}
	return &Operation{Summary: summary, Responses: map[string]Object{"204": {"description": "Yes, or done."}}}
}

func listEntities(many string, e entity, summary string) *Operation {
	op := simple("", summary, closed(Object{many: list(ref("identity." + e.one)), "links": ref("identity.links")}))
	op.Parameters = []Object{queryParameter("limit", "Rows at most; 0: all.", Object{"type": "integer", "minimum": 0}),
		queryParameter("marker", "The id of the last row that was seen.", text())}
	return op
}

func withEntity(e entity, summary, code string) *Operation {
	return &Operation{Summary: summary, Responses: map[string]Object{code: jsonAnswer("The answer.", closed(Object{e.one: ref("identity." + e.one)}))}}
}

func entityBody(e entity) Object {
	return jsonBody(closed(Object{e.one: Object{"type": "object"}}), Object{e.one: Object{"name": "example"}})
}
