package rights

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"culvert/internal/client"
	"culvert/internal/vpntest"
)

// caller is somebody who asks; the token is "" for nobody.
type caller struct{ name, token string }

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   []byte
	doc    map[string]any // the body, where it is an object
}

// wire sends requests straight to the server's handler, and keeps every byte that comes back, by who it came to.
type wire struct {
	*testing.T
	srv      *vpntest.Server
	handler  http.Handler // the server's, with every answer held against its OpenAPI document
	received map[string]*bytes.Buffer
	calls    int
}

func newWire(t *testing.T, srv *vpntest.Server) *wire {
	return &wire{T: t, srv: srv, handler: vpntest.Checked(t, srv.Handler), received: map[string]*bytes.Buffer{}}
}

// do sends a request whose answer must be a JSON object or empty; body is nil, raw text, or what becomes JSON.
func (w *wire) do(c caller, method, path string, body any) answer {
	w.Helper()
	a := w.send(c, method, path, body, nil)
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &a.doc); err != nil {
			w.Fatalf("%s %s as %s: not a JSON object: %s", method, path, c.name, a.body)
		}
	}
	return a
}

func (w *wire) send(c caller, method, path string, body any, header http.Header) answer {
	w.Helper()
	r := httptest.NewRequest(method, "http://culvert.test"+path, bytes.NewReader(w.encoded(body)))
	for name, v := range header {
		r.Header[name] = v
	}
	if c.token != "" {
		r.Header.Set("X-Auth-Token", c.token)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	resp := rec.Result()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	w.calls++
	w.keep(c.name, resp.Header, raw)
	return answer{status: resp.StatusCode, header: resp.Header, body: raw}
}

func (w *wire) encoded(body any) []byte {
	w.Helper()
	if text, ok := body.(string); ok || body == nil {
		return []byte(text)
	}
	b, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

func (w *wire) keep(name string, h http.Header, body []byte) {
	b := w.received[name]
	if b == nil {
		b = &bytes.Buffer{}
		w.received[name] = b
	}
	for k, v := range h {
		if k != "X-Subject-Token" { // the one place where a token belongs
			fmt.Fprintln(b, k, v)
		}
	}
	b.Write(append(body, '\n'))
}

// must is a call that has to succeed; it returns the object below key, all of the answer for "".
func (w *wire) must(c caller, method, path, key string, body any) client.Object {
	w.Helper()
	a := w.do(c, method, path, body)
	if a.status >= 300 {
		w.Fatalf("%s %s as %s: %d %s", method, path, c.name, a.status, a.body)
	}
	if key == "" {
		return a.doc
	}
	return a.doc[key].(client.Object)
}

// login returns a token; scope may be nil.
func (w *wire) login(user, password string, scope client.Object) string {
	w.Helper()
	auth := client.Object{"identity": client.Object{"methods": []string{"password"}, "password": client.Object{
		"user": client.Object{"name": user, "domain": client.Object{"id": "default"}, "password": password}}}}
	if scope != nil {
		auth["scope"] = scope
	}
	a := w.do(caller{name: "logins"}, "POST", "/identity/v3/auth/tokens", client.Object{"auth": auth})
	token := a.header.Get("X-Subject-Token")
	if a.status != 201 || token == "" {
		w.Fatalf("login of %s: %d %s", user, a.status, a.body)
	}
	w.srv.Secret(token)
	return token
}

// fault is the type and message of an error.
func (a answer) fault() (typ, message string) {
	if e, ok := a.doc["NeutronError"].(map[string]any); ok {
		return fmt.Sprint(e["type"]), fmt.Sprint(e["message"])
	}
	if e, ok := a.doc["error"].(map[string]any); ok {
		return fmt.Sprint(e["title"]), fmt.Sprint(e["message"])
	}
	return "", ""
}

// shapes are what a secret may look like on its way.
func shapes(secret string) []string {
	quoted, _ := json.Marshal(secret)
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(secret) // strings only: it cannot fail
	return []string{secret, strings.Trim(string(quoted), `"`), strings.Trim(strings.TrimSpace(plain.String()), `"`),
		fmt.Sprintf("%q", secret), url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret))}
}

// shows says whether a text has the secret in it, in any shape.
func shows(text, secret string) bool {
	return slices.ContainsFunc(shapes(secret), func(s string) bool { return strings.Contains(text, s) })
}
