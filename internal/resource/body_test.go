package resource_test

import (
	"encoding/json"
	"strings"
	"testing"

	"culvert/internal/resource"
)

func TestParseBody(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "HTTPBadRequest: Resource body required",
		" \n":                       "HTTPBadRequest: Resource body required",
		"{}":                        "HTTPBadRequest: Resource body required",
		"[]":                        "HTTPBadRequest: Resource body required",
		"[1]":                       "HTTPBadRequest: The body must be a JSON object, not a list",
		"7":                         "HTTPBadRequest: The body must be a JSON object",
		"{":                         "MalformedRequestBody: Malformed request body: it is not JSON.",
		`{"a":1} x`:                 "MalformedRequestBody: Malformed request body: something follows the JSON value.",
		"{\"a\":\"\xff\"}":          "MalformedRequestBody: Malformed request body: it must be UTF-8 and nest at most 16 levels.",
		strings.Repeat(`{"a":`, 17): "MalformedRequestBody: Malformed request body: it must be UTF-8 and nest at most 16 levels.",
		`{"a":"` + strings.Repeat("[", 99) + `"}`: "",
	} {
		_, err := resource.ParseBody([]byte(in))
		if got := errText(err); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzBody: whatever comes in, the answer is a 4xx or attributes that survive being written and read again.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"gadget":{"needed":"x","limits":{"value":"60"}}}`, `{"gadget":{"parts":["a"],"up":"no","size":1e9}}`, `{"gadget":null}`, `[[[[`, `{"gadget":{"name":"\u0000"}}`} {
		f.Add([]byte(s))
	}
	k := &resource.Kind{Name: "gadget"}
	if err := k.Parse(gadget{}, resource.Options{Profile: "secure", Enums: map[string][]string{"modes": {"main", "old"}}}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := resource.ParseBody(raw)
		if err == nil {
			body, err = resource.Unwrap(body, "gadget")
		}
		var attrs resource.Attrs
		if err == nil {
			attrs, err = k.ForPost(body)
		}
		if err != nil {
			if e, ok := err.(*resource.Error); !ok || e.Code < 400 || e.Code > 499 {
				t.Fatalf("%q: %#v", raw, err)
			}
			return
		}
		g := &gadget{}
		k.Defaults(g)
		k.Apply(attrs, g)
		b, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &gadget{}); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	})
}
