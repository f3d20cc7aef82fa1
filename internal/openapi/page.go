package openapi

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"culvert/internal/resource"
)

//go:embed page
var files embed.FS

// section is one chapter of the page.
type section struct {
	Tag
	Title      string
	kind       *resource.Kind // nil: no kind's
	Operations []shownOperation
	Attributes []shownAttribute
}

type shownOperation struct {
	*Operation
	Anchor, Method, Path, Access string
	Request, Answer              string
	Query                        []string
	Codes                        string
}

type shownAttribute struct{ Name, Type, Default, Allowed, Given, Words string }

// arrange gives each section its operations, and drops the empty ones.
func (b *builder) arrange() {
	access := map[string]string{}
	for _, r := range b.Routes {
		access[r.Path+" "+r.Method] = [...]string{"no token", "X-Auth-Token", "agents' token"}[r.Access]
	}
	d := b.doc
	for i := range d.sections {
		s := &d.sections[i]
		for path, ops := range d.Paths {
			for method, op := range ops {
				if method = strings.ToUpper(method); op.Tags[0] == s.Name && method != "HEAD" {
					s.Operations = append(s.Operations, d.shown(method, path, access[path+" "+method], op))
				}
			}
		}
		slices.SortFunc(s.Operations, byPath)
		if s.kind != nil {
			s.Attributes = shownAttributes(s.kind.Name, "", s.kind.Attrs)
		}
	}
	d.sections = slices.DeleteFunc(d.sections, func(s section) bool { return s.Operations == nil })
	d.Tags = slices.DeleteFunc(d.Tags, func(t Tag) bool {
		return !slices.ContainsFunc(d.sections, func(s section) bool { return s.Name == t.Name })
	})
}

func byPath(a, b shownOperation) int {
	if n := strings.Compare(a.Path, b.Path); n != 0 {
		return n
	}
	order := "GET POST PUT PATCH DELETE"
	return strings.Index(order, a.Method) - strings.Index(order, b.Method)
}

func (d *Document) shown(method, path, access string, op *Operation) shownOperation {
	out := shownOperation{Operation: op, Anchor: op.ID, Method: method, Path: path, Access: access, Request: indented(op.request), Answer: indented(op.answer)}
	for _, p := range op.Parameters {
		name, _ := p["name"].(string)
		if r, is := p["$ref"].(string); is {
			name = r[strings.LastIndexByte(r, '/')+1:]
		}
		if p["in"] != "path" {
			out.Query = append(out.Query, name)
		}
	}
	var codes []string
	for code := range op.Responses {
		if code != "default" {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	out.Codes = strings.Join(codes, ", ")
	return out
}

func indented(v any) string {
	if v == nil {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// shownAttributes lists an object's attributes below it.
func shownAttributes(owner, prefix string, attrs []*resource.Attr) (out []shownAttribute) {
	for _, a := range attrs {
		schema := attrSchema(owner, a, onPost)
		row := shownAttribute{Name: prefix + a.Name, Type: typeWords(schema), Allowed: allowedWords(schema), Given: givenWords(a), Words: attrWords(owner, a.Name)}
		if v, ok := defaultOf(a); ok {
			b, err := json.Marshal(v)
			if err == nil {
				row.Default = string(b)
			}
		}
		out = append(out, row)
		out = append(out, shownAttributes(owner+"."+a.Name, prefix+a.Name+".", a.Sub)...)
	}
	return out
}

func typeWords(schema Object) string {
	types, ok := schema["type"].([]string)
	if !ok {
		one, _ := schema["type"].(string)
		types = []string{one}
	}
	words := slices.Clone(types)
	for i, t := range words {
		if items, ok := schema["items"].(Object); ok && t == "array" {
			words[i] = "list of " + typeWords(items) + "s"
		}
	}
	return strings.Join(words, " or ")
}

func allowedWords(schema Object) string {
	var parts []string
	if e, ok := schema["enum"]; ok {
		parts = append(parts, strings.Trim(strings.ReplaceAll(fmt.Sprint(e), "<nil>", "null"), "[]"))
	}
	if schema["format"] == "uuid" {
		parts = append(parts, "a UUID")
	}
	for _, bounds := range [][3]string{{"minimum", "maximum", ""}, {"minLength", "maxLength", " characters"}, {"minItems", "maxItems", " items"}} {
		low, has := schema[bounds[0]]
		high, bounded := schema[bounds[1]]
		switch {
		case has && bounded:
			parts = append(parts, fmt.Sprintf("%v to %v%s", low, high, bounds[2]))
		case bounded:
			parts = append(parts, fmt.Sprintf("up to %v%s", high, bounds[2]))
		}
	}
	return strings.Join(parts, "; ")
}

func givenWords(a *resource.Attr) string {
	switch {
	case a.Required && a.Put:
		return "required, can be changed"
	case a.Required:
		return "required"
	case a.Post && a.Put:
		return "can be changed"
	case a.Put:
		return "on PUT only"
	case a.Post, a.Const:
		return "on POST only"
	}
	return "read-only"
}

// Page is the document for people: HTML that needs no other host, and no script but the search's.
func (d *Document) Page() ([]byte, error) {
	t, err := template.ParseFS(files, "page/page.html")
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Title, Words string
		Sections     []section
	}{d.Info["title"].(string), d.Info["description"].(string), d.sections})
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return b.Bytes(), nil
}

// File is one of the two files that the page asks for, with its media type; ok is false for any other name.
func File(name string) (text []byte, mediaType string, ok bool) {
	mediaType, ok = map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}[name]
	if !ok {
		return nil, "", false
	}
	text, err := files.ReadFile("page/" + name)
	return text, mediaType, err == nil
}
