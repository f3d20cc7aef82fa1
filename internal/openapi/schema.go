package openapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"culvert/internal/resource"
)

// side is who writes a value: clients may leave things out, and may not send everything.
type side int

const (
	answer side = iota
	onPost
	onPut
)

// kindSchemas adds a kind's schemas: <name> is a whole answer, <name>.fields one with some attributes, <name>.create and
// <name>.update are requests.
func (b *builder) kindSchemas(k *resource.Kind) {
	schemas := b.doc.Components.Schemas
	whole := objectSchema(k.Name, k.Attrs, answer)
	schemas[k.Name] = whole
	schemas[k.Name+".fields"] = Object{"type": "object", "properties": whole["properties"],
		"description": "The attributes that the parameter fields names."}
	schemas[k.Name+".create"] = objectSchema(k.Name, k.Attrs, onPost)
	schemas[k.Name+".update"] = objectSchema(k.Name, k.Attrs, onPut)
}

// objectSchema describes an object of attributes. An answer has them all; a request none that it may not have.
func objectSchema(owner string, attrs []*resource.Attr, s side) Object {
	properties, required := Object{}, []string{}
	for _, a := range attrs {
		if s == onPost && !a.Post && !a.Const || s == onPut && !a.Put {
			continue
		}
		properties[a.Name] = attrSchema(owner, a, s)
		if s == answer || s == onPost && a.Required {
			required = append(required, a.Name)
		}
	}
	out := Object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	if s != answer {
		out["additionalProperties"] = false
	}
	return out
}

// attrSchema describes one value: its type as Go has it, then what its rule adds.
func attrSchema(owner string, a *resource.Attr, s side) Object {
	out := typeSchema(a.Type, s)
	if a.Sub != nil {
		out = objectSchema(owner+"."+a.Name, a.Sub, s)
	}
	if a.Enum != nil && (s != answer || !a.EnumOption) {
		out["enum"] = a.Enum
	}
	bound(out, a.Spec, s)
	if a.Null && s != answer || a.Type.Kind() == reflect.Pointer {
		nullable(out)
	}
	if text := attrWords(owner, a.Name); text != "" {
		out["description"] = text
	}
	if v, ok := defaultOf(a); ok && s == onPost {
		out["default"] = plain(v)
		if a.Const {
			out["const"] = plain(v)
		}
	}
	if s == answer && !a.Post && !a.Put && !a.Const {
		out["readOnly"] = true
	}
	return out
}

// defaultOf is the attribute's, but for the two that the token fills in.
func defaultOf(a *resource.Attr) (any, bool) {
	if a.Name == "project_id" || a.Name == "tenant_id" {
		return nil, false
	}
	return a.Default()
}

// typeSchema describes a Go type as encoding/json writes it.
func typeSchema(t reflect.Type, s side) Object {
	if t == reflect.TypeFor[resource.Int]() {
		return Object{"type": []string{"integer", "string"}, "pattern": "^[0-9]+$"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), s)
	case reflect.Bool:
		return Object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return Object{"type": "integer"}
	case reflect.Slice:
		return Object{"type": "array", "items": typeSchema(t.Elem(), s)}
	case reflect.Struct:
		return structSchema(t, s)
	}
	return Object{"type": "string"}
}

func structSchema(t reflect.Type, s side) Object {
	properties, required := Object{}, []string{}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		properties[name] = typeSchema(t.Field(i).Type, s)
		if s == answer && options != "omitempty" {
			required = append(required, name)
		}
	}
	out := Object{"type": "object", "properties": properties}
	if s == answer {
		out["required"] = required
	} else {
		out["additionalProperties"] = false
	}
	return out
}

// bound adds what the rule in an attribute's tag says (resource's rules; those of the packages that own a kind by their names).
func bound(out Object, spec string, s side) {
	rule, rest, _ := strings.Cut(spec, " ")
	args := strings.Fields(rest)
	switch rule {
	case "string":
		set(out, args, "maxLength")
	case "text":
		set(out, args, "minLength", "maxLength")
	case "name":
		out["maxLength"] = 255
	case "uuid":
		out["format"] = "uuid"
	case "int", "number":
		set(out, args, "minimum", "maximum")
	case "ipversion":
		out["enum"] = []int{4, 6}
	case "psk":
		out["minLength"], out["maxLength"] = 6, 128
	case "peer_id", "local_id":
		out["maxLength"] = 255
	case "mac":
		out["pattern"] = "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"
	case "zones", "groups", "types":
		out["maxItems"] = 0
	}
	if needed := neededKeys(rule); needed != nil && s != answer {
		item := out
		if items, ok := out["items"].(Object); ok {
			item = items
		}
		item["required"] = needed
	}
}

// neededKeys are those that an object in a request must have, by the rule that checks it.
func neededKeys(rule string) []string {
	return map[string][]string{"pools": {"start", "end"}, "routes": {"destination", "nexthop"}, "pairs": {"ip_address"}, "gateway": {"network_id"}}[rule]
}

func set(out Object, args []string, names ...string) {
	for i, name := range names {
		if i < len(args) {
			if n, err := strconv.Atoi(args[i]); err == nil {
				out[name] = n
			}
		}
	}
}

func nullable(out Object) {
	switch t := out["type"].(type) {
	case string:
		out["type"] = []string{t, "null"}
	case []string:
		out["type"] = append(slices.Clone(t), "null")
	}
	if e, ok := out["enum"].([]string); ok {
		all := []any{nil}
		for _, v := range e {
			all = append(all, v)
		}
		out["enum"] = all
	}
}

// plain is a value as a JSON reader would have it, so that a default of a Go type of its own is an ordinary one.
func plain(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if json.Unmarshal(b, &out) != nil {
		return nil
	}
	if f, ok := out.(float64); ok && f == float64(int64(f)) {
		return int64(f)
	}
	return out
}

func ref(name string) Object { return Object{"$ref": "#/components/schemas/" + name} }

// closed is an object with exactly these keys.
func closed(properties Object) Object {
	required := make([]string, 0, len(properties))
	for name := range properties {
		required = append(required, name)
	}
	slices.Sort(required)
	return Object{"type": "object", "properties": properties, "required": required}
}

func list(of Object) Object { return Object{"type": "array", "items": of} }

func text() Object { return Object{"type": "string"} }
