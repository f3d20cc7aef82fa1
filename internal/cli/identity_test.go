package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/server"
	"culvert/internal/store/pgtest"

	"github.com/google/go-cmp/cmp"
)

// office is a data folder, and the server on it while one runs.
type office struct {
	testing.TB
	cfg        server.Config
	first      string // password of admin
	url        string
	stop       func()
	transcript bytes.Buffer
}

// eachEngine runs a test on SQLite and on PostgreSQL.
func eachEngine(t *testing.T, test func(t *testing.T, o *office)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newOffice(t, "")) })
	t.Run("postgres", func(t *testing.T) { test(t, newOffice(t, pgtest.Start(t))) })
}

func newOffice(t testing.TB, database string) *office {
	o := &office{TB: t, cfg: server.Config{Data: t.TempDir(), Database: database, Log: slog.New(slog.DiscardHandler)}}
	o.start()
	return o
}

func (o *office) start() {
	o.Helper()
	s, err := server.Open(context.Background(), o.cfg)
	if err != nil {
		o.Fatal(err)
	}
	if s.FirstAdmin != nil {
		o.first = s.FirstAdmin.Password
	}
	h := httptest.NewServer(s.Handler)
	o.url = h.URL
	stopped := false
	o.stop = func() {
		if stopped {
			return
		}
		stopped = true
		h.Close()
		if err := s.Close(); err != nil {
			o.Error(err)
		}
	}
	o.Cleanup(o.stop)
}

// run runs the command line in a process of its own.
func (o *office) run(stdin string, args ...string) (stdout, stderr string, code int) {
	o.Helper()
	self, err := os.Executable()
	if err != nil {
		o.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "CULVERT_DATA="+o.cfg.Data, "CULVERT_DATABASE="+o.cfg.Database)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs what has to work, and answers what it printed.
func (o *office) must(stdin string, args ...string) string {
	o.Helper()
	out, errs, code := o.run(stdin, args...)
	if code != 0 || errs != "" {
		o.Fatalf("culvert %v: exit code %d: %s%s", args, code, out, errs)
	}
	return out
}

// do runs a command, right or wrong, and adds it to the transcript.
func (o *office) do(stdin string, args ...string) {
	o.Helper()
	out, errs, code := o.run(stdin, args...)
	fmt.Fprintf(&o.transcript, "$ culvert %s\n", strings.Join(args, " "))
	if stdin != "" {
		fmt.Fprintf(&o.transcript, "< %q\n", stdin)
	}
	o.transcript.WriteString(out)
	for line := range strings.Lines(errs) {
		o.transcript.WriteString("! " + line)
	}
	fmt.Fprintf(&o.transcript, "= %d\n\n", code)
}

// chance matches ids and passwords made by chance.
var chance = regexp.MustCompile(`\b([0-9a-f]{32}|[A-Z2-7]{24})\b`)

func (o *office) golden(name string) {
	o.Helper()
	seen := map[string]string{}
	text := chance.ReplaceAllStringFunc(strings.ReplaceAll(o.transcript.String(), o.cfg.Data, "DATA"), func(s string) string {
		if seen[s] == "" {
			seen[s] = fmt.Sprintf("<%d characters, number %d>", len(s), len(seen)+1)
		}
		return seen[s]
	})
	text = regexp.MustCompile(` +\n`).ReplaceAllString(regexp.MustCompile(` {2,}`).ReplaceAllString(text, "  "), "\n")
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			o.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		o.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); d != "" {
		o.Errorf("%s differs (UPDATE_GOLDEN=1 writes it):\n%s", file, d)
	}
}

// login answers a token, "" when the server refuses.
func (o *office) login(user, password, project string) string {
	o.Helper()
	c, err := client.Login(context.Background(), o.url, user, password, project)
	if err != nil {
		return ""
	}
	return c.Token
}

// status is what a token is answered with at the network API.
func (o *office) status(token string) int {
	o.Helper()
	r, err := http.NewRequest("GET", o.url+"/v2.0/vpn/ikepolicies", nil)
	if err != nil {
		o.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		o.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// becomes waits until the server answers a token with this status.
func (o *office) becomes(what, token string, want int) {
	o.Helper()
	end := time.Now().Add(20 * time.Second)
	for o.status(token) != want {
		if time.Now().After(end) {
			o.Fatalf("%s: the token is still answered with %d, want %d", what, o.status(token), want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// password is the one that an answer shows.
func (o *office) password(answer string) string {
	o.Helper()
	_, p, ok := strings.Cut(strings.TrimSpace(answer), "shown this once: ")
	if !ok {
		o.Fatalf("no password in %q", answer)
	}
	return strings.Fields(p)[0]
}

// Every command on a stopped server, right and wrong.
func TestIdentityCommands(t *testing.T) {
	eachEngine(t, func(t *testing.T, o *office) {
		o.stop()
		o.do("", "project", "create", "lab", "--description", "The lab")
		o.do("", "project", "create", "lab")
		o.do("", "project", "create", "old")
		o.do("", "project", "set", "old", "--name", "archive", "--disable")
		o.do("", "project", "set", "lab")
		o.do("", "project", "list")
		o.do("", "project", "list", "--json")
		o.do("", "user", "create", "ann", "--project", "lab", "--email", "ann@example.org")
		o.do("hunter 2\r\n", "user", "create", "robot", "--project", "lab", "--role", "reader", "--password-stdin", "--json")
		o.do("", "user", "create", "carl", "--json")
		o.do("", "user", "create", "dora", "--project", "nowhere")
		o.do("", "user", "create", "dora", "--project", "lab", "--role", "king")
		o.do("\n", "user", "create", "dora", "--password-stdin")
		o.do("one\ntwo\n", "user", "create", "dora", "--password-stdin")
		o.do("", "user", "create", "ann")
		o.do("", "user", "create", "a\tb")
		o.do("", "user", "set", "carl", "--name", "karl", "--description", "x", "--default-project", "lab")
		o.do("", "user", "set", "karl", "--enable", "--disable")
		o.do("", "user", "set", "nobody", "--disable")
		o.do("", "user", "set", "robot", "--disable", "--json")
		o.do("", "user", "list")
		o.do("secret", "user", "password", "robot", "--password-stdin")
		o.do("", "user", "password", "ann", "--json")
		o.do("", "role", "grant", "admin", "karl", "--system")
		o.do("", "role", "grant", "reader", "karl", "--on-domain", "default", "--json")
		o.do("", "role", "grant", "reader", "karl")
		o.do("", "role", "grant", "reader", "karl", "--system", "--project", "lab")
		o.do("", "role", "list")
		o.do("", "role", "list", "--user", "karl", "--json")
		o.do("", "role", "list", "--project", "lab")
		o.do("", "role", "revoke", "member", "ann", "--project", "lab")
		o.do("", "role", "revoke", "member", "ann", "--project", "lab")
		o.do("", "user", "delete", "karl")
		o.do("", "user", "delete", "karl")
		o.do("", "project", "delete", "archive")
		o.do("", "role", "list")
		o.do("", "user", "list", "--domain", "nowhere")
		o.do("", "user", "list", "--data", "nowhere")
		o.golden("identity.txt")
	})
}

func TestHelpTeaches(t *testing.T) {
	o := &office{TB: t, cfg: server.Config{Data: t.TempDir()}}
	for _, args := range [][]string{{"user", "create"}, {"user", "set"}, {"user", "password"}, {"user", "delete"}, {"project", "create"},
		{"project", "set"}, {"project", "delete"}, {"role", "list"}, {"role", "grant"}, {"role", "revoke"}} {
		out := strings.Join(strings.Fields(o.must("", append(args, "--help")...)), " ")
		if !strings.Contains(out, "The server may be running or stopped.") {
			t.Errorf("culvert %v --help does not say where it works: %s", args, out)
		}
	}
	if left, err := os.ReadDir(o.cfg.Data); err != nil || len(left) > 0 {
		t.Errorf("asking for help made %v (%v)", left, err)
	}
}

// What the operator does beside a running server, the server goes by.
func TestIdentityBesideARunningServer(t *testing.T) {
	eachEngine(t, func(t *testing.T, o *office) {
		o.must("", "project", "create", "lab")
		first := o.password(o.must("", "user", "create", "ann", "--project", "lab"))
		login := func(password string) string {
			t.Helper()
			token := ""
			for end := time.Now().Add(20 * time.Second); token == "" && time.Now().Before(end); {
				token = o.login("ann", password, "lab")
			}
			if token == "" {
				t.Fatal("ann cannot log in")
			}
			o.becomes("fresh", token, 200)
			return token
		}
		token := login(first)
		o.must("", "user", "set", "ann", "--disable")
		o.becomes("user disabled", token, 401)
		if o.login("ann", first, "lab") != "" {
			t.Error("a disabled user logs in")
		}
		o.must("", "user", "set", "ann", "--enable")
		if got := o.status(token); got != 401 {
			t.Errorf("enabling brought the token back: %d", got)
		}
		token = login(first)
		second := o.password(o.must("", "user", "password", "ann"))
		o.becomes("new password", token, 401)
		if o.login("ann", first, "lab") != "" {
			t.Error("the old password still works")
		}
		token = login(second)
		o.must("", "role", "revoke", "member", "ann", "--project", "lab")
		o.becomes("role revoked", token, 401)
		o.must("", "role", "grant", "member", "ann", "--project", "lab")
		o.becomes("role granted", token, 200)
		o.must("", "project", "set", "lab", "--disable")
		o.becomes("project disabled", token, 401)
		o.must("", "project", "set", "lab", "--enable")
		o.becomes("project enabled", token, 200)
		o.must("", "user", "delete", "ann")
		o.becomes("user deleted", token, 401)
	})
}

// However one locks oneself out through the API, the operator repairs it.
func TestLockedOut(t *testing.T) {
	eachEngine(t, func(t *testing.T, o *office) {
		token := o.login("admin", o.first, "admin")
		var u struct{ Users []struct{ ID string } }
		if o.api(token, "GET", "users?name=admin", "", &u); len(u.Users) != 1 {
			t.Fatal("no admin")
		}
		o.api(token, "PATCH", "users/"+u.Users[0].ID, `{"user": {"enabled": false}}`, nil)
		if o.login("admin", o.first, "admin") != "" {
			t.Fatal("not locked out")
		}
		o.stop()
		o.must("", "user", "set", "admin", "--enable")
		o.must("new secret\n", "user", "password", "admin", "--password-stdin")
		o.start()
		if token = o.login("admin", "new secret", "admin"); token == "" {
			t.Fatal("still locked out")
		}
		o.api(token, "DELETE", "users/"+u.Users[0].ID, "", nil)
		o.must("another\n", "user", "create", "admin", "--project", "admin", "--role", "admin", "--password-stdin")
		end := time.Now().Add(20 * time.Second)
		for token = ""; token == "" && time.Now().Before(end); {
			token = o.login("admin", "another", "admin")
		}
		if o.api(token, "GET", "users", "", &u); len(u.Users) != 1 {
			t.Errorf("the new admin sees %v", u.Users)
		}
	})
}

// api calls the identity API and reads its answer into v unless that is nil.
func (o *office) api(token, method, path, body string, v any) {
	o.Helper()
	r, err := http.NewRequest(method, o.url+"/identity/v3/"+path, strings.NewReader(body))
	if err != nil {
		o.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		o.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		o.Fatalf("%s %s: %s", method, path, res.Status)
	}
	if v == nil {
		return
	}
	if err := json.NewDecoder(res.Body).Decode(v); err != nil {
		o.Fatal(err)
	}
}
