package vpntest

import (
	"testing"

	"culvert/internal/client"
)

// user is one that Start makes through the identity API.
type user struct{ name, project, role string }

// populate makes two projects and their users, and logs everybody in.
func (s *Server) populate(t testing.TB) {
	t.Helper()
	first := s.FirstAdmin
	if first == nil {
		t.Fatal("the database of the test is not empty")
	}
	s.Secret(first.Password)
	s.login(t, "admin", first.UserName, first.Password, first.ProjectName)
	s.Home, s.Away = s.project(t, "home"), s.project(t, "away")
	roles := s.roles(t)
	for _, u := range []user{{"member", "home", "member"}, {"reader", "home", "reader"}, {"stranger", "away", "member"}, {"visitor", "away", "reader"}} {
		password := "correct horse of " + u.name
		made := s.call(t, "POST", "/identity/v3/users", client.Object{"user": client.Object{"name": u.name, "domain_id": "default", "password": password}})
		id := made["user"].(client.Object)["id"].(string)
		project := map[string]string{"home": s.Home, "away": s.Away}[u.project]
		s.call(t, "PUT", "/identity/v3/projects/"+project+"/users/"+id+"/roles/"+roles[u.role], nil)
		s.Secret(password)
		s.login(t, u.name, u.name, password, u.project)
	}
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

func (s *Server) login(t testing.TB, as, name, password, project string) {
	t.Helper()
	c, err := client.Login(t.Context(), s.URL, name, password, project)
	if err != nil {
		t.Fatalf("login of %s: %v", as, err)
	}
	s.Secret(c.Token)
	s.clients[as] = c
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
