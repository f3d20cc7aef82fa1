package identity_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/internal/identity"
	"culvert/internal/resource"

	"github.com/google/go-cmp/cmp"
)

// robot is a member of a project with an application credential there.
type robot struct {
	*world
	p    *identity.Project
	u    *identity.User
	me   *identity.Token
	cred *identity.NamedCredential
}

func newRobot(w *world, in map[string]any) *robot {
	w.Helper()
	r := &robot{world: w, p: w.project("p"), u: w.user("u", "secret")}
	w.give(r.u, "member", on(r.p))
	_, r.me = w.login(w.as(r.u, "secret", scoped(r.p)))
	in["name"] = "ci"
	var err error
	r.cred, err = w.CreateCredential(w.ctx, r.me, r.u.ID, in)
	w.must(err)
	return r
}

func (r *robot) byID() identity.Login {
	return identity.Login{Methods: []string{"application_credential"}, Credential: identity.CredentialRef{ID: r.cred.ID}, Secret: r.cred.Secret, Source: "192.0.2.8"}
}

func (r *robot) byName() identity.Login {
	l := r.byID()
	l.Credential = identity.CredentialRef{Name: "ci", User: identity.NameRef{Name: "u", Domain: identity.Ref{Name: "Default"}}}
	return l
}

func TestCredentialLogin(t *testing.T) {
	eachEngine(t, func(w *world) {
		all := newRobot(w, map[string]any{})
		for name, l := range map[string]identity.Login{"id": all.byID(), "name": all.byName()} {
			text, tok := w.login(l)
			want := identity.Caller{UserID: all.u.ID, UserName: "u", ProjectID: all.p.ID, Roles: []string{"member", "reader"}}
			got, err := w.server().Authenticate(w.ctx, text)
			w.must(err)
			if d := cmp.Diff(want, got); d != "" {
				w.Errorf("by %s: %s", name, d)
			}
			if tok.Credential == nil || tok.Credential.ID != all.cred.ID {
				w.Errorf("by %s: the token does not name its credential", name)
			}
		}
		few, err := w.CreateCredential(w.ctx, all.me, all.u.ID, map[string]any{"name": "few", "roles": []any{map[string]any{"name": "reader"}}, "secret": "of my own"})
		w.must(err)
		l := all.byID()
		l.Credential.ID, l.Secret = few.ID, "of my own"
		if _, tok := w.login(l); tok.Caller().MayWrite(all.p.ID) || !tok.Caller().MayRead(all.p.ID) {
			w.Errorf("with the role reader: %v", tok.Caller().Roles)
		}
		shown, err := w.Credentials(w.ctx, w.admin, all.u.ID, "")
		w.must(err)
		for _, c := range shown {
			if c.Secret != "" {
				w.Errorf("the list shows the secret of %s", c.Name)
			}
		}
		if len(shown) != 2 || len(all.cred.Secret) != 86 {
			w.Errorf("%d credentials, a secret of %d characters", len(shown), len(all.cred.Secret))
		}
	})
}

// What ends a credential ends its tokens too, at once, cached or not; some of it can be taken back.
func TestWhatEndsACredential(t *testing.T) {
	nothing := func(*robot) error { return nil }
	user := func(attr string, v any) func(*robot) error {
		return func(r *robot) error {
			_, err := r.UpdateUser(r.ctx, r.admin, r.u.ID, map[string]any{attr: v})
			return err
		}
	}
	project := func(on bool) func(*robot) error {
		return func(r *robot) error {
			_, err := r.UpdateProject(r.ctx, r.admin, r.p.ID, map[string]any{"enabled": on})
			return err
		}
	}
	for name, c := range map[string]struct {
		end         func(*robot) error
		token       int // what its token is answered with after end
		login       int // likewise
		back        func(*robot) error
		login2      int // what a login is answered with after back
		credentials int // how many are left
	}{
		"user disabled":    {user("enabled", false), 401, 401, user("enabled", true), 201, 1},
		"new password":     {user("password", "other"), 401, 201, nothing, 201, 1},
		"project disabled": {project(false), 401, 401, project(true), 201, 1},
		"user deleted":     {func(r *robot) error { return r.DeleteUser(r.ctx, r.admin, r.u.ID) }, 401, 401, nothing, 401, -1},
		"project deleted":  {func(r *robot) error { return r.DeleteProject(r.ctx, r.admin, r.p.ID) }, 401, 401, nothing, 401, 0},
		"role taken away": {func(r *robot) error { return r.Ungrant(r.ctx, r.admin, on(r.p), r.u.ID, r.roleID("member")) }, 401, 401,
			func(r *robot) error { return r.Grant(r.ctx, r.admin, on(r.p), r.u.ID, r.roleID("member")) }, 401, 0},
		"another role taken away": {func(r *robot) error {
			r.give(r.u, "service", on(r.p))
			return r.Ungrant(r.ctx, r.admin, on(r.p), r.u.ID, r.roleID("service"))
		}, 200, 201, nothing, 201, 1},
		"expiry":  {func(r *robot) error { r.clock.forward(time.Minute); return nil }, 401, 401, nothing, 401, 1},
		"deleted": {func(r *robot) error { return r.DeleteCredential(r.ctx, r.me, r.u.ID, r.cred.ID) }, 401, 401, nothing, 401, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRobot(newWorld(t), map[string]any{"expires_at": "2026-03-01T12:01:00"})
			text, tok := r.login(r.byID())
			if tok.ExpiresAt.Sub(tok.IssuedAt) != time.Minute {
				t.Errorf("the token outlives its credential: %v", tok.ExpiresAt)
			}
			other := r.server()
			check := func(when string, want int) {
				t.Helper()
				for _, s := range []*identity.Service{r.Service, other, r.server()} {
					_, err := s.Authenticate(r.ctx, text)
					r.wantCode(when, err, want)
				}
			}
			logsIn := func(when string, want int) {
				t.Helper()
				for _, l := range []identity.Login{r.byID(), r.byName()} {
					_, _, err := r.Login(r.ctx, l)
					if err == nil && want == 201 {
						continue
					}
					r.wantCode("login "+when, err, want)
				}
			}
			check("before", 200)
			r.must(c.end(r))
			check("after", c.token)
			logsIn("after", c.login)
			r.must(c.back(r))
			logsIn("at last", c.login2)
			left, err := r.Credentials(r.ctx, r.admin, r.u.ID, "")
			if c.credentials < 0 {
				r.wantCode("the list", err, 404)
			} else if err != nil || len(left) != c.credentials {
				t.Errorf("%d credentials left (%v), want %d", len(left), err, c.credentials)
			}
		})
	}
}

// A role of the operator's own that is deleted takes the credentials along that have it, implied or not.
func TestDeletedRoleEndsCredentials(t *testing.T) {
	eachEngine(t, func(w *world) {
		role, err := w.CreateRole(w.ctx, w.admin, map[string]any{"name": "auditor"})
		w.must(err)
		p, u := w.project("p"), w.user("u", "secret")
		w.must(w.Grant(w.ctx, w.admin, on(p), u.ID, role.ID))
		w.give(u, "reader", on(p))
		_, me := w.login(w.as(u, "secret", scoped(p)))
		for name, roles := range map[string][]any{"both": nil, "reader": {map[string]any{"name": "reader"}}} {
			_, err := w.CreateCredential(w.ctx, me, u.ID, map[string]any{"name": name, "roles": roles})
			w.must(err)
		}
		w.must(w.DeleteRole(w.ctx, w.admin, role.ID))
		left, err := w.Credentials(w.ctx, w.admin, u.ID, "")
		if err != nil || len(left) != 1 || left[0].Name != "reader" {
			w.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestCredentialRefusals(t *testing.T) {
	w := newWorld(t)
	r := newRobot(w, map[string]any{})
	free, err := w.CreateCredential(w.ctx, r.me, r.u.ID, map[string]any{"name": "free", "unrestricted": true})
	w.must(err)
	_, bound := w.login(r.byID())
	l := r.byID()
	l.Credential.ID, l.Secret = free.ID, free.Secret
	freeText, unbound := w.login(l)
	_, unscoped := w.login(w.as(r.u, "secret", identity.Scope{Unscoped: true}))
	n := 0
	create := func(by *identity.Token, more map[string]any) error {
		n++
		in := map[string]any{"name": fmt.Sprint("c", n)}
		for k, v := range more {
			in[k] = v
		}
		_, err := w.CreateCredential(w.ctx, by, r.u.ID, in)
		return err
	}
	scopedLogin := func(l identity.Login, s identity.Scope) error {
		l.Scope = s
		_, _, err := w.Login(w.ctx, l)
		return err
	}
	again := identity.Login{Methods: []string{"token"}, Token: freeText}
	wrong := r.byID()
	wrong.Secret = "guess"
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"for another user, even by an admin": {create(w.admin, nil), 403},
		"with a restricted credential":       {create(bound, nil), 403},
		"with an unrestricted one":           {create(unbound, nil), 200},
		"with an unscoped token":             {create(unscoped, nil), 400},
		"a role one has not":                 {create(r.me, map[string]any{"roles": []any{map[string]any{"name": "admin"}}}), 400},
		"roles that are text":                {create(r.me, map[string]any{"roles": "reader"}), 400},
		"a nameless role":                    {create(r.me, map[string]any{"roles": []any{map[string]any{}}}), 400},
		"access rules":                       {create(r.me, map[string]any{"access_rules": []any{}}), 400},
		"a time that has passed":             {create(r.me, map[string]any{"expires_at": "2026-03-01T12:00:00Z"}), 400},
		"no time":                            {create(r.me, map[string]any{"expires_at": "tomorrow"}), 400},
		"a time with a zone":                 {create(r.me, map[string]any{"expires_at": "2026-03-01T13:30:00.5+01:00"}), 200},
		"no expiry":                          {create(r.me, map[string]any{"expires_at": nil}), 200},
		"another project":                    {create(r.me, map[string]any{"project_id": "x"}), 400},
		"a name that is taken":               {create(r.me, map[string]any{"name": "ci"}), 409},
		"no name":                            {create(r.me, map[string]any{"name": ""}), 400},
		"a scope":                            {scopedLogin(r.byID(), scoped(r.p)), 401},
		"unscoped":                           {scopedLogin(r.byID(), identity.Scope{Unscoped: true}), 401},
		"from its token":                     {scopedLogin(again, identity.Scope{}), 200},
		"from its token, its own project":    {scopedLogin(again, scoped(r.p)), 200},
		"from its token, the system":         {scopedLogin(again, identity.Scope{System: true}), 401},
		"from its token, another project":    {scopedLogin(again, identity.Scope{Project: &identity.NameRef{ID: w.first.ProjectID}}), 401},
		"a wrong secret":                     {scopedLogin(wrong, identity.Scope{}), 401},
		"delete with a restricted one":       {w.DeleteCredential(w.ctx, bound, r.u.ID, free.ID), 403},
		"delete another's":                   {w.DeleteCredential(w.ctx, r.me, w.first.UserID, free.ID), 403},
		"delete none":                        {w.DeleteCredential(w.ctx, r.me, r.u.ID, "x"), 404},
		"under another user":                 {w.DeleteCredential(w.ctx, w.admin, w.first.UserID, free.ID), 404},
	} {
		w.wantCode(name, c.err, c.code)
	}
	_, tok := w.login(again)
	if tok.Credential == nil || tok.Caller().ProjectID != r.p.ID {
		t.Error("a token made from a credential's is not bound to it")
	}
}

func TestCredentialSecretIsSealedAndGuardedAgainstGuessing(t *testing.T) {
	eachEngine(t, func(w *world) {
		r := newRobot(w, map[string]any{"secret": "correct horse"})
		w.must(w.cfg.Store.View(w.ctx, func(rd resource.Reader) error {
			row, err := rd.Get(w.ctx, identity.KindCredential, r.cred.ID)
			if err != nil {
				return err
			}
			if text := string(row.Doc) + string(row.Sealed); strings.Contains(text, "horse") || strings.Contains(text, "argon2") {
				w.Errorf("the row shows the secret or its hash: %q", text)
			}
			h, err := w.cfg.Sealer.Open(identity.CredentialPurpose, r.cred.ID, row.Sealed)
			if !strings.HasPrefix(string(h), "$argon2id$") {
				w.Errorf("stored %q", h)
			}
			return err
		}))
		guess := r.byID()
		guess.Secret = "guess"
		for i := range 10 {
			guess.Source = fmt.Sprint("198.51.100.", i)
			_, _, err := w.Login(w.ctx, guess)
			w.wantCode("guess", err, 401)
		}
		_, _, err := w.Login(w.ctx, guess)
		w.wantCode("one guess more", err, 429)
		w.login(w.as(r.u, "secret", scoped(r.p))) // the user's password is another matter
	})
}

func TestCredentialsAreBounded(t *testing.T) {
	w := newWorld(t)
	r := newRobot(w, map[string]any{})
	for i := 1; i < 200; i++ {
		_, err := w.CreateCredential(w.ctx, r.me, r.u.ID, map[string]any{"name": fmt.Sprint(i), "secret": "x"})
		w.must(err)
	}
	_, err := w.CreateCredential(w.ctx, r.me, r.u.ID, map[string]any{"name": "one more", "secret": "x"})
	w.wantCode("the 201st", err, 403)
}
