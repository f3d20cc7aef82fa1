package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"culvert/internal/server"

	"github.com/google/go-cmp/cmp"
)

// fromPage makes a request as a browser does for a page of this origin, and returns the answer's status and CORS headers.
func fromPage(w *world, method, path, origin string, header ...string) (int, map[string]string) {
	r := httptest.NewRequest(method, path, nil)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	out := map[string]string{}
	for name, v := range rec.Header() {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			out[name] = strings.Join(v, ", ")
		}
	}
	return rec.Code, out
}

func TestCORSIsOffByDefault(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"GET", "OPTIONS"} {
		code, h := fromPage(w, method, "/v2.0/networks", "https://ui.example.net", "Access-Control-Request-Method", "GET")
		if code != 401 || len(h) != 0 {
			t.Errorf("%s: %d %v, want 401 and no header", method, code, h)
		}
	}
}

func TestCORS(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.CORSOrigins = []string{"https://ui.example.net", "http://localhost:8080"} })
	vary := map[string]string{"Vary": "Origin"}
	page := map[string]string{"Vary": "Origin", "Access-Control-Allow-Origin": "https://ui.example.net",
		"Access-Control-Expose-Headers": "X-Auth-Token, X-Subject-Token, X-Openstack-Request-Id, Allow, Www-Authenticate"}
	preflight := map[string]string{"Vary": "Origin", "Access-Control-Allow-Origin": "http://localhost:8080", "Access-Control-Max-Age": "3600",
		"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
		"Access-Control-Allow-Headers": "X-Auth-Token, X-Subject-Token, X-Openstack-Request-Id, Content-Type, If-Match"}
	token := []string{"X-Auth-Token", w.tokens["member"]}
	ask := []string{"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-auth-token"}
	for _, c := range []struct {
		method, path, origin string
		header               []string
		code                 int
		want                 map[string]string
	}{
		{"GET", "/v2.0/networks", "https://ui.example.net", token, 200, page},
		{"GET", "/v2.0/networks", "https://ui.example.net", nil, 401, page}, // a page may read errors too
		{"GET", "/v2.0/nothing", "https://ui.example.net", token, 404, page},
		{"GET", "/identity/v3", "https://ui.example.net", nil, 200, page},
		{"GET", "/", "https://ui.example.net", nil, 200, page},
		{"GET", "/v2.0/networks", "", token, 200, vary},
		{"GET", "/v2.0/networks", "https://ui.example.net.evil.example", token, 200, vary},
		{"GET", "/v2.0/networks", "http://ui.example.net", token, 200, vary},
		{"GET", "/v2.0/networks", "null", token, 200, vary},
		{"OPTIONS", "/v2.0/networks", "http://localhost:8080", ask, 204, preflight},
		{"OPTIONS", "/identity/v3/auth/tokens", "http://localhost:8080", ask, 204, preflight},
		{"OPTIONS", "/v2.0/networks", "http://localhost:8081", ask, 401, vary},
		{"OPTIONS", "/agent/v1/watch", "http://localhost:8080", ask, 401, map[string]string{}},
	} {
		code, got := fromPage(w, c.method, c.path, c.origin, c.header...)
		if d := cmp.Diff(c.want, got); code != c.code || d != "" {
			t.Errorf("%s %s from %q: %d, want %d: %s", c.method, c.path, c.origin, code, c.code, d)
		}
	}
	if code, h := fromPage(w, http.MethodOptions, "/v2.0/networks", "http://localhost:8080", token...); code != 405 || h["Access-Control-Allow-Methods"] != "" {
		t.Errorf("an OPTIONS that is no preflight: %d %v", code, h)
	}
}

func TestCORSForEveryPage(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.CORSOrigins = []string{"*"} })
	if _, h := fromPage(w, "GET", "/", "https://any.example"); h["Access-Control-Allow-Origin"] != "https://any.example" || h["Access-Control-Allow-Credentials"] != "" {
		t.Error(h)
	}
}

func TestCORSOriginsThatCannotBe(t *testing.T) {
	for _, origin := range []string{"ui.example.net", "https://ui.example.net/", "https://UI.example.net", "ftp://x", "https://", "https://u@x", "null", ""} {
		s, err := server.Open(t.Context(), server.Config{Data: t.TempDir(), CORSOrigins: []string{origin}, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			t.Errorf("%q was accepted", origin)
			s.Close()
		}
	}
}
