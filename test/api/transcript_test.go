package api

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/vpntest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the answers into testdata instead of comparing them")

// transcript is one file of testdata while it runs. Its lines:
//
//	# words
//	> METHOD PATH as USER [until PATH VALUE]    then header lines and the body, each behind "> "
//	< the whole answer                          written by -update
//	$name = path.in.the.answer                  the value is $name from here on, in requests and in answers
//	tick 30s                                    advances the server's clock
//
// With until a request is repeated until the value at the path of its answer is that one. The user "nobody" sends no token,
// "agent" the agents' bearer token. The id of the n-th request is $request_n, the id of a user is $user_<name>. WATCH reads an agent's watch up to its line "synced".
type transcript struct {
	*testing.T
	srv     *vpntest.Server
	vars    map[string]string
	last    []byte // body of the last answer
	request []string
	sent    int // requests
	out     []string
}

// runTranscript runs testdata/<name>.txt and compares or writes it.
func runTranscript(t *testing.T, srv *vpntest.Server, name string, vars map[string]string, write bool) {
	path := filepath.Join("testdata", name+".txt")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tr := &transcript{T: t, srv: srv, vars: vars}
	for _, line := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		tr.line(line)
	}
	tr.send()
	got := strings.Join(tr.out, "\n") + "\n"
	if write {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(strings.Split(string(raw), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (-want +got); go test ./test/api -update rewrites it:\n%s", path, d)
	}
}

var capture = regexp.MustCompile(`^\$([a-z][a-z0-9_]*) = (.+)$`)

func (t *transcript) line(line string) {
	if text, ok := strings.CutPrefix(line, "> "); ok {
		t.request, t.out = append(t.request, text), append(t.out, line)
		return
	}
	if strings.HasPrefix(line, "<") {
		return
	}
	t.send()
	t.out = append(t.out, line)
	if m := capture.FindStringSubmatch(line); m != nil {
		v, ok := at(t.last, m[2])
		if !ok {
			t.Fatalf("%s: the last answer has no %s: %s", line, m[2], t.last)
		}
		t.vars[m[1]] = v
	}
	if text, ok := strings.CutPrefix(line, "tick "); ok {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		t.srv.Settle(t)
		t.srv.Clock.Advance(d)
	}
}

var (
	variable   = regexp.MustCompile(`\$[a-z][a-z0-9_]*`)
	headerLine = regexp.MustCompile(`^([A-Z][A-Za-z-]+): (.*)$`)
	firstLine  = regexp.MustCompile(`^([A-Z]+) (\S+) as (\S+)(?: until (\S+) (.+))?$`)
	psk        = regexp.MustCompile(`"psk": ?"([^"]*[^*"][^"]*)"`)
)

func (t *transcript) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string {
		if v, ok := t.vars[name[1:]]; ok {
			return v
		}
		return name
	})
}

// send makes the request that the lines before told, if they told one, and notes the answer.
func (t *transcript) send() {
	if t.request == nil {
		return
	}
	m := firstLine.FindStringSubmatch(t.request[0])
	if m == nil {
		t.Fatalf("not a request: %s", t.request[0])
	}
	lines, header := t.request[1:], http.Header{}
	for len(lines) > 0 && headerLine.MatchString(lines[0]) {
		h := headerLine.FindStringSubmatch(lines[0])
		header.Add(h[1], t.expand(h[2]))
		lines = lines[1:]
	}
	t.request = nil
	t.sent++
	body := t.expand(strings.Join(lines, "\n"))
	keys := psk.FindAllStringSubmatch(body, -1)
	for _, k := range keys {
		t.srv.Secret(k[1])
	}
	t.authorise(header, m[3])
	code, h, answer := t.until(m, header, body)
	for _, k := range keys {
		if code >= 400 && bytes.Contains(answer, []byte(k[1])) {
			t.Errorf("%s: the error shows the pre-shared key: %s", m[0], answer)
		}
	}
	t.last = answer
	t.out = append(t.out, t.shown(code, h, answer)...)
}

func (t *transcript) authorise(h http.Header, user string) {
	switch user {
	case "nobody":
	case "wrong":
		h.Set("X-Auth-Token", "not-a-token")
	case "agent":
		h.Set("Authorization", "Bearer "+t.srv.AgentToken)
	default:
		h.Set("X-Auth-Token", t.srv.As(user).Token)
		t.vars["user_"+user] = t.srv.As(user).User
	}
}

// until repeats the request while the answer is not the one to wait for.
func (t *transcript) until(m []string, h http.Header, body string) (int, http.Header, []byte) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		code, header, answer := t.do(ctx, m[1], t.expand(m[2]), h, body)
		got, _ := at(answer, m[4])
		if m[4] == "" || got == t.expand(m[5]) {
			return code, header, answer
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: at last %d %s", m[0], code, answer)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (t *transcript) do(ctx context.Context, method, path string, h http.Header, body string) (int, http.Header, []byte) {
	watch := method == "WATCH"
	if watch {
		method = "GET"
	}
	req, err := http.NewRequestWithContext(ctx, method, t.srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = h
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if watch && resp.StatusCode == http.StatusOK {
		return resp.StatusCode, resp.Header, t.synced(resp.Body)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	t.headers(req, resp, answer)
	t.vars[fmt.Sprintf("request_%d", t.sent)] = resp.Header.Get("X-Openstack-Request-Id")
	return resp.StatusCode, resp.Header, answer
}

// synced makes one JSON list of a watch's lines up to the one that says that all was sent.
func (t *transcript) synced(r io.Reader) []byte {
	list := []map[string]json.RawMessage{}
	for dec := json.NewDecoder(r); ; {
		var line map[string]json.RawMessage
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		list = append(list, line)
		if line["synced"] != nil {
			b, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
}

var requestID = regexp.MustCompile(`^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// headers holds what every answer must have.
func (t *transcript) headers(req *http.Request, resp *http.Response, body []byte) {
	if !requestID.MatchString(resp.Header.Get("X-Openstack-Request-Id")) {
		t.Errorf("%s %s: request id %q", req.Method, req.URL, resp.Header.Get("X-Openstack-Request-Id"))
	}
	if len(body) > 0 && resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: Content-Type %q", req.Method, req.URL, resp.Header.Get("Content-Type"))
	}
	if resp.StatusCode >= 500 {
		t.Errorf("%s %s: %d %s", req.Method, req.URL, resp.StatusCode, body)
	}
}

// mac is what the topology draws by lot: all but its first half.
var mac = regexp.MustCompile(`"(fa:16:3e):[0-9a-f:]{8}"`)

// eventID is of an event of the server's: a UUID of version 5, of which the revision is a part.
var eventID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

var revision = regexp.MustCompile(`(current revision is |"(?:revision_number|rev|synced)": ?)(\d+)`)

// shown is an answer as the file has it: errors on one line, revisions counted from the test's first, known values by name.
func (t *transcript) shown(code int, h http.Header, body []byte) []string {
	head := fmt.Sprintf("< %d", code)
	for _, name := range []string{"Allow", "Www-Authenticate"} {
		if v := h.Get(name); v != "" {
			head += " " + name + ": " + v
		}
	}
	out := []string{t.named(head)}
	if len(body) == 0 {
		return out
	}
	var b bytes.Buffer
	format := func() error { return json.Indent(&b, body, "", "  ") }
	if code >= 400 || len(body) < 100 {
		format = func() error { return json.Compact(&b, body) }
	}
	if err := format(); err != nil {
		t.Fatalf("not JSON: %v: %s", err, body)
	}
	text := revision.ReplaceAllStringFunc(b.String(), func(s string) string {
		m := revision.FindStringSubmatch(s)
		n, _ := strconv.ParseInt(m[2], 10, 64)
		return m[1] + strconv.FormatInt(n-t.srv.Base, 10)
	})
	text = mac.ReplaceAllString(text, `"$1:…"`)
	for l := range strings.SplitSeq(eventID.ReplaceAllString(t.named(text), "(event)"), "\n") {
		out = append(out, "< "+l)
	}
	return out
}

// named writes the ids that have a name as $name.
func (t *transcript) named(text string) string {
	pairs := []string{t.srv.URL, "$url"}
	for _, name := range slices.Sorted(maps.Keys(t.vars)) {
		if v := t.vars[name]; len(v) >= 32 {
			pairs = append(pairs, v, "$"+name)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// at finds a value in a JSON document by names and indexes, such as vpnservices.0.id.
func at(doc []byte, path string) (string, bool) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return "", false
	}
	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(x) {
				return "", false
			}
			v = x[i]
		}
	}
	switch x := v.(type) {
	case string:
		return x, true
	case json.Number:
		return x.String(), true
	}
	return "", false
}
