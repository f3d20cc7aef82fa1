//go:build openstack

package openstack

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/client"
	"culvert/internal/testbox"
)

// cloud is the running stack.
type cloud struct {
	dir, keystone, neutron string // folder, URLs
	adminPassword, servicePassword,
	program string // culvert
}

// A stack that is up already is used where it is: whoever started it has made it a sandbox.
func TestMain(m *testing.M) {
	if _, given := os.LookupEnv(stackVariable); given {
		os.Exit(m.Run())
	}
	testbox.Main(inStack{m}, testbox.BuildProgram)
}

const stackVariable = "CULVERT_OPENSTACK"

// inStack runs the tests while a stack is up.
type inStack struct{ tests testbox.Tests }

func (s inStack) Run() (code int) {
	dir := filepath.Join(testbox.Folder(), "stack")
	defer func() {
		if err := script("down", dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err := errors.Join(script("up", dir), os.Setenv(stackVariable, dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return s.tests.Run()
}

// script runs stack.
func script(args ...string) error {
	cmd := exec.Command("./stack", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("stack %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// theCloud reads what the stack says of itself, builds the program, and makes the service user if it is the first.
func theCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{dir: os.Getenv(stackVariable), program: testbox.Program()}
	text, err := os.ReadFile(filepath.Join(c.dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[name] = value
	}
	c.keystone, c.neutron = env["KEYSTONE_URL"], env["NEUTRON_URL"]
	c.adminPassword, c.servicePassword = env["ADMIN_PASSWORD"], env["SERVICE_PASSWORD"]
	if testbox.Folder() == "" {
		dir := t.TempDir()
		if c.program = filepath.Join(dir, "culvert"); testbox.BuildProgram(dir) != nil {
			t.Fatal("the program cannot be built")
		}
	}
	c.serviceUser(t)
	return c
}

// serviceUser is the one that both Neutron and Culvert ask Keystone by.
func (c *cloud) serviceUser(t *testing.T) {
	t.Helper()
	admin := c.admin(t)
	if found := list(t, admin, "/users?name=culvert", "users"); len(found) > 0 {
		return
	}
	project := made(t, admin, "/projects", "project", object{"name": "service", "domain_id": "default"})
	user := made(t, admin, "/users", "user", object{"name": "culvert", "domain_id": "default", "password": c.servicePassword})
	c.grant(t, admin, project, user, "admin")
}

func (c *cloud) grant(t *testing.T, admin *client.Client, project, user, role string) {
	t.Helper()
	roles := list(t, admin, "/roles?name="+role, "roles")
	if len(roles) != 1 {
		t.Fatalf("role %s: %v", role, roles)
	}
	want(t, admin, "PUT", "/projects/"+project+"/users/"+user+"/roles/"+roles[0]["id"].(string), nil, 204)
}

// admin speaks to Keystone.
func (c *cloud) admin(t *testing.T) *client.Client {
	t.Helper()
	return c.login(t, "admin", c.adminPassword, "admin")
}

// person is a user with a role in a project of the test's own.
type person struct{ name, password, project, projectID, id string }

// newProject makes a project whose name begins with name.
func (c *cloud) newProject(t *testing.T, name string) (id, full string) {
	t.Helper()
	admin, full := c.admin(t), name+"-"+random()
	id = made(t, admin, "/projects", "project", object{"name": full, "domain_id": "default"})
	return id, full
}

// newPerson makes a user with a role in the project.
func (c *cloud) newPerson(t *testing.T, projectID, project, role string) person {
	t.Helper()
	admin := c.admin(t)
	p := person{name: role + "-" + random(), password: random(), project: project, projectID: projectID}
	p.id = made(t, admin, "/users", "user", object{"name": p.name, "domain_id": "default", "password": p.password})
	c.grant(t, admin, projectID, p.id, role)
	return p
}

func random() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// login speaks to Keystone with a new token.
func (c *cloud) login(t *testing.T, user, password, project string) *client.Client {
	t.Helper()
	domain := object{"name": "Default"}
	body, err := json.Marshal(object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{"user": object{"name": user, "domain": domain, "password": password}}},
		"scope":    object{"project": object{"name": project, "domain": domain}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(c.keystone+"/auth/tokens", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var doc struct {
		Token struct{ Project struct{ ID string } }
	}
	if err := json.NewDecoder(r.Body).Decode(&doc); err != nil || r.StatusCode != http.StatusCreated {
		t.Fatalf("login of %s: %s, %v", user, r.Status, err)
	}
	return &client.Client{URL: c.keystone, Token: r.Header.Get("X-Subject-Token"), Project: doc.Token.Project.ID, HTTP: http.DefaultClient}
}

// at is the same user at another place.
func at(c *client.Client, url string) *client.Client {
	out := *c
	out.URL = url
	return &out
}
