package vpntest

import (
	"context"
	"testing"

	"culvert/internal/client"
)

// user is one that Start makes through the identity API. It logs in when it is needed first: a login costs a hash.
type user struct{ name, project, role, login, password string }

// populate makes two projects and their users.
func (s *Server) populate(t testing.TB) {
	t.Helper()
	first := s.FirstAdmin
	if first == nil {
		t.Fatal("the database of the test is not empty")
	}
	s.Secret(first.Password)
	s.users = map[string]user{"admin": {login: first.UserName, password: first.Password, project: first.ProjectName}}
	s.Home, s.Away = s.project(t, "home"), s.project(t, "away")
	roles := s.roles(t)
	for _, u := range []user{{name: "member", project: "home", role: "member"}, {name: "reader", project: "home", role: "reader"},
		{name: "stranger", project: "away", role: "member"}, {name: "visitor", project: "away", role: "reader"}} {
		password := "correct horse of " + u.name
		made := s.call(t, "POST", "/identity/v3/users", client.Object{"user": client.Object{"name": u.name, "domain_id": "default", "password": password}})
		id := made["user"].(client.Object)["id"].(string)
		project := map[string]string{"home": s.Home, "away": s.Away}[u.project]
		s.call(t, "PUT", "/identity/v3/projects/"+project+"/users/"+id+"/roles/"+roles[u.role], nil)
		s.Secret(password)
		u.login, u.password = u.name, password
		s.users[u.name] = u
	}
}

// As returns the client of a user: admin (of the first project), member and reader (of Home), stranger (a member of Away),
// visitor (a reader of Away). It panics for any other, and where the login fails.
func (s *Server) As(name string) *client.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[name]; c != nil {
		return c
	}
	u, ok := s.users[name]
	if !ok {
		panic("vpntest: no user " + name)
	}
	c, err := client.Login(context.Background(), s.URL, u.login, u.password, u.project)
	if err != nil {
		panic("vpntest: login of " + name + ": " + err.Error())
	}
	s.Secret(c.Token)
	s.clients[name] = c
	return c
}

func (s *Server) project(t testing.TB, name string) string {
	t.Helper()
	made := s.call(t, "POST", "/identity/v3/projects", client.Object{"project": client.Object{"name": name, "domain_id": "default"}})
	return made["project"].(client.Object)["id"].(string)
}

// roles are the ids of the roles by name.
func (s *Server) roles(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, r := range s.call(t, "GET", "/identity/v3/roles", nil)["roles"].([]any) {
		role := r.(client.Object)
		out[role["name"].(string)] = role["id"].(string)
	}
	return out
}

// call is one of the admin's that must succeed.
func (s *Server) call(t testing.TB, method, path string, body any) client.Object {
	t.Helper()
	out, err := s.As("admin").Call(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
