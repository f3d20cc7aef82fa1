package identity_test

import (
	"testing"

	"culvert/internal/identity"
)

// A domain takes its users and projects along, and what refers to those.
func TestDomainLife(t *testing.T) {
	eachEngine(t, func(w *world) {
		d, err := w.CreateDomain(w.ctx, w.admin, map[string]any{"name": "acme", "description": "x", "colour": "red"})
		w.must(err)
		p, err := w.CreateProject(w.ctx, w.admin, map[string]any{"name": "p", "domain_id": d.ID})
		w.must(err)
		u, err := w.CreateUser(w.ctx, w.admin, map[string]any{"name": "u", "domain_id": d.ID, "password": "secret"})
		w.must(err)
		outside := w.user("outside", "secret")
		for _, t := range []identity.Target{on(p), {DomainID: d.ID}, {System: true}} {
			w.give(u, "member", t)
			w.give(outside, "reader", t)
		}
		text, me := w.login(w.as(u, "secret", scoped(p)))
		_, err = w.CreateCredential(w.ctx, me, u.ID, map[string]any{"name": "c"})
		w.must(err)
		outsideText, _ := w.login(w.as(outside, "secret", scoped(p)))

		w.wantCode("delete an enabled domain", w.DeleteDomain(w.ctx, w.admin, d.ID), 403)
		_, err = w.UpdateDomain(w.ctx, w.admin, d.ID, map[string]any{"enabled": false})
		w.must(err)
		for _, tok := range []string{text, outsideText} {
			_, err = w.Authenticate(w.ctx, tok)
			w.wantCode("a token into a disabled domain", err, 401)
		}
		_, _, err = w.Login(w.ctx, w.as(u, "secret", identity.Scope{Unscoped: true}))
		w.wantCode("a login from a disabled domain", err, 401)
		w.must(w.DeleteDomain(w.ctx, w.admin, d.ID))
		w.wantCode("twice", w.DeleteDomain(w.ctx, w.admin, d.ID), 404)
		_, err = w.User(w.ctx, w.admin, u.ID)
		w.wantCode("its user", err, 404)
		_, err = w.Project(w.ctx, w.admin, p.ID)
		w.wantCode("its project", err, 404)
		left, err := w.Assignments(w.ctx, w.admin, identity.AssignmentFilter{UserID: outside.ID})
		if err != nil || len(left) != 1 || !left[0].System {
			w.Errorf("assignments of a user elsewhere: %v, %v", left, err)
		}
	})
}

func TestDomainRefusals(t *testing.T) {
	w := newWorld(t)
	u := w.user("u", "secret")
	_, me := w.login(w.as(u, "secret", identity.Scope{}))
	create := func(by *identity.Token, in map[string]any) error { _, err := w.CreateDomain(w.ctx, by, in); return err }
	set := func(by *identity.Token, id string, in map[string]any) error {
		_, err := w.UpdateDomain(w.ctx, by, id, in)
		return err
	}
	w.must(create(w.admin, map[string]any{"name": "acme"}))
	w.must(set(w.admin, "default", map[string]any{"enabled": true, "description": "y"}))
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"create by a user":    {create(me, map[string]any{"name": "x"}), 403},
		"update by a user":    {set(me, "default", map[string]any{"name": "x"}), 403},
		"delete by a user":    {w.DeleteDomain(w.ctx, me, "default"), 403},
		"duplicate":           {create(w.admin, map[string]any{"name": "Default"}), 409},
		"rename to duplicate": {set(w.admin, "default", map[string]any{"name": "acme"}), 409},
		"no name":             {create(w.admin, map[string]any{}), 400},
		"tags":                {create(w.admin, map[string]any{"name": "x", "tags": []any{"a"}}), 400},
		"no such domain":      {set(w.admin, "x", map[string]any{}), 404},
		"the first domain":    {w.DeleteDomain(w.ctx, w.admin, "default"), 403},
	} {
		w.wantCode(name, c.err, c.code)
	}
}

func TestRoleRefusals(t *testing.T) {
	w := newWorld(t)
	u := w.user("u", "secret")
	_, me := w.login(w.as(u, "secret", identity.Scope{}))
	create := func(by *identity.Token, in map[string]any) error { _, err := w.CreateRole(w.ctx, by, in); return err }
	set := func(by *identity.Token, id string, in map[string]any) error {
		_, err := w.UpdateRole(w.ctx, by, id, in)
		return err
	}
	w.must(create(w.admin, map[string]any{"name": "auditor", "description": nil, "domain_id": nil}))
	auditor := w.roleID("auditor")
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"create by a user":       {create(me, map[string]any{"name": "x"}), 403},
		"update by a user":       {set(me, auditor, map[string]any{"name": "x"}), 403},
		"delete by a user":       {w.DeleteRole(w.ctx, me, auditor), 403},
		"duplicate":              {create(w.admin, map[string]any{"name": "admin"}), 409},
		"a name that has rights": {set(w.admin, auditor, map[string]any{"name": "admin"}), 409},
		"of one domain":          {create(w.admin, map[string]any{"name": "x", "domain_id": "default"}), 400},
		"rename member":          {set(w.admin, w.roleID("member"), map[string]any{"name": "x"}), 403},
		"delete member":          {w.DeleteRole(w.ctx, w.admin, w.roleID("member")), 403},
		"delete none":            {w.DeleteRole(w.ctx, w.admin, "x"), 404},
		"rename":                 {set(w.admin, auditor, map[string]any{"name": "inspector"}), 200},
	} {
		w.wantCode(name, c.err, c.code)
	}
}
