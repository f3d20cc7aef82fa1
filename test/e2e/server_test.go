package e2e

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
)

// server is a Culvert server with its data folder, over several runs of the program.
type server struct {
	*process // the present run
	t        *testing.T
	how      []as
	data     string
	address  string
	args     []string
	api      *client.Client // as admin
}

// newServer starts a server on an empty folder and logs in with the password that it prints.
func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	return newServerIn(t, filepath.Join(t.TempDir(), "data"), nil, args...)
}

func newServerIn(t *testing.T, data string, how []as, args ...string) *server {
	t.Helper()
	s := &server{t: t, how: how, data: data, address: listen(t), args: args}
	t.Logf("namespaces of this test have the tag %s", tag(t))
	t.Cleanup(s.takeDown)
	s.start()
	s.api = s.login(s.password())
	return s
}

// start runs the program on the folder and waits until it serves.
func (s *server) start() {
	s.t.Helper()
	s.process = launch(s.t, s.how, append([]string{"server", "--data", s.data, "--listen", s.address, "--log-level", "debug"}, s.args...)...)
	s.awaitOutput("Culvert serves on http://"+s.address, 20*time.Second)
}

// restart ends the server by a signal and starts it again.
func (s *server) restart(signal syscall.Signal) {
	s.t.Helper()
	s.end(signal)
	s.start()
}

var passwordLine = regexp.MustCompile(`(?m)^Password of admin, shown this once: (\S+)$`)

// password is what this run printed.
func (s *server) password() string {
	s.t.Helper()
	m := passwordLine.FindAllStringSubmatch(s.output.String(), -1)
	if len(m) != 1 {
		s.t.Fatalf("the first start prints %d passwords, want 1; it said:\n%s", len(m), tail(s.output.String(), 40))
	}
	return m[0][1]
}

func (s *server) login(password string) *client.Client {
	s.t.Helper()
	api, err := client.Login(s.t.Context(), "http://"+s.address, "admin", password, "admin")
	if err != nil {
		s.t.Fatalf("%v; the server said:\n%s", err, tail(s.output.String(), 40))
	}
	return api
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// takeDown ends the server and its gateway; after a failure it first shows what the server knows.
func (s *server) takeDown() {
	if s.process != nil {
		if s.t.Failed() {
			s.show()
		}
		select {
		case <-s.ended:
		default:
			if code := s.end(syscall.SIGTERM); code != 0 {
				s.t.Errorf("after SIGTERM the server's exit code is %d, want 0; it said:\n%s", code, tail(s.output.String(), 40))
			}
		}
	}
	code, out := run(s.t, nil, "gateway", "down", "--data", s.data)
	nothing := code == 1 && strings.Contains(out, "nothing here for --data "+s.data) // a gateway without a router leaves no folder
	if taken := code == 0 && strings.Contains(out, " taken away"); !taken && !nothing {
		s.t.Errorf("gateway down: exit code %d:\n%s", code, out)
	}
}

// show logs the server's last words, and the services and connections as it answers them.
func (s *server) show() {
	said := slices.Collect(strings.Lines(s.output.String()))
	said = slices.DeleteFunc(said, func(l string) bool { return strings.Contains(l, " method=GET ") && strings.Contains(l, " status=200 ") }) // polls
	s.t.Logf("the server's last words:\n%s", tail(strings.Join(said, ""), 40))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // the test's own is over
	defer cancel()
	if s.api != nil {
		for _, path := range []string{"/v2.0/vpn/vpnservices", "/v2.0/vpn/ipsec-site-connections"} {
			if _, body, err := s.api.Do(ctx, "GET", path, nil); err == nil {
				s.t.Logf("GET %s: %s", path, body)
			}
		}
	}
}

// create creates a resource.
func (s *server) create(collection, key string, attributes client.Object) client.Object {
	s.t.Helper()
	o, err := s.api.Create(s.t.Context(), collection, key, attributes)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// call makes a call that must succeed.
func (s *server) call(method, path string, body any) client.Object {
	s.t.Helper()
	o, err := s.api.Call(s.t.Context(), method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}
