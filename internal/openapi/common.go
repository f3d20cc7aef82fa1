package openapi

import "strings"

func info() Object {
	return Object{
		"title":   "Culvert",
		"version": "v2.0",
		"summary": "IPsec site-to-site VPN as a service: OpenStack's VPNaaS API, the networks around it, and identity.",
		"description": "Every URI of the network API may end in .json. Content-Type and Accept are ignored: bodies and answers are JSON. " +
			"Every answer has X-Openstack-Request-Id, which the server's log knows. Where clients send them, booleans and integers are also " +
			"taken as text, one string for a list of one, and null on POST for an attribute that has a default. " +
			"Answers may gain attributes; clients must ignore what they do not know.",
	}
}

func securitySchemes() map[string]Object {
	return map[string]Object{
		"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token", "description": "A token of POST /identity/v3/auth/tokens, from its header X-Subject-Token."},
		"agent": {"type": "http", "scheme": "bearer", "description": "The agents' token, which the server keeps in its data folder."},
	}
}

func commonParameters(pageLimit int) map[string]Object {
	return map[string]Object{
		"sort_dir":     queryParameter("sort_dir", "The direction of each sort_key.", manyOf([]string{"asc", "desc"})),
		"limit":        queryParameter("limit", "Rows of one answer at most; 0 and more than the server's own bound count as that bound.", Object{"type": "integer", "minimum": 0, "default": pageLimit}),
		"marker":       queryParameter("marker", "The id of the last row that was seen: the page begins after it.", text()),
		"page_reverse": queryParameter("page_reverse", "The page before the marker instead of the one after it.", Object{"type": "boolean", "default": false}),
		"If-Match": {"name": "If-Match", "in": "header", "description": "revision_number=N: only if that is still its revision, else 412.",
			"schema": Object{"type": "string", "pattern": "^\"?revision_number=[0-9]+\"?$"}},
	}
}

func commonSchemas() map[string]Object {
	fault := closed(Object{"type": text(), "message": text(), "detail": text()})
	refusal := closed(Object{"code": Object{"type": "integer"}, "title": text(), "message": text()})
	limits := Object{"type": "object", "additionalProperties": Object{"type": "integer", "minimum": -1, "maximum": 1<<31 - 1},
		"description": "Limits by resource; -1 is none."}
	return map[string]Object{
		"error":         closed(Object{"NeutronError": fault}),
		"identityError": closed(Object{"error": refusal}),
		"link":          closed(Object{"rel": text(), "href": Object{"type": "string", "format": "uri"}}),
		"tags":          closed(Object{"tags": Object{"type": "array", "items": Object{"type": "string", "minLength": 1}}}),
		"extension": closed(Object{"alias": text(), "name": text(), "description": text(), "updated": text(),
			"links": Object{"type": "array", "maxItems": 0}}),
		"quota": limits,
		"quota.update": {"type": "object", "properties": Object{"force": Object{"type": "boolean"}, "check_limit": Object{"type": "boolean"}},
			"additionalProperties": limits["additionalProperties"]},
		"quota.details": {"type": "object", "additionalProperties": closed(Object{"limit": Object{"type": "integer"}, "used": Object{"type": "integer"}, "reserved": Object{"type": "integer"}})},
		"quota.project": {"type": "object", "properties": Object{"project_id": text(), "tenant_id": text()}, "required": []string{"project_id", "tenant_id"},
			"additionalProperties": limits["additionalProperties"]},
	}
}

// commonResponses are the errors, by name.
func commonResponses() map[string]Object {
	out := map[string]Object{"Unauthorized": jsonAnswer("The token is missing or not valid.", ref("identityError"))}
	for name, words := range map[string]string{
		"BadRequest": "The request breaks a rule; the message names it, and what is allowed.", "Forbidden": "The token's roles do not allow it.",
		"NotFound": "There is none that the token may see.", "Conflict": "Something else stands in the way: it is in use, or a quota is exceeded.",
		"PreconditionFailed": "It is not at the revision of If-Match any more.", "Error": "Any other error.",
	} {
		out[name] = jsonAnswer(words, ref("error"))
		out["Identity"+name] = jsonAnswer(words, ref("identityError"))
	}
	return out
}

// errorsOf are the errors that a route can answer besides its own.
func errorsOf(r Route) map[string]Object {
	dialect := ""
	if strings.HasPrefix(r.Path, "/identity") {
		dialect = "Identity"
	}
	out := map[string]Object{"default": response(dialect + "Error")}
	if r.Access != Anybody || dialect != "" {
		out["401"] = response("Unauthorized")
	}
	if r.Access == User {
		out["400"], out["403"] = response(dialect+"BadRequest"), response(dialect+"Forbidden")
	}
	if strings.Contains(r.Path, "{") {
		out["404"] = response(dialect + "NotFound")
	}
	return out
}
