// Package openapi describes the API in words that programs read: one OpenAPI 3.1 document and one page for people, both
// made from the kinds' attributes and from the table of the routes that are served. It answers no request and checks
// nothing: a rule that is not in a kind may not be invented here.
package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"culvert/internal/resource"
)

// Access says whose token a route needs.
type Access int

// The accesses: none, a user's X-Auth-Token, the agents' bearer token.
const (
	Anybody Access = iota
	User
	Agent
)

// Route is one method of one URI. Path is as the document shows it: {name} stands for one segment.
type Route struct {
	Method, Path string
	Access       Access
}

// Config is what the document is made from.
type Config struct {
	Kinds     []*resource.Kind
	Routes    []Route
	PageLimit int // rows of one list answer at most
	BulkLimit int // resources of one POST at most
}

// Object is a JSON object.
type Object = map[string]any

// Document is an OpenAPI 3.1 document.
type Document struct {
	OpenAPI    string                           `json:"openapi"`
	Info       Object                           `json:"info"`
	Servers    []Object                         `json:"servers"`
	Tags       []Tag                            `json:"tags"`
	Paths      map[string]map[string]*Operation `json:"paths"` // by path, then by method in lower case
	Components Components                       `json:"components"`

	sections []section // for the page
}

// Tag is one chapter of the API.
type Tag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Components are what the operations refer to.
type Components struct {
	Schemas         map[string]Object `json:"schemas"`
	Responses       map[string]Object `json:"responses"`
	Parameters      map[string]Object `json:"parameters"`
	SecuritySchemes map[string]Object `json:"securitySchemes"`
}

// Operation is one method of one URI.
type Operation struct {
	ID          string                `json:"operationId"`
	Summary     string                `json:"summary"`
	Description string                `json:"description,omitempty"`
	Tags        []string              `json:"tags"`
	Security    []map[string][]string `json:"security"`
	Parameters  []Object              `json:"parameters,omitempty"`
	RequestBody Object                `json:"requestBody,omitempty"`
	Responses   map[string]Object     `json:"responses"`

	request, answer any // examples for the page; nil: none
}

// builder makes the document.
type builder struct {
	Config
	doc *Document
}

// New describes every route. A route that nothing here knows is in the document too, but with an empty summary.
func New(c Config) *Document {
	b := &builder{c, &Document{
		OpenAPI: "3.1.0", Info: info(), Servers: []Object{{"url": "/"}}, Paths: map[string]map[string]*Operation{},
		Components: Components{Schemas: map[string]Object{}, Responses: commonResponses(), Parameters: commonParameters(c.PageLimit), SecuritySchemes: securitySchemes()},
	}}
	maps.Copy(b.doc.Components.Schemas, commonSchemas())
	kinds := slices.SortedFunc(slices.Values(c.Kinds), inReadingOrder)
	for _, k := range kinds {
		b.kindSchemas(k)
		b.chapter(k.Name, kindWords()[k.Name], k)
	}
	for _, t := range chapters() {
		b.chapter(t.Name, t.Description, nil)
	}
	for _, r := range c.Routes {
		b.route(r, kinds)
	}
	b.identitySchemas()
	b.arrange()
	return b.doc
}

// JSON is the document's text.
func (d *Document) JSON() ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	return b, nil
}

func (b *builder) chapter(name, text string, k *resource.Kind) {
	b.doc.Tags = append(b.doc.Tags, Tag{name, text})
	title := strings.ToUpper(name[:1]) + name[1:]
	if k != nil {
		title = many(k.Title)
	}
	b.doc.sections = append(b.doc.sections, section{Tag: Tag{name, text}, Title: title, kind: k})
}

// route puts one route into the document.
func (b *builder) route(r Route, kinds []*resource.Kind) {
	op := b.describe(r, kinds)
	op.ID = operationID(r)
	op.Security = security(r.Access)
	op.Parameters = append(pathParameters(r.Path), op.Parameters...)
	if len(op.Tags) == 0 {
		op.Tags = []string{"other"}
	}
	for code, response := range errorsOf(r) {
		if op.Responses[code] == nil {
			op.Responses[code] = response
		}
	}
	if b.doc.Paths[r.Path] == nil {
		b.doc.Paths[r.Path] = map[string]*Operation{}
	}
	b.doc.Paths[r.Path][strings.ToLower(r.Method)] = op
}

// describe never returns nil.
func (b *builder) describe(r Route, kinds []*resource.Kind) *Operation {
	for _, k := range kinds {
		if rest, ok := strings.CutPrefix(r.Path, "/v2.0/"+k.Path); ok && (rest == "" || rest[0] == '/') {
			if op := b.kindOperation(k, r.Method, rest); op != nil {
				return op
			}
		}
	}
	if rest, ok := strings.CutPrefix(r.Path, "/identity"); ok {
		if op := b.identityOperation(r.Method, rest); op != nil {
			return op
		}
	}
	if op := fixedOperations()[r.Method+" "+r.Path]; op != nil {
		return op
	}
	return &Operation{Responses: map[string]Object{"default": {"description": "An answer that this document does not describe."}}}
}

// operationID is the method and the path, in characters that every generator takes.
func operationID(r Route) string {
	id := strings.ToLower(r.Method)
	path := strings.ReplaceAll(r.Path, "{", "by/")
	for word := range strings.FieldsFuncSeq(path, func(c rune) bool { return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') }) {
		id += "_" + word
	}
	return id
}

// pathParameters are the names in braces.
func pathParameters(path string) []Object {
	var out []Object
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, "{") {
			name := strings.Trim(part, "{}")
			out = append(out, Object{"name": name, "in": "path", "required": true, "description": pathWords()[name], "schema": Object{"type": "string"}})
		}
	}
	return out
}

func security(a Access) []map[string][]string {
	switch a {
	case User:
		return []map[string][]string{{"token": {}}}
	case Agent:
		return []map[string][]string{{"agent": {}}}
	}
	return []map[string][]string{}
}
