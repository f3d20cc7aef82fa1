package vpntest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A checker finds what is not as the document says, and nothing else.
func TestAnswersAreHeldAgainstTheDocument(t *testing.T) {
	const document = `{"openapi":"3.1.0","paths":{
		"/things/{id}":{"get":{"responses":{
			"200":{"content":{"application/json":{"schema":{"anyOf":[{"$ref":"#/components/schemas/thing"},{"$ref":"#/components/schemas/thing.fields"}]}}}},
			"404":{"$ref":"#/components/responses/Error"}}}},
		"/v2.0/{project}/things":{"delete":{"responses":{"204":{"description":"gone"}}}}},
		"components":{"schemas":{"thing":{"type":"object","properties":{"id":{"type":"string","format":"uuid"},"size":{"type":"integer"}},"required":["id","size"]},
			"thing.fields":{"type":"object","properties":{"id":{"type":"string"},"size":{"type":"integer"}}}},
			"responses":{"Error":{"content":{"application/json":{"schema":{"type":"object","required":["NeutronError"]}}}},
			"IdentityError":{"content":{"application/json":{"schema":{"type":"object","required":["error"]}}}}}}}`
	const id = `"id":"00000000-0000-4000-8000-000000000001"`
	for _, c := range []struct {
		method, target string
		code           int
		media, body    string
		good           bool
	}{
		{"GET", "/things/1", 200, "application/json", `{` + id + `,"size":1}`, true},
		{"GET", "/things/1.json", 200, "application/json; charset=utf-8", `{` + id + `,"size":1}`, true},
		{"HEAD", "/things/1", 200, "application/json", ``, true},
		{"GET", "/things/1", 200, "application/json", `{` + id + `}`, false},
		{"GET", "/things/1?fields=id", 200, "application/json", `{` + id + `}`, true},
		{"GET", "/things/1?fields=id", 200, "application/json", `{` + id + `,"more":1}`, false},
		{"GET", "/things/1", 200, "application/json", `{` + id + `,"size":1,"more":1}`, false},
		{"GET", "/things/1", 200, "application/json", `{"id":"1","size":1}`, false},
		{"GET", "/things/1", 200, "application/json", `{` + id + `,"size":"1"}`, false},
		{"GET", "/things/1", 200, "text/html", `{` + id + `,"size":1}`, false},
		{"GET", "/things/1", 200, "application/json", `{`, false},
		{"GET", "/things/1", 202, "application/json", `{` + id + `,"size":1}`, false},
		{"GET", "/things/1", 404, "application/json", `{"NeutronError":{}}`, true},
		{"GET", "/things/1", 404, "application/json", `{"error":{}}`, false},
		{"PATCH", "/things/1", 405, "application/json", `{"NeutronError":{}}`, true},
		{"PATCH", "/things/1", 200, "application/json", `{"NeutronError":{}}`, false},
		{"GET", "/nothing", 404, "application/json", `{"NeutronError":{}}`, true},
		{"GET", "/nothing", 401, "application/json", `{"error":{}}`, true},
		{"GET", "/identity/nothing", 404, "application/json", `{"error":{}}`, true},
		{"GET", "/identity/nothing", 404, "application/json", `{"NeutronError":{}}`, false},
		{"DELETE", "/v2.0/p/things", 204, "", ``, true},
		{"DELETE", "/v2.0/p/things", 204, "", `x`, false},
	} {
		r := &reporter{TB: t}
		h := CheckedBy(r, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.media)
			w.WriteHeader(c.code)
			_, _ = w.Write([]byte(c.body))
		}), []byte(document))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, c.target, strings.NewReader("")))
		r.cleanup()
		if good := r.found == 0; good != c.good {
			t.Errorf("%s %s, answered %d %s: good is %v, want %v", c.method, c.target, c.code, c.body, good, c.good)
		}
	}
}

// reporter counts failures instead of failing.
type reporter struct {
	testing.TB
	cleanup func()
	found   int
}

func (r *reporter) Cleanup(f func()) { r.cleanup = f }
func (r *reporter) Error(...any)     { r.found++ }
