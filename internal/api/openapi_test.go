package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// published is the document of a whole server.
func (w *world) published() *openapi3.T {
	w.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(w.send("GET", "/openapi.json", "", nil).Body.Bytes())
	if err != nil {
		w.Fatal(err)
	}
	return doc
}

func TestDocumentIsValid(t *testing.T) {
	doc := newWorld(t).published()
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Error(doc.OpenAPI)
	}
}

// Whatever is served is described: in a chapter, in words, with the answers of success and the meaning of each attribute.
func TestEverythingIsDescribed(t *testing.T) {
	doc := newWorld(t).published()
	ids := map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			at := method + " " + path
			if op.Summary == "" || slices.Contains(op.Tags, "other") {
				t.Errorf("%s: say in internal/openapi what it does, and what it answers", at)
			}
			if other := ids[op.OperationID]; other != "" {
				t.Errorf("%s and %s have one operationId", at, other)
			}
			ids[op.OperationID] = at
			for _, p := range op.Parameters {
				if p.Value.Description == "" {
					t.Errorf("%s: parameter %s has no description", at, p.Value.Name)
				}
			}
		}
	}
	for name, schema := range doc.Components.Schemas {
		if !strings.HasSuffix(name, ".create") {
			continue
		}
		for attr, s := range doc.Components.Schemas[strings.TrimSuffix(name, ".create")].Value.Properties {
			if s.Value.Description == "" {
				t.Errorf("%s.%s: say in internal/openapi/words.go what it is", name, attr)
			}
		}
		if schema.Value.AdditionalProperties.Has == nil {
			t.Errorf("%s takes unknown attributes", name)
		}
	}
}

// Every route is put on a mux by one of the few functions that note it.
func TestNoRouteIsForgotten(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`\.(Handle|HandleFunc)\(.*`)
	found := []string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") {
			for _, m := range call.FindAllString(string(text), -1) {
				found = append(found, f+m)
			}
		}
	}
	want := []string{
		"call.go.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {",     // notes it
		"keystone.go.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {", // notes it
		`keystone.go.Handle("/identity", k)`, `keystone.go.Handle("/identity/", k)`,      // its own routes, which it tells
		`server.go.Handle("/v2.0/", s.projectRoutes())`, // of serve
		`server.go.Handle("/identity", s.Identity)`, `server.go.Handle("/identity/", s.Identity)`,
	}
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("a route that is not noted is not in the OpenAPI document:\n%s", strings.Join(found, "\n"))
	}
	paths := newWorld(t).published().Paths
	for _, p := range []string{"/", "/v2.0/extensions/{alias}", "/v2.0/vpn/ipsec-site-connections/{id}", "/v2.0/routers/{id}/add_router_interface", "/v2.0/ports/{id}/tags/{tag}",
		"/v2.0/quotas/{project}/details", "/v2.0/{project}/ipsec-site-connections/{id}/tags/action", "/identity/v3/auth/tokens", "/agent/v1/watch", "/openapi.json", "/docs"} {
		if paths.Value(p) == nil {
			t.Errorf("the document has no %s", p)
		}
	}
}

// The filters in the document are those that the server takes.
func TestFiltersAreDescribed(t *testing.T) {
	w := newWorld(t)
	lists := 0
	for path, item := range w.published().Paths.Map() {
		if item.Get == nil || item.Post == nil || !strings.HasPrefix(path, "/v2.0/") || strings.Contains(path, "{") {
			continue
		}
		lists++
		described := []string{}
		for _, p := range item.Get.Parameters {
			if !slices.Contains([]string{"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse", "endpoint_type"}, p.Value.Name) {
				described = append(described, p.Value.Name)
			}
		}
		slices.Sort(described)
		refusal := w.send("GET", path+"?nonsense=1", "", nil).Body.String()
		_, taken, _ := strings.Cut(refusal, "allowed are ")
		taken, _, _ = strings.Cut(taken, `"`)
		if got := strings.Join(described, ", "); got != taken {
			t.Errorf("%s: the document has the filters %s, the server %s", path, got, taken)
		}
	}
	if lists != 9 {
		t.Errorf("%d collections", lists)
	}
}

// The examples of creates can be sent: with ids that exist in the place of the examples' they make what they say.
func TestExamplesAreTrue(t *testing.T) {
	w := newWorld(t)
	doc := w.published()
	ids := map[string]string{} // of an example: what stands for it
	swap := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for from, to := range ids {
			text = strings.ReplaceAll(text, from, to)
		}
		return text
	}
	example := func(path string) map[string]any {
		return doc.Paths.Value("/v2.0/" + path).Post.RequestBody.Value.Content["application/json"].Example.(map[string]any)
	}
	make := func(path, key string) string {
		w.Helper()
		return w.made("/v2.0/"+path, key, swap(example(path)))
	}
	of := func(path, key, attr string) string { return example(path)[key].(map[string]any)[attr].(string) }

	wan := w.made("/v2.0/networks", "network", `{"network":{"router:external":true}}`)
	w.made("/v2.0/subnets", "subnet", `{"subnet":{"network_id":"`+wan+`","ip_version":4,"cidr":"203.0.113.0/24"}}`)
	ids[example("routers")["router"].(map[string]any)["external_gateway_info"].(map[string]any)["network_id"].(string)] = wan
	ids[of("subnets", "subnet", "network_id")] = make("networks", "network")
	subnet := make("subnets", "subnet")
	make("ports", "port")
	router := make("routers", "router")
	add := doc.Paths.Value("/v2.0/routers/{id}/add_router_interface").Put.RequestBody.Value.Content["application/json"].Example.(map[string]any)
	ids[add["subnet_id"].(string)] = subnet
	if r := w.send("PUT", "/v2.0/routers/"+router+"/add_router_interface", swap(add), nil); r.Code != 200 {
		t.Fatal(r.Code, r.Body)
	}
	ids[of("vpn/vpnservices", "vpnservice", "router_id")] = router
	connection := "ipsec_site_connection"
	for _, c := range [][3]string{{"vpnservices", "vpnservice", "vpnservice_id"}, {"ikepolicies", "ikepolicy", "ikepolicy_id"},
		{"ipsecpolicies", "ipsecpolicy", "ipsecpolicy_id"}, {"endpoint-groups", "endpoint_group", "peer_ep_group_id"}} {
		id := make("vpn/"+c[0], c[1])
		ids[of("vpn/ipsec-site-connections", connection, c[2])] = id
	}
	ids[of("vpn/ipsec-site-connections", connection, "local_ep_group_id")] =
		w.made("/v2.0/vpn/endpoint-groups", "endpoint_group", `{"endpoint_group":{"type":"subnet","endpoints":["`+subnet+`"]}}`)
	make("vpn/ipsec-site-connections", connection)
}

// What the page shows as answers fits the schemas.
func TestShownAnswersFit(t *testing.T) {
	w := newWorld(t)
	v, err := jsonschema.UnmarshalJSON(w.send("GET", "/openapi.json", "", nil).Body)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("culvert:openapi", v); err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, m := range regexp.MustCompile(`(?s)<h4>Answer</h4><pre>(.*?)</pre>`).FindAllSubmatch(w.send("GET", "/docs", "", nil).Body.Bytes(), -1) {
		text := strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&amp;", "&", "&#43;", "+").Replace(string(m[1]))
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err, text)
		}
		for key, one := range v.(map[string]any) {
			schema, err := c.Compile("culvert:openapi#/components/schemas/" + key)
			if err != nil || key == "tags" {
				continue // a list, or something that is no kind
			}
			if err := schema.Validate(one); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			shown++
		}
	}
	if shown < 18 { // a create and a show of nine kinds
		t.Errorf("%d answers are shown", shown)
	}
}

func TestDocumentIsCached(t *testing.T) {
	w := newWorld(t)
	first := w.send("GET", "/openapi.json", "", http.Header{"X-Auth-Token": nil})
	tag := first.Header().Get("ETag")
	if first.Code != 200 || tag == "" || first.Header().Get("Content-Type") != "application/json" {
		t.Fatal(first.Code, first.Header())
	}
	if again := w.send("GET", "/openapi", "", nil); !bytes.Equal(again.Body.Bytes(), first.Body.Bytes()) {
		t.Error("two documents")
	}
	for _, have := range []string{tag, `"other", W/` + tag, "*"} {
		if r := w.send("GET", "/openapi.json", "", http.Header{"If-None-Match": {have}}); r.Code != 304 || r.Body.Len() > 0 {
			t.Errorf("If-None-Match: %s: %d", have, r.Code)
		}
	}
	if r := w.send("GET", "/openapi.json", "", http.Header{"If-None-Match": {`"other"`}}); r.Code != 200 {
		t.Error(r.Code)
	}
}

// The page needs nothing but this server, and runs no script that it does not bring.
func TestPageIsOfThisServerAlone(t *testing.T) {
	w := newWorld(t)
	outside := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9.-]+\.[a-z]{2,}|@import|url\(`)
	inside := regexp.MustCompile(`<script>|<style|\son[a-z]+=|\sstyle=|javascript:`)
	link := regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	for path, media := range map[string]string{"/docs": "text/html", "/docs/page.css": "text/css", "/docs/page.js": "text/javascript"} {
		r := w.send("GET", path, "", http.Header{"X-Auth-Token": nil})
		text := r.Body.String()
		if r.Code != 200 || !strings.HasPrefix(r.Header().Get("Content-Type"), media) || r.Header().Get("Content-Security-Policy") != "default-src 'self'" {
			t.Errorf("%s: %d %v", path, r.Code, r.Header())
		}
		if found := append(outside.FindAllString(text, -1), inside.FindAllString(text, -1)...); found != nil {
			t.Errorf("%s: %q", path, found)
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			name, anchor := strings.CutPrefix(m[1], "#")
			if anchor && !strings.Contains(text, ` id="`+name+`"`) {
				t.Errorf("%s links to #%s, which it does not have", path, name)
			}
			if !anchor && w.send("GET", m[1], "", nil).Code != 200 {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			}
		}
	}
	if r := w.send("GET", "/docs/page.html", "", nil); r.Code != 404 {
		t.Error(r.Code)
	}
	page := w.send("GET", "/docs", "", nil).Body.String()
	for _, text := range []string{"/v2.0/vpn/ipsec-site-connections/{id}", "dpd.interval", "1 to 86400", "pre-shared key", "/identity/v3/auth/tokens", "response-only"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not show %q", text)
		}
	}
}
