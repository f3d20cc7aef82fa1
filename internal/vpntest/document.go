package vpntest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Checked is h, with every answer held against the OpenAPI document that h serves: its status, its media type and its body.
// It is stricter than what the document promises to others: an answer has no attribute that is not in the document, and lacks
// one only where the request has the parameter fields. What differs fails the test when it ends. Benchmarks get h itself.
func Checked(t testing.TB, h http.Handler) http.Handler {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET /openapi.json: %d %s", w.Code, w.Body)
	}
	return CheckedBy(t, h, w.Body.Bytes())
}

// CheckedBy is Checked with the document given.
func CheckedBy(t testing.TB, h http.Handler, document []byte) http.Handler {
	t.Helper()
	if _, is := t.(*testing.B); is {
		return h
	}
	c := &checker{next: h, muxes: [2]*http.ServeMux{http.NewServeMux(), http.NewServeMux()}}
	for i, part := range []string{"whole", "part"} {
		d, err := newDocument(document, part == "part")
		if err != nil {
			t.Fatal(err)
		}
		c.documents[i] = d
	}
	c.routes()
	t.Cleanup(func() {
		for _, p := range c.found {
			t.Error(p)
		}
	})
	return c
}

// checker holds answers against the two documents: of whole resources, and of those that fields picks.
type checker struct {
	next http.Handler
	// muxes find the operation as the server finds its handler: that of a project's URIs, which begin with a wildcard, last.
	muxes     [2]*http.ServeMux
	documents [2]*document

	mu    sync.Mutex
	found []string
}

// document is an OpenAPI document whose answers' schemas are compiled when they are needed.
type document struct {
	root     map[string]any
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // by JSON pointer
}

const documentURL = "culvert:openapi"

func newDocument(text []byte, part bool) (*document, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("the OpenAPI document: %w", err)
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the OpenAPI document is a %T", v)
	}
	tighten(root, part)
	d := &document{root: root, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.compiler.AssertFormat()
	return d, d.compiler.AddResource(documentURL, root)
}

// tighten closes every object that names its properties, and takes the one of the two that a resource is in the answer of a GET.
func tighten(v any, part bool) {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			tighten(e, part)
		}
	case map[string]any:
		if _, names := x["properties"].(map[string]any); names && x["additionalProperties"] == nil {
			x["additionalProperties"] = false
		}
		if either, ok := x["anyOf"].([]any); ok && len(either) == 2 {
			delete(x, "anyOf")
			x["allOf"] = either[:1]
			if part {
				x["allOf"] = either[1:]
			}
		}
		for _, e := range x {
			tighten(e, part)
		}
	}
}

// at follows a JSON pointer, and a reference at its end.
func (d *document) at(names ...string) (map[string]any, []string) {
	v := any(d.root)
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = m[n]
	}
	m, _ := v.(map[string]any)
	if to, is := m["$ref"].(string); is {
		return d.at(strings.Split(strings.TrimPrefix(to, "#/"), "/")...)
	}
	return m, names
}

func (d *document) validate(body []byte, names ...string) error {
	for i, n := range names {
		names[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(n)
	}
	pointer := "/" + strings.Join(names, "/")
	d.mu.Lock()
	s, known := d.schemas[pointer]
	if !known {
		var err error
		if s, err = d.compiler.Compile(documentURL + "#" + (&url.URL{Path: pointer}).EscapedPath()); err != nil {
			d.mu.Unlock()
			return fmt.Errorf("the document's schema at %s: %w", pointer, err)
		}
		d.schemas[pointer] = s
	}
	d.mu.Unlock()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return s.Validate(v)
}

func (c *checker) routes() {
	paths, _ := c.documents[0].at("paths")
	for path, v := range paths {
		pattern, mux := strings.TrimSuffix(path, ".json"), c.muxes[0]
		if strings.HasPrefix(path, "/v2.0/{") {
			mux = c.muxes[1]
		}
		if path == "/" {
			pattern = "/{$}"
		}
		for method := range v.(map[string]any) {
			mux.HandleFunc(strings.ToUpper(method)+" "+pattern, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Path", path)
			})
		}
	}
}

// path is the document's for a request, "" where it has none.
func (c *checker) path(r *http.Request) string {
	u := *r.URL
	trim := func(p string) string {
		p = strings.TrimRight(p, "/")
		if !strings.HasPrefix(p, "/identity") {
			p = strings.TrimSuffix(p, ".json")
		}
		return p
	}
	u.Path, u.RawPath = trim(u.Path), trim(u.RawPath)
	if u.Path == "" {
		u.Path = "/"
	}
	for _, mux := range c.muxes {
		if h, pattern := mux.Handler(&http.Request{Method: r.Method, URL: &u, Host: r.Host}); pattern != "" {
			found := httptest.NewRecorder()
			h.ServeHTTP(found, r)
			return found.Header().Get("Path")
		}
	}
	return ""
}

func (c *checker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := c.path(r)
	if path == "/agent/v1/watch" { // it goes on until the client does not
		c.next.ServeHTTP(w, r)
		return
	}
	method, target, partial := r.Method, r.URL.String(), r.URL.Query().Has("fields")
	tee := &tee{ResponseWriter: w}
	c.next.ServeHTTP(tee, r)
	d := c.documents[0]
	if partial {
		d = c.documents[1]
	}
	if err := check(d, method, path, strings.HasPrefix(r.URL.Path, "/identity"), tee); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.found) < 20 {
			c.found = append(c.found, fmt.Sprintf("%s %s: %d: not as the OpenAPI document says: %v\n%s", method, target, tee.status, err, tee.body.Bytes()))
		}
	}
}

func check(d *document, method, path string, identity bool, w *tee) error {
	body := w.body.Bytes()
	if slices.Contains([]int{http.StatusNoContent, http.StatusNotModified}, w.status) && len(body) > 0 {
		return fmt.Errorf("a body of %d bytes", len(body))
	}
	head := method == http.MethodHead
	if path == "" && method == http.MethodOptions && w.status == http.StatusNoContent && w.Header().Get("Access-Control-Allow-Methods") != "" {
		return nil // a page's preflight is no part of the API
	}
	if path == "" {
		return refused(d, method, identity, w)
	}
	if item, _ := d.at("paths", path); method == http.MethodHead && item["head"] == nil {
		method = http.MethodGet // net/http serves it so
	}
	op := []string{"paths", path, strings.ToLower(method), "responses"}
	response, names := d.at(append(op, strconv.Itoa(w.status))...)
	if response == nil && w.status < 400 {
		return fmt.Errorf("the document does not know this status")
	}
	if response == nil {
		response, names = d.at(append(op, "default")...)
	}
	content, _ := response["content"].(map[string]any)
	if head || content == nil {
		return nil
	}
	return d.body(w, content, append(names, "content"))
}

// refused is an answer to what the document does not have: an error in the envelope of its dialect.
func refused(d *document, method string, identity bool, w *tee) error {
	if w.status < 400 {
		return fmt.Errorf("the document does not have this path and method")
	}
	if method == http.MethodHead {
		return nil
	}
	name := "Error"
	if identity || w.status == http.StatusUnauthorized {
		name = "IdentityError"
	}
	names := []string{"components", "responses", name}
	response, _ := d.at(names...)
	content, _ := response["content"].(map[string]any)
	return d.body(w, content, append(names, "content"))
}

func (d *document) body(w *tee, content map[string]any, names []string) error {
	media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	if content[media] == nil {
		return fmt.Errorf("the media type is %q", media)
	}
	return d.validate(w.body.Bytes(), append(slices.Clone(names), media, "schema")...)
}

// tee keeps what a handler answers.
type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(code int) {
	if t.status == 0 {
		t.status = code
	}
	t.ResponseWriter.WriteHeader(code)
}

func (t *tee) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	t.body.Write(b)
	return t.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }
