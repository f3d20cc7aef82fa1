package openapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"culvert/internal/resource"
)

// inReadingOrder puts the VPN before the network that it needs.
func inReadingOrder(a, b *resource.Kind) int {
	order := []string{"vpnservice", "ikepolicy", "ipsecpolicy", "endpoint_group", "ipsec_site_connection", "network", "subnet", "router", "port"}
	at := func(k *resource.Kind) int {
		if i := slices.Index(order, k.Name); i >= 0 {
			return i
		}
		return len(order)
	}
	return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(a.Name, b.Name))
}

// kindOperation describes what the same few handlers do with every kind; nil for what is none of theirs.
func (b *builder) kindOperation(k *resource.Kind, method, rest string) *Operation {
	ops := map[string]func(*resource.Kind) *Operation{
		"GET": b.listOperation, "POST": b.createOperation, "GET /{id}": b.showOperation, "PUT /{id}": b.updateOperation, "DELETE /{id}": b.deleteOperation,
		"GET /{id}/tags": showTags, "PUT /{id}/tags": setTags, "DELETE /{id}/tags": clearTags,
		"GET /{id}/tags/{tag}": hasTag, "PUT /{id}/tags/{tag}": addTag, "DELETE /{id}/tags/{tag}": removeTag,
	}
	if k.Name == "router" {
		ops["PUT /{id}/add_router_interface"] = routerAction("Connect the router with a subnet", "subnet_id: the interface takes the subnet's gateway address; port_id: it takes that port.")
		ops["PUT /{id}/remove_router_interface"] = routerAction("Take an interface off the router", "Named by subnet_id, port_id or both; its port is deleted.")
	}
	do := ops[strings.TrimSpace(method+" "+rest)]
	if do == nil {
		return nil
	}
	op := do(k)
	op.Tags = []string{k.Name}
	return op
}

// shownAs is one resource in the answer of a GET: fields may leave attributes out.
func shownAs(k *resource.Kind) Object {
	return Object{"anyOf": []Object{ref(k.Name), ref(k.Name + ".fields")}}
}

func (b *builder) listOperation(k *resource.Kind) *Operation {
	schema := Object{"type": "object", "required": []string{k.Plural}, "properties": Object{k.Plural: list(shownAs(k)), k.Plural + "_links": list(ref("link"))}}
	op := &Operation{Summary: "List " + many(word(k)), Responses: map[string]Object{"200": jsonAnswer("Those that the token may see; with limit, also where the pages around are.", schema)}}
	var sortable, all []string
	for _, a := range k.Attrs {
		all = append(all, a.Name)
		if a.Sort {
			sortable = append(sortable, a.Name)
		}
	}
	op.Parameters = append(op.Parameters, queryParameter("fields", "Answer these attributes alone; may be given again.", manyOf(all)),
		queryParameter("sort_key", "Sort by this attribute; as many as sort_dir.", manyOf(sortable)))
	for _, name := range []string{"sort_dir", "limit", "marker", "page_reverse"} {
		op.Parameters = append(op.Parameters, Object{"$ref": "#/components/parameters/" + name})
	}
	for _, a := range k.Attrs {
		if a.Filter {
			op.Parameters = append(op.Parameters, queryParameter(a.Name, "Only those whose "+a.Name+" is this; given again: or this.", list(text())))
		}
	}
	for _, name := range k.Filters {
		op.Parameters = append(op.Parameters, queryParameter(name, filterWords(name), list(text())))
	}
	if k.Name == "endpoint_group" {
		op.Parameters = append(op.Parameters, queryParameter("endpoint_type", "The same as type, under the name that openstacksdk sends.", list(text())))
	}
	op.answer = Object{k.Plural: []any{b.exampleAnswer(k)}}
	return op
}

func (b *builder) createOperation(k *resource.Kind) *Operation {
	in, one, some := ref(k.Name+".create"), closed(Object{k.Name: ref(k.Name)}), closed(Object{k.Plural: list(ref(k.Name))})
	bulk := list(in)
	bulk["minItems"], bulk["maxItems"] = 1, b.BulkLimit
	request := exampleRequest(k)
	return &Operation{
		Summary:     "Create " + withArticle(k),
		Description: fmt.Sprintf("Or, with a list below %s, up to %d at once: all of them or none.", k.Plural, b.BulkLimit),
		RequestBody: jsonBody(Object{"oneOf": []Object{closed(Object{k.Name: in}), closed(Object{k.Plural: bulk})}}, Object{k.Name: request}),
		Responses:   map[string]Object{"201": jsonAnswer("Made.", Object{"oneOf": []Object{one, some}}), "404": response("NotFound"), "409": response("Conflict")},
		request:     Object{k.Name: request}, answer: Object{k.Name: b.exampleAnswer(k)},
	}
}

func (b *builder) showOperation(k *resource.Kind) *Operation {
	var all []string
	for _, a := range k.Attrs {
		all = append(all, a.Name)
	}
	return &Operation{
		Summary:    "Show " + withArticle(k),
		Parameters: []Object{queryParameter("fields", "Answer these attributes alone; may be given again.", manyOf(all))},
		Responses:  map[string]Object{"200": jsonAnswer("The "+word(k)+".", closed(Object{k.Name: shownAs(k)}))},
		answer:     Object{k.Name: b.exampleAnswer(k)},
	}
}

func (b *builder) updateOperation(k *resource.Kind) *Operation {
	return &Operation{
		Summary: "Change " + withArticle(k), Description: "Attributes that are not sent stay as they are.",
		Parameters:  []Object{{"$ref": "#/components/parameters/If-Match"}},
		RequestBody: jsonBody(closed(Object{k.Name: ref(k.Name + ".update")}), Object{k.Name: Object{"name": "renamed"}}),
		Responses:   map[string]Object{"200": jsonAnswer("As it is now.", closed(Object{k.Name: ref(k.Name)})), "409": response("Conflict"), "412": response("PreconditionFailed")},
		request:     Object{k.Name: Object{"name": "renamed"}},
	}
}

func (b *builder) deleteOperation(k *resource.Kind) *Operation {
	return &Operation{
		Summary: "Delete " + withArticle(k), Description: "Refused with 409 while something else needs it. A body is refused.",
		Parameters: []Object{{"$ref": "#/components/parameters/If-Match"}},
		Responses:  map[string]Object{"204": {"description": "Gone."}, "409": response("Conflict"), "412": response("PreconditionFailed")},
	}
}

func showTags(k *resource.Kind) *Operation {
	return &Operation{Summary: "List the tags of " + withArticle(k), Responses: map[string]Object{"200": jsonAnswer("The tags.", ref("tags"))}}
}

func setTags(k *resource.Kind) *Operation {
	example := Object{"tags": []string{"branch", "blue"}}
	return &Operation{Summary: "Replace the tags of " + withArticle(k), RequestBody: jsonBody(ref("tags"), example), request: example, answer: example,
		Responses: map[string]Object{"200": jsonAnswer("The tags as they are now.", ref("tags"))}}
}

func clearTags(k *resource.Kind) *Operation {
	return &Operation{Summary: "Remove every tag of " + withArticle(k), Responses: map[string]Object{"204": {"description": "It has no tags."}}}
}

func hasTag(k *resource.Kind) *Operation {
	return &Operation{Summary: "Whether " + withArticle(k) + " has a tag", Responses: map[string]Object{"204": {"description": "It has the tag; 404 if not."}}}
}

func addTag(k *resource.Kind) *Operation {
	return &Operation{Summary: "Add a tag to " + withArticle(k), Responses: map[string]Object{"201": {"description": "It has the tag."}}}
}

func removeTag(k *resource.Kind) *Operation {
	return &Operation{Summary: "Remove a tag of " + withArticle(k), Responses: map[string]Object{"204": {"description": "It does not have the tag any more."}}}
}

func routerAction(summary, words string) func(*resource.Kind) *Operation {
	id := func() Object { return Object{"type": "string", "format": "uuid"} }
	in := Object{"type": "object", "properties": Object{"subnet_id": id(), "port_id": id()}, "minProperties": 1, "additionalProperties": false}
	out := closed(Object{"id": id(), "tenant_id": text(), "project_id": text(), "port_id": id(), "subnet_id": id(), "subnet_ids": list(id()),
		"network_id": id(), "tags": list(text())})
	example := Object{"subnet_id": exampleID("subnet")}
	return func(*resource.Kind) *Operation {
		return &Operation{Summary: summary, Description: words, RequestBody: jsonBody(in, example), request: example,
			Responses: map[string]Object{"200": jsonAnswer("The interface.", out), "409": response("Conflict")}}
	}
}

func many(title string) string {
	if base, ok := strings.CutSuffix(title, "y"); ok {
		return base + "ies"
	}
	return title + "s"
}

// word is the kind's title as it stands in a sentence: abbreviations keep their capitals.
func word(k *resource.Kind) string {
	if second := k.Title[1]; second >= 'A' && second <= 'Z' {
		return k.Title
	}
	return strings.ToLower(k.Title[:1]) + k.Title[1:]
}

// withArticle is the kind's title with its article.
func withArticle(k *resource.Kind) string {
	if strings.ContainsRune("AEIOUaeiou", rune(k.Title[0])) {
		return "an " + word(k)
	}
	return "a " + word(k)
}

func manyOf(names []string) Object { return list(Object{"type": "string", "enum": names}) }

func queryParameter(name, words string, schema Object) Object {
	return Object{"name": name, "in": "query", "description": words, "schema": schema}
}

func jsonBody(schema Object, example any) Object {
	return Object{"required": true, "content": Object{"application/json": Object{"schema": schema, "example": example}}}
}

func jsonAnswer(words string, schema Object) Object {
	return Object{"description": words, "content": Object{"application/json": Object{"schema": schema}}}
}

func response(name string) Object { return Object{"$ref": "#/components/responses/" + name} }
