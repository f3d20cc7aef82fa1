package openapi

// connectionOperations are what hangs below one IPsec site connection.
func connectionOperations(out map[string]*Operation) {
	const one = "/v2.0/vpn/ipsec-site-connections/{id}"
	whole := eventSchema()
	event := Object{"anyOf": []Object{whole, {"type": "object", "properties": whole["properties"]}}}
	op := simple("ipsec_site_connection", "List the events of an IPsec site connection",
		Object{"type": "object", "required": []string{"events"}, "properties": Object{"events": list(event), "events_links": list(ref("link"))}})
	op.Description = "What happened to the connection, newest first: requests that changed it or something that it uses, and what its gateway saw. " +
		"The newest 1000 are kept, and go when the connection does. New types may come."
	op.Parameters = []Object{queryParameter("type", "Only events of this type; given again: or of this.", list(text())),
		queryParameter("fields", "Answer these attributes alone; may be given again.", list(text())),
		queryParameter("sort_key", "The only one there is.", manyOf([]string{"created_at"}))}
	for _, name := range []string{"sort_dir", "limit", "marker", "page_reverse"} {
		op.Parameters = append(op.Parameters, Object{"$ref": "#/components/parameters/" + name})
	}
	op.answer = Object{"events": []Object{exampleEvent()}}
	out["GET "+one+"/events"] = op
	statisticsOperation(out, "GET "+one+"/statistics")
}

func eventSchema() Object {
	maybe := func(words string) Object { return Object{"type": []string{"string", "null"}, "description": words} }
	said := func(words string) Object { return Object{"type": "string", "description": words} }
	reason := Object{"type": []string{"object", "null"}, "description": "Why, as in the connection's status_reason; null where there is nothing to say.", "properties": Object{}}
	for _, name := range []string{"code", "side", "phase", "summary", "ours", "theirs", "hint", "first_seen", "last_seen"} {
		reason["properties"].(Object)[name] = text()
	}
	what := closed(Object{"type": said("Its kind."), "id": text(), "name": text()})
	what["type"], what["description"] = []string{"object", "null"}, "What a request made or changed: the connection, or something that it uses; null of what a gateway saw."
	change := closed(Object{"attribute": text(), "old": Object{"description": "null where it had none."}, "new": Object{"description": "null where it has none any more."}})
	changes := list(change)
	changes["description"] = "The attributes that got another value. Of the psk it says only that it did; of values of more than 4096 bytes how long they are."
	return closed(Object{
		"id": said("Made by the server or the gateway."), "created_at": said("When it happened, UTC, by the clock of whoever saw it."),
		"type": said("create, update: requests. up, down: the tunnel as a whole. reason: status_reason changed. ike_up, ike_down, ike_rekey, " +
			"child_up, child_down, child_rekey: its SAs. charon_started: the IKE daemon runs again."),
		"ipsec_site_connection_id": said("The connection's id."), "summary": said("For people."),
		"request_id": maybe("X-Openstack-Request-Id of the request that did it."), "user_id": maybe("Who sent that request."),
		"resource": what, "changes": changes, "status": maybe("The connection's status from then on; null where the event says nothing of it."),
		"status_reason": reason,
		"details":       Object{"type": "object", "additionalProperties": text(), "description": "Of an SA: addresses, algorithms, SPIs."},
	})
}

func exampleEvent() Object {
	return Object{"id": exampleID("event"), "created_at": "2026-11-01 08:00:00.000000", "type": "update", "ipsec_site_connection_id": exampleID("ipsec_site_connection"),
		"summary": "IKE policy 'modern': changed encryption_algorithm", "request_id": "req-" + exampleID("request"), "user_id": exampleID("user"),
		"resource": Object{"type": "ikepolicy", "id": exampleID("ikepolicy"), "name": "modern"},
		"changes":  []Object{{"attribute": "encryption_algorithm", "old": "aes-128", "new": "aes-256"}},
		"status":   "PENDING_UPDATE", "status_reason": nil, "details": Object{}}
}
