package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/internal/api"
	"culvert/internal/identity"
	"culvert/internal/keyring"
	"culvert/internal/openapi"
	"culvert/internal/store"
	"culvert/internal/vpntest"

	"github.com/google/go-cmp/cmp"
)

// keystone is an identity API on a real store, and the transcript of what was asked of it.
type keystone struct {
	testing.TB
	api *api.Keystone
	// handler is api, checked
	handler http.Handler
	first   *identity.FirstAdmin
	token   string // sent as X-Auth-Token; "" sends none
	log     bytes.Buffer

	transcript bytes.Buffer
	names      map[string]string // random text -> placeholder
}

func newKeystone(t testing.TB, names ...api.CatalogName) *keystone {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ring, err := keyring.Open(filepath.Join(t.TempDir(), "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	id, err := identity.New(identity.Config{Store: s, Sealer: ring, Now: now, Argon: identity.Argon{Time: 1, Memory: 64, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	k := &keystone{TB: t, names: map[string]string{}}
	if k.first, err = id.Bootstrap(ctx); err != nil {
		t.Fatal(err)
	}
	k.names[k.first.Password] = "<password>"
	k.api, err = api.NewKeystone(api.KeystoneConfig{Service: id, Log: slog.New(slog.NewTextHandler(&k.log, nil)), Names: names})
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi.New(openapi.Config{Routes: k.api.Routes()}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	k.handler = vpntest.CheckedBy(t, k.api, document)
	return k
}

// do sends one request and adds it to the transcript. Headers come as "Name: value".
func (k *keystone) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	k.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if k.token != "" {
		r.Header.Set("X-Auth-Token", k.token)
	}
	for _, h := range headers {
		name, v, _ := strings.Cut(h, ": ")
		r.Header.Set(name, v)
	}
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, r)
	if t := w.Header().Get("X-Subject-Token"); t != "" && k.names[t] == "" {
		k.names[t] = fmt.Sprintf("<token %d>", len(k.names))
	}
	k.write(r, body, headers, w)
	return w
}

func (k *keystone) write(r *http.Request, body string, headers []string, w *httptest.ResponseRecorder) {
	fmt.Fprintf(&k.transcript, "> %s %s\n", r.Method, r.URL.RequestURI())
	for _, h := range headers {
		fmt.Fprintf(&k.transcript, "> %s\n", h)
	}
	if body != "" {
		fmt.Fprintf(&k.transcript, "> %s\n", body)
	}
	fmt.Fprintf(&k.transcript, "< %d\n", w.Code)
	for _, name := range []string{"Allow", "Cache-Control", "Content-Type", "Retry-After", "Vary", "Www-Authenticate", "X-Subject-Token"} {
		if v := w.Header().Get(name); v != "" {
			fmt.Fprintf(&k.transcript, "< %s: %s\n", name, v)
		}
	}
	if w.Body.Len() > 0 {
		if err := json.Indent(&k.transcript, w.Body.Bytes(), "", "  "); err != nil {
			k.Errorf("%s %s: %v: %q", r.Method, r.URL, err, w.Body)
		}
		k.transcript.WriteByte('\n')
	}
	k.transcript.WriteByte('\n')
}

// login logs in with whole body, keeps its token and returns the answer.
func (k *keystone) login(body string) *httptest.ResponseRecorder {
	k.Helper()
	k.token = ""
	w := k.do("POST", "/identity/v3/auth/tokens", body)
	k.token = w.Header().Get("X-Subject-Token")
	return w
}

func (k *keystone) adminLogin() {
	k.Helper()
	w := k.login(fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"name": "Default"}, "password": %q}}}, "scope": {"project": {"name": "admin", "domain": {"name": "Default"}}}}}`, k.first.Password))
	if w.Code != 201 {
		k.Fatalf("admin's login: %d %s", w.Code, w.Body)
	}
}

// find returns the value at the path of keys in an answer.
func (k *keystone) find(w *httptest.ResponseRecorder, path ...string) string {
	k.Helper()
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		k.Fatal(err)
	}
	for _, p := range path {
		if l, ok := v.([]any); ok && len(l) > 0 {
			v = l[0]
		}
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, ok := v.(string)
	if !ok {
		k.Fatalf("no %v in %s", path, w.Body)
	}
	return s
}

// role finds a role's id.
func (k *keystone) role(name string) string {
	k.Helper()
	return k.find(k.do("GET", "/identity/v3/roles?name="+name, ""), "roles", "id")
}

// random matches ids, and audit ids where they stand: alone on a line of an answer.
var random = regexp.MustCompile(`\b[0-9a-f]{32}\b|(?m:^ +"[A-Za-z0-9_-]{22}"(,|$))`)

// golden compares the transcript with a file; with UPDATE_GOLDEN=1 in the environment it writes it.
func (k *keystone) golden(name string) {
	k.Helper()
	text := k.transcript.String()
	for secret, shown := range k.names {
		text = strings.ReplaceAll(text, secret, shown)
	}
	seen := map[string]string{}
	text = random.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, strings.Repeat("0", 28)) { // of the catalog: always the same
			return s
		}
		if seen[s] == "" {
			seen[s] = fmt.Sprintf("<random %d>", len(seen)+1)
		}
		if before, rest, ok := strings.Cut(s, `"`); ok {
			_, after, _ := strings.Cut(rest, `"`)
			return before + `"` + seen[s] + `"` + after
		}
		return seen[s]
	})
	file := filepath.Join("testdata", "keystone", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			k.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			k.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		k.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); d != "" {
		k.Errorf("%s differs (UPDATE_GOLDEN=1 writes it):\n%s", file, d)
	}
	k.quiet()
}

// quiet fails when anything went wrong inside, or a secret was logged.
func (k *keystone) quiet() {
	k.Helper()
	if k.log.Len() > 0 {
		k.Errorf("the log says %s", k.log.String())
	}
}
