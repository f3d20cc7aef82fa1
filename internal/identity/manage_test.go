package identity_test

import (
	"strings"
	"testing"
	"time"

	"culvert/internal/identity"
	"culvert/internal/resource"

	"github.com/google/go-cmp/cmp"
)

func TestBootstrapHappensOnce(t *testing.T) {
	w := newWorld(t)
	again, err := w.server().Bootstrap(w.ctx)
	if err != nil || again != nil {
		t.Fatalf("second start: %v, %v", again, err)
	}
	if len(w.first.Password) != 24 || newWorld(t).first.Password == w.first.Password {
		t.Errorf("the password is not 24 characters of chance")
	}
	for name, s := range map[string]identity.Scope{"project": {Project: &identity.NameRef{Name: "admin", Domain: identity.Ref{Name: "Default"}}},
		"domain": {Domain: &identity.Ref{ID: "default"}}, "system": {System: true}} {
		l := w.adminLogin()
		l.User, l.Scope = identity.NameRef{Name: "admin", Domain: identity.Ref{Name: "Default"}}, s
		_, tok := w.login(l)
		if d := cmp.Diff([]string{"admin", "member", "reader"}, tok.Caller().Roles); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestNothingIsChangedBeforeBootstrap(t *testing.T) {
	full, w := newWorld(t), newEmpty(t)
	_, err := w.CreateProject(w.ctx, full.admin, map[string]any{"name": "p", "domain_id": "default"})
	w.wantCode("create in an empty store", err, 404)
	_, _, err = w.Login(w.ctx, full.adminLogin())
	w.wantCode("login in an empty store", err, 401)
}

// Every attribute: what is taken, and what is a 400 that says why.
func TestAttributes(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 256)
	project := func(in map[string]any) error { _, err := w.CreateProject(w.ctx, w.admin, in); return err }
	user := func(in map[string]any) error { _, err := w.CreateUser(w.ctx, w.admin, in); return err }
	for name, c := range map[string]struct {
		do   func(map[string]any) error
		in   map[string]any
		code int
	}{
		"project":                {project, map[string]any{"name": "a", "description": nil, "enabled": false, "tags": []any{"t", "t"}, "options": map[string]any{}}, 200},
		"with its domain":        {project, map[string]any{"name": "b", "domain_id": "default", "parent_id": "default", "is_domain": false}, 200},
		"extra attributes":       {project, map[string]any{"name": "c", "cost_centre": "x", "gold": true}, 200},
		"duplicate":              {project, map[string]any{"name": "admin"}, 409},
		"no name":                {project, map[string]any{"description": "x"}, 400},
		"blank name":             {project, map[string]any{"name": "  "}, 400},
		"null name":              {project, map[string]any{"name": nil}, 400},
		"long name":              {project, map[string]any{"name": long[:65]}, 400},
		"name with a line break": {project, map[string]any{"name": "a\nb"}, 400},
		"number as a name":       {project, map[string]any{"name": 5}, 400},
		"text as a flag":         {project, map[string]any{"name": "x", "enabled": "yes"}, 400},
		"long description":       {project, map[string]any{"name": "x", "description": long}, 400},
		"a nested project":       {project, map[string]any{"name": "x", "parent_id": "other"}, 400},
		"a domain":               {project, map[string]any{"name": "x", "is_domain": true}, 400},
		"no such domain":         {project, map[string]any{"name": "x", "domain_id": "nowhere"}, 404},
		"domain that is a list":  {project, map[string]any{"name": "x", "domain_id": []any{}}, 400},
		"options":                {project, map[string]any{"name": "x", "options": map[string]any{"immutable": true}}, 400},
		"tags that are text":     {project, map[string]any{"name": "x", "tags": "a"}, 400},
		"tag with a slash":       {project, map[string]any{"name": "x", "tags": []any{"a/b"}}, 400},
		"nested extra":           {project, map[string]any{"name": "x", "more": map[string]any{"a": 1}}, 400},
		"user":                   {user, map[string]any{"name": "a", "password": "p", "email": "a@example.org", "default_project_id": nil}, 200},
		"user with a bad flag":   {user, map[string]any{"name": "x", "enabled": nil}, 400},
		"user: duplicate":        {user, map[string]any{"name": "admin", "password": "p"}, 409},
		"empty password":         {user, map[string]any{"name": "x", "password": ""}, 400},
		"password list":          {user, map[string]any{"name": "x", "password": []any{"hunter2"}}, 400},
		"long password":          {user, map[string]any{"name": "x", "password": strings.Repeat("hunter2", 600)}, 400},
	} {
		err := c.do(c.in)
		w.wantCode(name, err, c.code)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a password: %v", name, err)
		}
	}
}

func TestUpdateKeepsTheRest(t *testing.T) {
	w := newWorld(t)
	p, err := w.CreateProject(w.ctx, w.admin, map[string]any{"name": "p", "description": "d", "colour": "red", "size": "big"})
	w.must(err)
	got, err := w.UpdateProject(w.ctx, w.admin, p.ID, map[string]any{"name": "q", "colour": nil})
	w.must(err)
	want := &identity.Project{ID: p.ID, Name: "q", DomainID: "default", Description: "d", Enabled: true, Tags: []string{}, Extra: map[string]any{"size": "big"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	shown, err := w.Project(w.ctx, w.admin, p.ID)
	w.must(err)
	if d := cmp.Diff(want, shown); d != "" {
		t.Error(d)
	}
	w.project("taken")
	_, err = w.UpdateProject(w.ctx, w.admin, p.ID, map[string]any{"name": "taken"})
	w.wantCode("a name that is taken", err, 409)
	_, err = w.UpdateProject(w.ctx, w.admin, p.ID, map[string]any{"domain_id": "other"})
	w.wantCode("another domain", err, 400)
	u := w.user("u", "secret")
	_, err = w.UpdateUser(w.ctx, w.admin, u.ID, map[string]any{"email": "u@example.org"})
	w.must(err)
	w.login(w.as(u, "secret", identity.Scope{})) // the password is still there
}

// Who is no admin sees itself and its project, and changes nothing.
func TestRights(t *testing.T) {
	w := newWorld(t)
	p, other := w.project("p"), w.project("other")
	u := w.user("u", "secret")
	w.give(u, "member", on(p))
	_, me := w.login(w.as(u, "secret", scoped(p)))
	member, none := w.roleID("member"), identity.Filter{}
	check := func(what string, want int) func(any, error) {
		return func(_ any, err error) { t.Helper(); w.wantCode(what, err, want) }
	}
	check("own project", 200)(w.Project(w.ctx, me, p.ID))
	check("own user", 200)(w.User(w.ctx, me, u.ID))
	check("own domain", 200)(w.Domain(w.ctx, me, "default"))
	check("own projects", 200)(w.OwnProjects(w.ctx, me, u.ID))
	check("own assignments", 200)(w.Assignments(w.ctx, me, identity.AssignmentFilter{UserID: u.ID}))
	check("another project", 403)(w.Project(w.ctx, me, other.ID))
	check("another user", 403)(w.User(w.ctx, me, w.first.UserID))
	check("another domain", 403)(w.Domain(w.ctx, me, "x"))
	check("another's projects", 403)(w.OwnProjects(w.ctx, me, w.first.UserID))
	check("all assignments", 403)(w.Assignments(w.ctx, me, identity.AssignmentFilter{}))
	check("all domains", 403)(w.Domains(w.ctx, me, none))
	check("all projects", 403)(w.Projects(w.ctx, me, none))
	check("all users", 403)(w.Users(w.ctx, me, none))
	check("all roles", 403)(w.Roles(w.ctx, me, none))
	check("role", 403)(w.Role(w.ctx, me, member))
	check("grants", 403)(w.Grants(w.ctx, me, on(p), u.ID))
	check("create project", 403)(w.CreateProject(w.ctx, me, map[string]any{"name": "x"}))
	check("update project", 403)(w.UpdateProject(w.ctx, me, p.ID, map[string]any{"name": "x"}))
	check("create user", 403)(w.CreateUser(w.ctx, me, map[string]any{"name": "x"}))
	check("update user", 403)(w.UpdateUser(w.ctx, me, u.ID, map[string]any{"name": "x"}))
	check("delete project", 403)(nil, w.DeleteProject(w.ctx, me, p.ID))
	check("delete user", 403)(nil, w.DeleteUser(w.ctx, me, u.ID))
	check("grant", 403)(nil, w.Grant(w.ctx, me, on(other), u.ID, w.roleID("admin")))
	check("ungrant", 403)(nil, w.Ungrant(w.ctx, me, on(p), u.ID, member))
	check("granted", 403)(nil, w.Granted(w.ctx, me, on(p), u.ID, member))
}

func TestGrants(t *testing.T) {
	w := newWorld(t)
	p, u := w.project("p"), w.user("u", "secret")
	reader := w.roleID("reader")
	w.wantCode("not yet", w.Granted(w.ctx, w.admin, on(p), u.ID, reader), 404)
	w.wantCode("take what was not given", w.Ungrant(w.ctx, w.admin, on(p), u.ID, reader), 404)
	for range 2 {
		w.must(w.Grant(w.ctx, w.admin, on(p), u.ID, reader))
	}
	w.must(w.Granted(w.ctx, w.admin, on(p), u.ID, reader))
	w.wantCode("implied is not given", w.Granted(w.ctx, w.admin, on(p), u.ID, w.roleID("member")), 404)
	roles, err := w.Grants(w.ctx, w.admin, on(p), u.ID)
	if err != nil || len(roles) != 1 || roles[0].Name != "reader" {
		t.Errorf("%v, %v", roles, err)
	}
	for name, err := range map[string]error{
		"no such user":    w.Grant(w.ctx, w.admin, on(p), "x", reader),
		"no such role":    w.Grant(w.ctx, w.admin, on(p), u.ID, "x"),
		"no such project": w.Grant(w.ctx, w.admin, identity.Target{ProjectID: "x"}, u.ID, reader),
		"no such domain":  w.Grant(w.ctx, w.admin, identity.Target{DomainID: "x"}, u.ID, reader),
		"a user's id":     w.Grant(w.ctx, w.admin, identity.Target{ProjectID: u.ID}, u.ID, reader),
	} {
		w.wantCode(name, err, 404)
	}
	w.must(w.DeleteUser(w.ctx, w.admin, u.ID))
	left, err := w.Assignments(w.ctx, w.admin, identity.AssignmentFilter{Target: on(p)})
	if err != nil || len(left) != 0 {
		t.Errorf("after the user: %v, %v", left, err)
	}
}

func TestRevocationsOfExpiredTokensAreDeleted(t *testing.T) {
	w := newWorld(t)
	revoke := func() int64 {
		text, tok := w.login(w.adminLogin())
		w.must(w.Revoke(w.ctx, tok.Caller(), text))
		var n int64
		w.must(w.cfg.Store.View(w.ctx, func(r resource.Reader) (err error) {
			n, err = r.Count(w.ctx, resource.Query{Kind: "revocation"})
			return err
		}))
		return n
	}
	for want := int64(1); want <= 3; want++ {
		if n := revoke(); n != want {
			t.Errorf("%d revocations, want %d", n, want)
		}
	}
	w.clock.forward(2 * time.Hour)
	if n := revoke(); n != 1 {
		t.Errorf("%d revocations two hours later, want the new one", n)
	}
}
