package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/testbox"
)

// server is a run of the program with an empty data folder and no gateway.
type server struct {
	t        *testing.T
	url      string
	admin    account
	api      *client.Client // as admin
	external string         // id of the external network
}

// account is a user's way in.
type account struct{ user, password, project string }

var (
	passwordLine = regexp.MustCompile(`(?m)^Password of admin, shown this once: (\S+)$`)
	servesLine   = regexp.MustCompile(`(?m)^Culvert serves on (http://\S+) `)
	serverError  = regexp.MustCompile(`(?m)^.* msg=request .* status=5\d\d .*$`)
)

// newServer starts a server and makes the external network "ext" on it. The test fails if any request is answered with 5xx.
func newServer(t *testing.T) *server {
	t.Helper()
	out := launch(t)
	s := &server{t: t, url: awaitLine(t, out, servesLine), admin: account{"admin", awaitLine(t, out, passwordLine), "admin"}}
	api, err := client.Login(t.Context(), s.url, s.admin.user, s.admin.password, s.admin.project)
	if err != nil {
		t.Fatal(err)
	}
	s.api = api
	s.external = s.create("networks", "network", client.Object{"name": "ext", "router:external": true})["id"].(string)
	s.create("subnets", "subnet", client.Object{"name": "ext4", "network_id": s.external, "ip_version": 4, "cidr": "203.0.113.0/24", "enable_dhcp": false})
	return s
}

// launch starts the program; after the test it is ended, and its log looked at.
func launch(t *testing.T) *testbox.Transcript {
	t.Helper()
	out := &testbox.Transcript{}
	data := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command(os.Getenv(binaryVariable), "server", "--gateway=none", "--data", data, "--listen", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"} // no CULVERT_* of the caller
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() }) // the Wait sees it
		defer stop.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended, which the Wait tells
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server: %v; it said:\n%s", err, tail(out.String(), 30))
		}
		if bad := serverError.FindAllString(out.String(), 5); bad != nil {
			t.Errorf("requests answered with 5xx, such as:\n%q", bad)
		}
		if t.Failed() {
			t.Logf("the server's last words:\n%s", tail(out.String(), 30))
		}
	})
	return out
}

// awaitLine waits until the program has written a line and returns what its group holds.
func awaitLine(t *testing.T, out *testbox.Transcript, line *regexp.Regexp) string {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if m := line.FindStringSubmatch(out.String()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("the server did not say %s; it said:\n%s", line, out)
	return ""
}

func (s *server) call(method, path string, body any) client.Object {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	o, err := s.api.Call(ctx, method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

func (s *server) create(collection, key string, attributes client.Object) client.Object {
	s.t.Helper()
	return s.call("POST", "/v2.0/"+collection, client.Object{key: attributes})[key].(client.Object)
}

// project makes a project.
func (s *server) project(name string) (id string) {
	s.t.Helper()
	made := s.call("POST", "/identity/v3/projects", client.Object{"project": client.Object{"name": name, "domain_id": "default"}})
	return made["project"].(client.Object)["id"].(string)
}

// user makes a user with a role in a project that has this name and id.
func (s *server) user(name, role, project, projectID string) account {
	s.t.Helper()
	password := "correct horse of " + name
	made := s.call("POST", "/identity/v3/users", client.Object{"user": client.Object{"name": name, "domain_id": "default", "password": password}})
	roles := s.call("GET", "/identity/v3/roles?name="+role, nil)["roles"].([]any)
	if len(roles) != 1 {
		s.t.Fatalf("%d roles are named %s, want 1", len(roles), role)
	}
	s.call("PUT", "/identity/v3/projects/"+projectID+"/users/"+made["user"].(client.Object)["id"].(string)+
		"/roles/"+roles[0].(client.Object)["id"].(string), nil)
	return account{name, password, project}
}

// variables are what an OpenStack client reads for an account.
func (s *server) variables(a account) []string {
	return []string{"OS_AUTH_URL=" + s.url + "/identity/v3", "OS_IDENTITY_API_VERSION=3", "OS_USERNAME=" + a.user, "OS_PASSWORD=" + a.password,
		"OS_PROJECT_NAME=" + a.project, "OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default", "OS_REGION_NAME=RegionOne"}
}
