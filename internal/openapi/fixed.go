package openapi

// chapters are those that no kind has, in the order of the page.
func chapters() []Tag {
	return []Tag{
		{"quotas", "How many VPN resources a project may have. Only an admin changes limits; everybody in the project reads them."},
		{"tags", "Key/value tags of connections, as Open Telekom Cloud has them."},
		{"discovery", "What this server is and can do."},
		{"identity", "Who may do what: tokens, domains, projects, users, roles and application credentials, as Keystone v3 has them. HEAD is answered as GET, without the body."},
		{"agents", "What gateways ask and tell. Its bodies belong to one version of the program and may change with it."},
		{"other", "Everything else."},
	}
}

func simple(tag, summary string, answer Object) *Operation {
	op := &Operation{Summary: summary, Tags: []string{tag}, Responses: map[string]Object{"204": {"description": "Done."}}}
	if answer != nil {
		op.Responses = map[string]Object{"200": jsonAnswer("The answer.", answer)}
	}
	return op
}

// fixedOperations are the network API's, by method and path, that are no kind's.
func fixedOperations() map[string]*Operation {
	out := map[string]*Operation{}
	for _, add := range []func(map[string]*Operation){discoveryOperations, quotaOperations, tagOperations, dialectOperations, agentOperations, connectionOperations} {
		add(out)
	}
	return out
}

func discoveryOperations(out map[string]*Operation) {
	version := closed(Object{"id": text(), "status": text(), "links": list(ref("link"))})
	entry := closed(Object{"name": text(), "collection": text(), "links": list(ref("link"))})
	out["GET /"] = simple("discovery", "The versions of the network API", closed(Object{"versions": list(version)}))
	out["GET /v2.0"] = simple("discovery", "The collections that are served", closed(Object{"resources": list(entry)}))
	out["GET /v2.0/extensions"] = simple("discovery", "List the extensions", closed(Object{"extensions": list(ref("extension"))}))
	out["GET /v2.0/extensions/{alias}"] = simple("discovery", "Show an extension", closed(Object{"extension": ref("extension")}))
	out["GET /healthz"] = simple("discovery", "Whether the store answers", closed(Object{"status": text()}))
	out["GET /openapi.json"] = simple("discovery", "This document", Object{"type": "object"})
	out["GET /openapi.json"].Responses["304"] = Object{"description": "It is the one of If-None-Match."}
	for _, path := range []string{"/docs", "/docs/{file}"} {
		op := simple("discovery", "The page to read this document", nil)
		op.Responses = map[string]Object{"200": {"description": "Text for a browser."}}
		out["GET "+path] = op
	}
	for _, path := range []string{"/", "/healthz", "/openapi.json", "/docs", "/docs/{file}"} {
		op := simple("discovery", out["GET "+path].Summary+", without the body", nil)
		op.Responses = map[string]Object{"200": {"description": "As GET."}}
		out["HEAD "+path] = op
	}
}

func quotaOperations(out map[string]*Operation) {
	const one = "/v2.0/quotas/{project}"
	quota := closed(Object{"quota": ref("quota")})
	out["GET /v2.0/quotas"] = simple("quotas", "List the projects that have limits of their own (admin)", closed(Object{"quotas": list(ref("quota.project"))}))
	out["GET "+one] = simple("quotas", "Show the limits of a project", quota)
	out["PUT "+one] = simple("quotas", "Set limits of a project (admin)", quota)
	out["PUT "+one].Description = "A limit below what the project has is refused, unless force is true."
	out["PUT "+one].request = Object{"quota": Object{"ikepolicy": 5}}
	out["PUT "+one].RequestBody = jsonBody(closed(Object{"quota": ref("quota.update")}), out["PUT "+one].request)
	out["DELETE "+one] = simple("quotas", "Go back to the default limits (admin)", nil)
	out["GET "+one+"/default"] = simple("quotas", "Show the default limits", quota)
	out["GET "+one+"/details"] = simple("quotas", "Show limits and what is used of them", closed(Object{"quota": ref("quota.details")}))
	for _, word := range []string{"project", "tenant"} {
		out["GET /v2.0/quotas/"+word] = simple("quotas", "Whose limits the token's are", closed(Object{word: closed(Object{word + "_id": text()})}))
	}
}

// tagOperations are Open Telekom Cloud's key/value tags (api-contract section 9).
func tagOperations(out map[string]*Operation) {
	const all = "/v2.0/{project}/ipsec-site-connections"
	const one = all + "/{id}/tags"
	tag, keyed := tagSchema(), closed(Object{"key": text(), "values": list(text())})
	out["GET "+one] = simple("tags", "List the tags of a connection", closed(Object{"tags": list(tag)}))
	out["GET "+all+"/tags"] = simple("tags", "List every key that the project's connections have, with its values", closed(Object{"tags": list(keyed)}))
	out["POST "+one] = withBody(simple("tags", "Add a tag to a connection, or replace its value", nil),
		closed(Object{"tag": tag}), Object{"tag": Object{"key": "site", "value": "north"}})
	out["DELETE "+one+"/{key}"] = simple("tags", "Remove a tag of a connection", nil)
	some := list(Object{"type": "object", "properties": tag["properties"], "required": []string{"key"}})
	some["minItems"], some["maxItems"] = 1, 10
	out["POST "+one+"/action"] = withBody(simple("tags", "Add or remove some tags of a connection", nil),
		closed(Object{"action": Object{"type": "string", "enum": []string{"create", "delete"}}, "tags": some}),
		Object{"action": "create", "tags": []Object{{"key": "site", "value": "north"}}})
	found := closed(Object{"resource_id": text(), "resource_name": text(), "resource_detail": Object{"type": "null"}, "tags": list(tag)})
	out["POST "+all+"/resource_instances/action"] = withBody(simple("tags", "Find connections by their tags, or count them",
		Object{"type": "object", "properties": Object{"total_count": Object{"type": "integer"}, "resources": list(found)}, "required": []string{"total_count"}}),
		Object{"type": "object", "required": []string{"action"}, "properties": Object{"action": Object{"type": "string", "enum": []string{"filter", "count"}},
			"limit": Object{"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}, "offset": Object{"type": "integer", "minimum": 0, "default": 0},
			"tags": list(keyed), "matches": list(closed(Object{"key": Object{"const": "resource_name"}, "value": text()}))}},
		Object{"action": "filter", "tags": []Object{{"key": "site", "values": []string{"north", "west*"}}}})
}

func tagSchema() Object {
	word := "^[A-Za-z0-9_-]*$"
	return closed(Object{"key": Object{"type": "string", "minLength": 1, "maxLength": 36, "pattern": word}, "value": Object{"type": "string", "maxLength": 43, "pattern": word}})
}

// dialectOperations are what clients of Open Telekom Cloud and of Neutron read besides.
func dialectOperations(out map[string]*Operation) {
	one := Object{}
	for _, name := range []string{"id", "name", "cidr", "gateway_ip", "vpc_id", "status", "neutron_network_id", "neutron_subnet_id"} {
		one[name] = text()
	}
	out["GET /v1/{project}/subnets"] = simple("subnet", "List subnets as Open Telekom Cloud's v1 API has them", closed(Object{"subnets": list(closed(one))}))
	out["GET /v1/{project}/subnets"].Description = "There a router is a VPC, and a subnet has the id of its network."
	out["GET /v1/{project}/subnets"].Parameters = []Object{queryParameter("vpc_id", "Only those on this router.", list(text())),
		{"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/marker"}}
	none := list(Object{"type": "object"})
	none["maxItems"] = 0
	out["GET /v2.0/security-groups"] = simple("port", "List security groups: there are none", closed(Object{"security_groups": none}))
}

func withBody(op *Operation, schema, example Object) *Operation {
	op.RequestBody, op.request = jsonBody(schema, example), example
	return op
}

func agentOperations(out map[string]*Operation) {
	watch := simple("agents", "Follow what gateways are to do", nil)
	watch.Description = "Newline-delimited JSON until the client goes: what changed since the revision, that all of it was sent, then every change."
	watch.Parameters = []Object{queryParameter("after", "The revision that is known; 0 for everything.", Object{"type": "integer", "minimum": 0, "default": 0})}
	watch.Responses = map[string]Object{"200": {"description": "One JSON object a line.", "content": Object{"application/x-ndjson": Object{"schema": Object{"type": "object"}}}}}
	out["GET /agent/v1/watch"] = watch
	out["POST /agent/v1/counters"] = simple("agents", "Tell what tunnels carry", nil)
	out["POST /agent/v1/counters"].Description = "A list of what statistics of connections are; the newest of each replaces what was told before."
	out["POST /agent/v1/counters"].RequestBody = jsonBody(list(Object{"type": "object"}), []Object{})
	out["POST /agent/v1/reports"] = simple("agents", "Tell what a gateway sees", nil)
	out["POST /agent/v1/reports"].RequestBody = jsonBody(list(Object{"type": "object"}), []Object{})
}
