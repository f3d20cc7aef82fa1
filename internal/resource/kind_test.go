package resource_test

import (
	"encoding/json"
	"testing"

	"culvert/internal/resource"

	"github.com/google/go-cmp/cmp"
)

type limits struct {
	Units string       `json:"units" api:"post put" enum:"seconds" default:"seconds"`
	Value resource.Int `json:"value" api:"post put" rule:"number 60 604800" default:"3600"`
}

type gadget struct {
	resource.Head
	Mode   string   `json:"mode" api:"post put" enum:"@modes" default:"main" neutron:"old"`
	Size   int64    `json:"size" api:"post put" rule:"int 1 9" default:"5"`
	Up     bool     `json:"up" api:"post put" rule:"bool" default:"true"`
	Owner  *string  `json:"owner" api:"post null" rule:"uuid" default:"null"`
	Parts  []string `json:"parts" api:"post put null" rule:"strings" default:"[]"`
	Fixed  string   `json:"fixed" api:"const" enum:"only" default:"only"`
	Needed string   `json:"needed" api:"post required" rule:"text 1 10"`
	Limits limits   `json:"limits" api:"post put" default:"{\"value\":7200}"`
	Status string   `json:"status" rule:"string"`
}

func gadgetKind(t *testing.T, profile string) *resource.Kind {
	t.Helper()
	k := &resource.Kind{Name: "gadget", Plural: "gadgets", Title: "Gadget", NotFound: "GadgetNotFound", InUse: "GadgetInUse"}
	if err := k.Parse(gadget{}, resource.Options{Profile: profile, Enums: map[string][]string{"modes": {"main", "old"}}}); err != nil {
		t.Fatal(err)
	}
	return k
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	m, err := resource.ParseBody([]byte(`{"gadget":` + text + `}`))
	if err != nil {
		t.Fatal(err)
	}
	in, err := resource.Unwrap(m, "gadget")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// text is the resource as JSON without its head, or the error.
func text(k *resource.Kind, in resource.Attrs, err error, start *gadget) string {
	if err != nil {
		return err.Error()
	}
	g := start
	if g == nil {
		g = &gadget{}
		k.Defaults(g)
	}
	k.Apply(in, g)
	b, _ := json.Marshal(struct {
		Mode   string
		Size   int64
		Up     bool
		Owner  *string
		Parts  []string
		Fixed  string
		Needed string
		Limits limits
	}{g.Mode, g.Size, g.Up, g.Owner, g.Parts, g.Fixed, g.Needed, g.Limits})
	return string(b)
}

func TestDefault(t *testing.T) {
	k := gadgetKind(t, "neutron")
	got := map[string]any{}
	for _, a := range k.Attrs {
		if v, ok := a.Default(); ok {
			got[a.Name] = v
		}
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"description":"","fixed":"only","limits":{"units":"seconds","value":7200},"mode":"old","name":"","owner":null,"parts":[],"project_id":"","size":5,"tenant_id":"","up":true}`
	if string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
	if a := k.Attr("needed"); a.Spec != "text 1 10" || a.EnumOption || !k.Attr("mode").EnumOption || k.Attr("fixed").EnumOption {
		t.Errorf("%+v", a)
	}
}

const plain = `{"Mode":"main","Size":5,"Up":true,"Owner":null,"Parts":[],"Fixed":"only","Needed":"x","Limits":{"units":"seconds","value":7200}}`

func TestPost(t *testing.T) {
	k := gadgetKind(t, "secure")
	for in, want := range map[string]string{
		`{"needed":"x"}`: plain,
		`{"needed":"x","size":null,"up":null,"mode":null,"limits":null,"owner":null,"parts":null}`: plain,
		`{"needed":"x","limits":{}}`: plain,
		`{"needed":"x","name":null,"description":null,"project_id":null,"tenant_id":null}`: plain,
		`{"needed":"x","fixed":"only"}`:                                               plain,
		`{"needed":"x","size":"7","up":"no","parts":"one","limits":{"value":"3700"}}`: `{"Mode":"main","Size":7,"Up":false,"Owner":null,"Parts":["one"],"Fixed":"only","Needed":"x","Limits":{"units":"seconds","value":"3700"}}`,
		`{"needed":"x","owner":"{11111111-2222-3333-4444-555555555555}"}`:             `{"Mode":"main","Size":5,"Up":true,"Owner":"11111111-2222-3333-4444-555555555555","Parts":[],"Fixed":"only","Needed":"x","Limits":{"units":"seconds","value":7200}}`,
		`{}`:                                   "HTTPBadRequest: Failed to parse request. Required attribute 'needed' not specified",
		`{"needed":"x","b":1,"a":2}`:           "HTTPBadRequest: Unrecognized attribute(s) 'a, b'",
		`{"needed":"x","id":"1"}`:              "HTTPBadRequest: Attribute 'id' not allowed in POST",
		`{"needed":"x","status":"A"}`:          "HTTPBadRequest: Attribute 'status' not allowed in POST",
		`{"needed":"x","fixed":"other"}`:       "HTTPBadRequest: Invalid input for fixed. Reason: 'other' is not in valid_values; allowed are only.",
		`{"needed":null}`:                      "HTTPBadRequest: Invalid input for needed. Reason: null is not allowed.",
		`{"needed":""}`:                        "HTTPBadRequest: Invalid input for needed. Reason: '' has 0 characters; allowed are 1 to 10.",
		`{"needed":"a\nb"}`:                    "HTTPBadRequest: Invalid input for needed. Reason: 'a\uFFFDb' contains a control character (line breaks, tabs and NUL are not allowed).",
		`{"needed":7}`:                         "HTTPBadRequest: Invalid input for needed. Reason: '7' is not a string.",
		`{"needed":"x","name":" a"}`:           "HTTPBadRequest: Invalid input for name. Reason: ' a' begins or ends with a blank.",
		`{"needed":"x","name":"a\u200bb"}`:     "HTTPBadRequest: Invalid input for name. Reason: 'a\u200bb' contains a character that cannot be printed.",
		`{"needed":"x","mode":"Main"}`:         "HTTPBadRequest: Invalid input for mode. Reason: 'Main' is not in valid_values; allowed are main, old.",
		`{"needed":"x","mode":["main"]}`:       `HTTPBadRequest: Invalid input for mode. Reason: '["main"]' is not in valid_values; allowed are main, old.`,
		`{"needed":"x","size":10}`:             "HTTPBadRequest: Invalid input for size. Reason: '10' is not in the range 1 to 9.",
		`{"needed":"x","size":1.5}`:            "InvalidInput: Invalid input for operation: '1.5' is not an integer.",
		`{"needed":"x","size":"1e1000000"}`:    "InvalidInput: Invalid input for operation: '1e1000000' is not an integer.",
		`{"needed":"x","up":"maybe"}`:          "InvalidInput: Invalid input for operation: 'maybe' cannot be converted to boolean; allowed are true and false.",
		`{"needed":"x","owner":"7"}`:           "HTTPBadRequest: Invalid input for owner. Reason: '7' is not a valid UUID.",
		`{"needed":"x","limits":59}`:           "HTTPBadRequest: Invalid input for limits. Reason: '59' is not an object.",
		`{"needed":"x","limits":{"value":59}}`: "HTTPBadRequest: Invalid input for limits.value. Reason: '59' is not in the range 60 to 604800.",
		`{"needed":"x","limits":{"x":59}}`:     "HTTPBadRequest: Invalid input for limits. Reason: Unexpected keys supplied: 'x'; allowed are units, value.",
		`{"needed":"x","parts":{"a":1}}`:       `HTTPBadRequest: Invalid input for parts. Reason: '{"a":1}' is not a list.`,
		`{"needed":"x","parts":["a",["b"]]}`:   `HTTPBadRequest: Invalid input for parts. Reason: '["b"]' is not a string.`,
	} {
		attrs, err := k.ForPost(object(t, in))
		if d := cmp.Diff(want, text(k, attrs, err, nil)); d != "" {
			t.Errorf("POST %s: %s", in, d)
		}
	}
}

func TestProfile(t *testing.T) {
	k := gadgetKind(t, "neutron")
	attrs, err := k.ForPost(object(t, `{"needed":"x"}`))
	want := `{"Mode":"old","Size":5,"Up":true,"Owner":null,"Parts":[],"Fixed":"only","Needed":"x","Limits":{"units":"seconds","value":7200}}`
	if d := cmp.Diff(want, text(k, attrs, err, nil)); d != "" {
		t.Error(d)
	}
}

func TestPut(t *testing.T) {
	k := gadgetKind(t, "secure")
	for in, want := range map[string]string{
		`{}`:                         `{"Mode":"old","Size":2,"Up":true,"Owner":null,"Parts":["p"],"Fixed":"only","Needed":"n","Limits":{"units":"seconds","value":60}}`,
		`{"limits":{"value":90}}`:    `{"Mode":"old","Size":2,"Up":true,"Owner":null,"Parts":["p"],"Fixed":"only","Needed":"n","Limits":{"units":"seconds","value":90}}`,
		`{"limits":null,"parts":[]}`: `{"Mode":"old","Size":2,"Up":true,"Owner":null,"Parts":[],"Fixed":"only","Needed":"n","Limits":{"units":"seconds","value":60}}`,
		`{"needed":"n"}`:             "HTTPBadRequest: Cannot update read-only attribute needed",
		`{"project_id":"p"}`:         "HTTPBadRequest: Cannot update read-only attribute project_id",
		`{"mode":null}`:              "HTTPBadRequest: Invalid input for mode. Reason: null is not allowed.",
		`{"bogus":1}`:                "HTTPBadRequest: Unrecognized attribute(s) 'bogus'",
	} {
		attrs, err := k.ForPut(object(t, in))
		start := &gadget{Mode: "old", Size: 2, Up: true, Parts: []string{"p"}, Fixed: "only", Needed: "n", Limits: limits{"seconds", resource.Int{N: 60}}}
		if d := cmp.Diff(want, text(k, attrs, err, start)); d != "" {
			t.Errorf("PUT %s: %s", in, d)
		}
	}
}

func TestIntKeepsItsType(t *testing.T) {
	for _, in := range []string{`7`, `"7"`} {
		var i resource.Int
		if err := json.Unmarshal([]byte(in), &i); err != nil {
			t.Fatal(err)
		}
		if out, _ := json.Marshal(i); string(out) != in || i.N != 7 {
			t.Errorf("%s became %s", in, out)
		}
	}
}
