package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/internal/resource"
	"culvert/internal/server"
	"culvert/internal/vpntest"
)

// world is a whole server on a store of its own. Its clock stands still but for a second with every request, and its ids
// are counted, so that whole answers can be compared.
type world struct {
	testing.TB
	srv     *server.Server
	handler http.Handler // srv's, but for tests that wire another one
	now     atomic.Int64 // seconds since the epoch
	ids     atomic.Int64
	base    int64 // revision before the test's first request
	tokens  map[string]string
	names   *strings.Replacer // of ids that identity chose
	log     bytes.Buffer
}

func newWorld(t testing.TB, set ...func(*server.Config)) *world {
	w := &world{TB: t, tokens: map[string]string{"none": "", "wrong": "gAAAA-wrong"}}
	w.now.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix())
	c := server.Config{Data: t.TempDir(), Log: slog.New(slog.NewJSONHandler(&w.log, nil)), PageLimit: 50,
		Now:   func() time.Time { return time.Unix(w.now.Load(), 0) },
		NewID: func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", w.ids.Add(1)) }}
	for _, s := range set {
		s(&c)
	}
	var err error
	if w.srv, err = server.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.srv.Close(); err != nil {
			t.Error(err)
		}
	})
	w.handler = vpntest.Checked(t, w.srv.Handler)
	w.users()
	w.ids.Store(0)
	w.base = w.rev()
	w.log.Reset()
	return w
}

// users makes, through Keystone's API, a member and a reader in the project admin, and a member in another project.
func (w *world) users() {
	a := w.srv.FirstAdmin
	w.tokens["admin"] = w.login(a.UserName, a.Password, a.ProjectName)
	other := w.made("/identity/v3/projects", "project", `{"project":{"name":"other","domain_id":"default"}}`)
	w.names = strings.NewReplacer(a.ProjectID, "PROJECT", other, "OTHER")
	for _, u := range [][]string{{"member", a.ProjectID, "member", "admin"}, {"reader", a.ProjectID, "reader", "admin"}, {"stranger", other, "member", "other"}} {
		id := w.made("/identity/v3/users", "user", `{"user":{"name":"`+u[0]+`","domain_id":"default","password":"correct horse battery"}}`)
		var roles struct{ Roles []struct{ ID string } }
		w.decode(w.send("GET", "/identity/v3/roles?name="+u[2], "", nil), 200, &roles)
		if r := w.send("PUT", "/identity/v3/projects/"+u[1]+"/users/"+id+"/roles/"+roles.Roles[0].ID, "", nil); r.Code != 204 {
			w.Fatal(r.Code, r.Body)
		}
		w.tokens[u[0]] = w.login(u[0], "correct horse battery", u[3])
	}
}

func (w *world) login(user, password, project string) string {
	r := w.send("POST", "/identity/v3/auth/tokens", fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,
		"domain":{"id":"default"},"password":%q}}},"scope":{"project":{"name":%q,"domain":{"id":"default"}}}}}`, user, password, project), nil)
	if r.Code != 201 {
		w.Fatal(r.Code, r.Body)
	}
	return r.Header().Get("X-Subject-Token")
}

func (w *world) made(path, key, body string) string {
	var out map[string]struct{ ID string }
	w.decode(w.send("POST", path, body, nil), 201, &out)
	return out[key].ID
}

// router lays a network, a subnet and a router that joins them, as admin.
func (w *world) router(name, cidr string) (router, subnet string) {
	network := w.made("/v2.0/networks", "network", `{"network":{"name":"`+name+`"}}`)
	subnet = w.made("/v2.0/subnets", "subnet", `{"subnet":{"network_id":"`+network+`","ip_version":4,"cidr":"`+cidr+`"}}`)
	router = w.made("/v2.0/routers", "router", `{"router":{"name":"`+name+`"}}`)
	r := w.send("PUT", "/v2.0/routers/"+router+"/add_router_interface", `{"subnet_id":"`+subnet+`"}`, nil)
	if r.Code != 200 {
		w.Fatal(r.Code, r.Body)
	}
	return router, subnet
}

func (w *world) decode(r *httptest.ResponseRecorder, code int, v any) {
	w.Helper()
	if r.Code != code {
		w.Fatalf("%d %s, want %d", r.Code, r.Body, code)
	}
	if err := json.Unmarshal(r.Body.Bytes(), v); err != nil {
		w.Fatal(err)
	}
}

// rev is the newest revision.
func (w *world) rev() (rev int64) {
	err := w.srv.Store.View(w.Context(), func(r resource.Reader) (err error) {
		rev, err = r.Rev(w.Context())
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return rev
}

// send makes a request, as admin unless the header says otherwise.
func (w *world) send(method, target, body string, header http.Header) *httptest.ResponseRecorder {
	w.Helper()
	w.now.Add(1)
	r := httptest.NewRequest(method, "/", strings.NewReader(body)).WithContext(w.Context())
	u, err := url.ParseRequestURI(target)
	if err != nil {
		w.Skip("no server would read this request:", err)
	}
	r.URL, r.RequestURI, r.Host = u, target, "vpn.example.net"
	r.Header.Set("X-Auth-Token", w.tokens["admin"])
	for name, v := range header {
		r.Header[name] = v
	}
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r)
	return out
}

// transcript runs testdata/<name>.txt: each request ("> ") with the whole answer that is expected ("< "). With CULVERT_GOLDEN=write the
// answers are written instead.
func (w *world) transcript(name string) {
	w.Helper()
	path := filepath.Join("testdata", name+".txt")
	want, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	var out, request []string
	flush := func() {
		if request != nil {
			out = append(out, w.answer(request)...)
			request = nil
		}
	}
	for _, l := range strings.Split(strings.TrimSuffix(string(want), "\n"), "\n") {
		switch {
		case strings.HasPrefix(l, "> "):
			out, request = append(out, l), append(request, strings.TrimPrefix(l, "> "))
		case strings.HasPrefix(l, "< "):
		default:
			flush()
			out = append(out, l)
		}
	}
	flush()
	got := strings.Join(out, "\n") + "\n"
	if os.Getenv("CULVERT_GOLDEN") == "write" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			w.Fatal(err)
		}
		return
	}
	compare(w, string(want), got)
}

var headerLine = regexp.MustCompile(`^([A-Z][A-Za-z-]+): (.*)$`)

// answer makes the request of some lines: method and target, headers, body; a body in double quotes is a Go string.
func (w *world) answer(lines []string) []string {
	method, target, _ := strings.Cut(lines[0], " ")
	header, lines := http.Header{}, lines[1:]
	for len(lines) > 0 && headerLine.MatchString(lines[0]) {
		m := headerLine.FindStringSubmatch(lines[0])
		if m[1] == "X-Auth-Token" {
			m[2] = w.tokens[m[2]]
		}
		if n, ok := strings.CutPrefix(m[2], "revision_number=BASE+"); ok {
			m[2] = fmt.Sprintf("revision_number=%d", w.base+number(n))
		}
		header.Add(m[1], m[2])
		lines = lines[1:]
	}
	body := strings.Join(lines, "\n")
	if s, err := strconv.Unquote(body); err == nil {
		body = s
	}
	return w.shown(w.send(method, target, body, header))
}

var (
	requestID = regexp.MustCompile(`req-[0-9a-f-]{36}`)
	revision  = regexp.MustCompile(`("revision_number": |current revision is )(\d+)`)
)

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// shown is an answer with everything that chance decides replaced.
func (w *world) shown(r *httptest.ResponseRecorder) []string {
	out := []string{fmt.Sprintf("< %d", r.Code)}
	if !requestID.MatchString(r.Header().Get("X-Openstack-Request-Id")) {
		out = append(out, "< no request id")
	}
	for _, name := range []string{"Allow", "Www-Authenticate"} {
		if v := r.Header().Get(name); v != "" {
			out = append(out, "< "+name+": "+v)
		}
	}
	if r.Body.Len() == 0 {
		return out
	}
	var b bytes.Buffer
	if err := json.Indent(&b, r.Body.Bytes(), "", "  "); err != nil {
		return append(out, "< not JSON: "+r.Body.String())
	}
	if n := r.Header().Get("Content-Length"); n != "" && n != strconv.Itoa(r.Body.Len()) || r.Header().Get("Content-Type") != "application/json" {
		out = append(out, "< wrong headers")
	}
	text := requestID.ReplaceAllString(w.names.Replace(b.String()), "req-ID")
	text = revision.ReplaceAllStringFunc(text, func(s string) string {
		m := revision.FindStringSubmatch(s)
		return fmt.Sprintf("%sBASE+%d", m[1], number(m[2])-w.base)
	})
	for _, l := range strings.Split(text, "\n") {
		out = append(out, "< "+l)
	}
	return out
}
