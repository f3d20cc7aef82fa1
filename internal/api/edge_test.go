package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"culvert/internal/api"
	"culvert/internal/identity"
	"culvert/internal/server"
)

// doorman is an Authenticator that does what a test wants.
type doorman func(context.Context) (identity.Caller, error)

func (d doorman) Authenticate(ctx context.Context, _ string) (identity.Caller, error) { return d(ctx) }

// lines are the log's entries since the last call.
func (w *world) lines() []map[string]any {
	w.Helper()
	var out []map[string]any
	for l := range strings.Lines(w.log.String()) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			w.Fatal(err)
		}
		out = append(out, m)
	}
	w.log.Reset()
	return out
}

// What goes wrong inside shows outside as a fixed text and the request's id, and once in the log.
func TestUnforeseen(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		auth  doorman
		code  int
		typ   string
		stack bool
		level string
	}{
		"error":     {func(context.Context) (identity.Caller, error) { return identity.Caller{}, errors.New("disk on fire") }, 500, "HTTPInternalServerError", false, "ERROR"},
		"panic":     {func(context.Context) (identity.Caller, error) { panic("disk on fire") }, 500, "HTTPInternalServerError", true, "ERROR"},
		"cancelled": {func(context.Context) (identity.Caller, error) { return identity.Caller{}, context.Canceled }, 503, "ServiceUnavailable", false, "INFO"},
		"timeout":   {func(context.Context) (identity.Caller, error) { return identity.Caller{}, context.DeadlineExceeded }, 503, "ServiceUnavailable", false, "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			w.log.Reset()
			h, err := api.New(api.Config{Resources: w.srv.Resources, Auth: c.auth, Log: slog.New(slog.NewJSONHandler(&w.log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", "/v2.0/vpn/ikepolicies", nil)
			r.Header.Set("X-Auth-Token", "any")
			out := httptest.NewRecorder()
			h.ServeHTTP(out, r)
			var got struct {
				NeutronError struct{ Type, Message string }
			}
			if err := json.Unmarshal(out.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			id := out.Header().Get("X-Openstack-Request-Id")
			if out.Code != c.code || got.NeutronError.Type != c.typ || strings.Contains(out.Body.String(), "fire") || c.code == 500 && !strings.Contains(got.NeutronError.Message, id) {
				t.Errorf("%d %s", out.Code, out.Body)
			}
			lines := w.lines()
			if len(lines) != 1 || lines[0]["request"] != id || lines[0]["level"] != c.level || lines[0]["error"] == nil || (lines[0]["stack"] != nil) != c.stack {
				t.Errorf("log: %v", lines)
			}
		})
	}
}

// A panic in the middle of an answer cuts the connection: half an answer must not look like a whole one.
func TestPanicInTheMiddle(t *testing.T) {
	w := newWorld(t)
	h, err := api.New(api.Config{Resources: w.srv.Resources, Auth: w.srv.Identity, Log: slog.New(slog.NewJSONHandler(&w.log, nil)),
		Identity: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if _, err := rw.Write([]byte("half")); err != nil {
				t.Error(err)
			}
			panic("in the middle")
		})})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	if r, err := http.Get(srv.URL + "/identity/v3"); err == nil {
		r.Body.Close()
		t.Errorf("answered %s", r.Status)
	}
	srv.Close() // the line is written before the handler returns
	if l := w.lines(); len(l) != 1 || l[0]["stack"] == nil || l[0]["level"] != "ERROR" {
		t.Errorf("log: %v", l)
	}
}

// One line a request, without what may be a secret: no query, no header, no body.
func TestLog(t *testing.T) {
	w := newWorld(t)
	w.lines()
	w.send("POST", "/v2.0/vpn/ipsec-site-connections?psk=in-the-query", `{"ipsec_site_connection":{"psk":"in-the-body"}}`, nil)
	text := w.log.String()
	for _, secret := range []string{"in-the-query", "in-the-body", w.tokens["admin"]} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	lines := w.lines()
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	l := lines[0]
	if l["method"] != "POST" || l["path"] != "/v2.0/vpn/ipsec-site-connections" || l["status"] != 400.0 || l["level"] != "INFO" ||
		l["user"] != w.srv.FirstAdmin.UserID || l["project"] != w.srv.FirstAdmin.ProjectID || l["took"] == nil {
		t.Errorf("%v", l)
	}
}

// Bodies are bounded, whether they announce their length or not; so are queries.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	big := `{"ikepolicy":{"name":"` + strings.Repeat("x", 1<<20) + `"}}`
	for _, header := range []http.Header{{}, {"Transfer-Encoding": {"chunked"}}} {
		r := httptest.NewRequest("POST", "/v2.0/vpn/ikepolicies", bytes.NewBufferString(big))
		r.Header.Set("X-Auth-Token", w.tokens["admin"])
		if header.Get("Transfer-Encoding") != "" {
			r.ContentLength = -1
		}
		out := httptest.NewRecorder()
		w.srv.Handler.ServeHTTP(out, r)
		if out.Code != 413 || !strings.Contains(out.Body.String(), `"HTTPRequestEntityTooLarge"`) {
			t.Errorf("%d %s", out.Code, out.Body)
		}
	}
	if out := w.send("GET", "/v2.0/vpn/ikepolicies?name="+strings.Repeat("x", 40_000), "", nil); out.Code != 414 {
		t.Errorf("long query: %d %s", out.Code, out.Body)
	}
	if out := w.send("GET", "/v2.0/vpn/ikepolicies?"+strings.Repeat("name=x&", 600), "", nil); out.Code != 400 {
		t.Errorf("many parameters: %d %s", out.Code, out.Body)
	}
	if out := w.send("GET", "/v2.0/vpn/ikepolicies?"+strings.Repeat("name=x&", 500), "", nil); out.Code != 200 {
		t.Errorf("as many as allowed: %d %s", out.Code, out.Body)
	}
	if out := w.send("GET", "/v2.0/vpn/ikepolicies?fields="+strings.Repeat("id,name,nope,", 2000), "", nil); out.Code != 200 {
		t.Errorf("many fields: %d %s", out.Code, out.Body)
	}
}

// Where the server's own maximum cuts a list, the links lead through all of it, there and back.
func TestPagesThroughEverything(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.PageLimit = 3 })
	for range 8 {
		w.made("/v2.0/vpn/ikepolicies", "ikepolicy", `{"ikepolicy":{"name":"p"}}`)
	}
	type page struct {
		Rows  []struct{ ID string }        `json:"ikepolicies"`
		Links []struct{ Rel, Href string } `json:"ikepolicies_links"`
	}
	walk := func(target, rel string) (ids []string) {
		for target != "" {
			var p page
			w.decode(w.send("GET", strings.TrimPrefix(target, "http://vpn.example.net"), "", nil), 200, &p)
			one := ""
			for _, r := range p.Rows {
				one += r.ID[35:]
			}
			ids, target = append(ids, one), ""
			for _, l := range p.Links {
				if l.Rel == rel {
					target = l.Href
				}
			}
		}
		return ids
	}
	for _, c := range []struct{ target, rel, want string }{
		{"/v2.0/vpn/ikepolicies", "next", "123 456 78"},
		{"/v2.0/vpn/ikepolicies?limit=2", "next", "12 34 56 78"},
		{"/v2.0/vpn/ikepolicies?limit=100", "next", "123 456 78"},
		{"/v2.0/vpn/ikepolicies?page_reverse=true", "previous", "678 345 12"},
		{"/v2.0/vpn/ikepolicies?sort_key=id&sort_dir=desc", "next", "876 543 21"},
		{"/v2.0/vpn/ikepolicies?sort_key=name&sort_dir=desc", "next", "123 456 78"},
	} {
		if got := strings.Join(walk(c.target, c.rel), " "); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.target, c.rel, got, c.want)
		}
	}
}

// Over a real connection the headers of an answer and of a HEAD are whole.
func TestOverTheWire(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(w.srv.Handler)
	defer srv.Close()
	for _, method := range []string{"GET", "HEAD"} {
		req, err := http.NewRequest(method, srv.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != 200 || r.ContentLength < 50 || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", method, r)
		}
	}
}
