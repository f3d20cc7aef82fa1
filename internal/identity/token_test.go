package identity_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"culvert/internal/identity"

	"github.com/google/go-cmp/cmp"
)

func TestScopes(t *testing.T) {
	w := newWorld(t)
	p, other := w.project("p"), w.project("other")
	u := w.user("u", "secret")
	w.give(u, "member", on(p))
	w.give(u, "reader", identity.Target{DomainID: "default"})
	def := identity.Ref{Name: "Default"}
	for name, c := range map[string]struct {
		scope  identity.Scope
		code   int
		caller identity.Caller
	}{
		"project by id":       {scoped(p), 200, identity.Caller{ProjectID: p.ID, Roles: []string{"member", "reader"}}},
		"project by name":     {identity.Scope{Project: &identity.NameRef{Name: "p", Domain: def}}, 200, identity.Caller{ProjectID: p.ID, Roles: []string{"member", "reader"}}},
		"domain by name":      {identity.Scope{Domain: &def}, 200, identity.Caller{DomainID: "default", Roles: []string{"reader"}}},
		"domain by id":        {identity.Scope{Domain: &identity.Ref{ID: "default"}}, 200, identity.Caller{DomainID: "default", Roles: []string{"reader"}}},
		"unscoped":            {identity.Scope{Unscoped: true}, 200, identity.Caller{}},
		"nothing asked for":   {identity.Scope{}, 200, identity.Caller{}},
		"no role there":       {scoped(other), 401, identity.Caller{}},
		"no role on system":   {identity.Scope{System: true}, 401, identity.Caller{}},
		"no such project":     {identity.Scope{Project: &identity.NameRef{ID: "nope"}}, 401, identity.Caller{}},
		"no such name":        {identity.Scope{Project: &identity.NameRef{Name: "nope", Domain: def}}, 401, identity.Caller{}},
		"no such domain":      {identity.Scope{Domain: &identity.Ref{Name: "nope"}}, 401, identity.Caller{}},
		"project of a domain": {identity.Scope{Project: &identity.NameRef{Name: "p", Domain: identity.Ref{ID: "nope"}}}, 401, identity.Caller{}},
	} {
		t.Run(name, func(t *testing.T) {
			text, _, err := w.Login(w.ctx, w.as(u, "secret", c.scope))
			if code(err) != c.code {
				t.Fatalf("%d (%v), want %d", code(err), err, c.code)
			}
			if err != nil {
				return
			}
			got, err := w.Authenticate(w.ctx, text)
			w.must(err)
			c.caller.UserID, c.caller.UserName = u.ID, "u"
			if d := cmp.Diff(c.caller, got); d != "" {
				t.Error(d)
			}
			if len(text) > 280 {
				t.Errorf("the token has %d characters", len(text))
			}
		})
	}
}

func TestDefaultProject(t *testing.T) {
	w := newWorld(t)
	p := w.project("p")
	u := w.user("u", "secret")
	_, err := w.UpdateUser(w.ctx, w.admin, u.ID, map[string]any{"default_project_id": p.ID})
	w.must(err)
	if _, tok := w.login(w.as(u, "secret", identity.Scope{})); tok.Project != nil {
		t.Error("scoped to a project without a role there")
	}
	w.give(u, "reader", on(p))
	if _, tok := w.login(w.as(u, "secret", identity.Scope{})); tok.Project == nil || tok.Project.ID != p.ID {
		t.Error("not scoped to the default project")
	}
	if _, tok := w.login(w.as(u, "secret", identity.Scope{Unscoped: true})); tok.Project != nil {
		t.Error("scoped though unscoped was asked for")
	}
	w.must(w.DeleteProject(w.ctx, w.admin, p.ID))
	if _, tok := w.login(w.as(u, "secret", identity.Scope{})); tok.Project != nil {
		t.Error("scoped to a deleted project")
	}
}

func TestRescope(t *testing.T) {
	w := newWorld(t)
	parentText, parent := w.login(w.adminLogin())
	w.clock.forward(10 * time.Minute)
	l := identity.Login{Methods: []string{"token"}, Token: parentText, Scope: identity.Scope{System: true}}
	_, tok := w.login(l)
	if !tok.ExpiresAt.Equal(parent.ExpiresAt) {
		t.Errorf("expires at %v, its parent at %v", tok.ExpiresAt, parent.ExpiresAt)
	}
	if d := cmp.Diff([]string{"token", "password"}, tok.Methods); d != "" {
		t.Error(d)
	}
	if len(tok.AuditIDs) != 2 || tok.AuditIDs[1] != parent.AuditIDs[0] || tok.AuditIDs[0] == parent.AuditIDs[0] {
		t.Errorf("audit ids %v after %v", tok.AuditIDs, parent.AuditIDs)
	}
	if !tok.System || !tok.Caller().Admin() {
		t.Error("not an admin of the system")
	}
	w.must(w.Revoke(w.ctx, w.admin.Caller(), parentText))
	_, _, err := w.Login(w.ctx, l)
	w.wantCode("from a revoked token", err, 401)

	other := w.user("u", "secret")
	text, _ := w.login(w.as(other, "secret", identity.Scope{}))
	both := w.adminLogin()
	both.Methods, both.Token = []string{"password", "token"}, text
	_, _, err = w.Login(w.ctx, both)
	w.wantCode("two methods for two users", err, 401)
}

// Whatever ends a token ends it at once, though it was used and cached before, on this server and on another.
func TestWhatEndsAToken(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(w *world, p *identity.Project, u *identity.User, text string) error
		revive func(w *world, p *identity.Project, u *identity.User) error
		again  int // after revive
	}{
		"expiry": {func(w *world, _ *identity.Project, _ *identity.User, _ string) error {
			w.clock.forward(time.Hour)
			return nil
		}, nil, 401},
		"revocation": {func(w *world, _ *identity.Project, _ *identity.User, text string) error {
			return w.Revoke(w.ctx, w.admin.Caller(), text)
		}, nil, 401},
		"user disabled": {updateUser("enabled", false), reviveUser("enabled", true), 401},
		"new password":  {updateUser("password", "other"), reviveUser("password", "secret"), 401},
		"user deleted": {func(w *world, _ *identity.Project, u *identity.User, _ string) error {
			return w.DeleteUser(w.ctx, w.admin, u.ID)
		}, nil, 401},
		"project disabled": {func(w *world, p *identity.Project, _ *identity.User, _ string) error {
			_, err := w.UpdateProject(w.ctx, w.admin, p.ID, map[string]any{"enabled": false})
			return err
		}, func(w *world, p *identity.Project, _ *identity.User) error {
			_, err := w.UpdateProject(w.ctx, w.admin, p.ID, map[string]any{"enabled": true})
			return err
		}, 200},
		"project deleted": {func(w *world, p *identity.Project, _ *identity.User, _ string) error {
			return w.DeleteProject(w.ctx, w.admin, p.ID)
		}, nil, 401},
		"role taken away": {func(w *world, p *identity.Project, u *identity.User, _ string) error {
			return w.Ungrant(w.ctx, w.admin, on(p), u.ID, w.roleID("member"))
		}, func(w *world, p *identity.Project, u *identity.User) error {
			return w.Grant(w.ctx, w.admin, on(p), u.ID, w.roleID("member"))
		}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p, u := w.project("p"), w.user("u", "secret")
			w.give(u, "member", on(p))
			text, _ := w.login(w.as(u, "secret", scoped(p)))
			servers := []*identity.Service{w.Service, w.server()}
			check := func(when string, want int) {
				t.Helper()
				for _, s := range servers {
					for range 2 { // looked up, then cached
						_, err := s.Authenticate(w.ctx, text)
						w.wantCode(when, err, want)
					}
				}
			}
			check("before", 200)
			w.must(c.end(w, p, u, text))
			check("after", 401)
			if c.revive != nil {
				w.must(c.revive(w, p, u))
			}
			check("at last", c.again)
		})
	}
}

func updateUser(attr string, v any) func(*world, *identity.Project, *identity.User, string) error {
	return func(w *world, p *identity.Project, u *identity.User, _ string) error {
		return reviveUser(attr, v)(w, p, u)
	}
}

func reviveUser(attr string, v any) func(*world, *identity.Project, *identity.User) error {
	return func(w *world, _ *identity.Project, u *identity.User) error {
		_, err := w.UpdateUser(w.ctx, w.admin, u.ID, map[string]any{attr: v})
		return err
	}
}

func TestRolesAreOfNow(t *testing.T) {
	w := newWorld(t)
	p, u := w.project("p"), w.user("u", "secret")
	w.give(u, "reader", on(p))
	text, _ := w.login(w.as(u, "secret", scoped(p)))
	for _, step := range []struct {
		role string
		want []string
	}{{"service", []string{"reader", "service"}}, {"member", []string{"member", "reader", "service"}}, {"admin", []string{"admin", "member", "reader", "service"}}} {
		w.give(u, step.role, on(p))
		c, err := w.Authenticate(w.ctx, text)
		w.must(err)
		if d := cmp.Diff(step.want, c.Roles); d != "" {
			t.Errorf("after %s: %s", step.role, d)
		}
	}
}

func TestForeignTokens(t *testing.T) {
	w := newWorld(t)
	text, _ := w.login(w.adminLogin())
	raw, err := base64.RawURLEncoding.DecodeString(text)
	w.must(err)
	raw[len(raw)-1] ^= 1
	foreign := newWorld(t)
	stranger, _ := foreign.login(foreign.adminLogin())
	secret, err := w.cfg.Sealer.Seal("psk", "", []byte(`{"u":"`+w.first.UserID+`","g":1,"s":true,"e":9999999999999999}`))
	w.must(err)
	for name, bad := range map[string]string{
		"empty": "", "text": "hello", "cut": text[:len(text)-1], "long": strings.Repeat(text, 10), "padded": text + "=",
		"changed":                 base64.RawURLEncoding.EncodeToString(raw),
		"of another server":       stranger,
		"sealed for another room": base64.RawURLEncoding.EncodeToString(secret),
	} {
		_, err := w.Authenticate(w.ctx, bad)
		w.wantCode(name, err, 401)
		if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

func TestRevokeIsForOnesOwnTokens(t *testing.T) {
	w := newWorld(t)
	u := w.user("u", "secret")
	mine, me := w.login(w.as(u, "secret", identity.Scope{}))
	theirs, _ := w.login(w.adminLogin())
	w.wantCode("somebody else's", w.Revoke(w.ctx, me.Caller(), theirs), 403)
	w.wantCode("no token", w.Revoke(w.ctx, me.Caller(), "x"), 404)
	w.must(w.Revoke(w.ctx, me.Caller(), mine))
	w.wantCode("twice", w.Revoke(w.ctx, w.admin.Caller(), mine), 404)
	_, err := w.Authenticate(w.ctx, theirs)
	w.wantCode("another token", err, 200)
}

func TestStoreFailureIsNotA401(t *testing.T) {
	w := newWorld(t)
	text, _ := w.login(w.adminLogin())
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err := w.server().Authenticate(ctx, text)
	w.wantCode("with an ended context", err, 500)
}

func BenchmarkValidate(b *testing.B) {
	w := newWorld(b)
	text, _ := w.login(w.adminLogin())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Authenticate(w.ctx, text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkValidateUncached is the first use of a token, or the first after a change of identity.
func BenchmarkValidateUncached(b *testing.B) {
	w := newWorld(b)
	text, _ := w.login(w.adminLogin())
	servers := make([]*identity.Service, 200)
	for i := range servers {
		servers[i] = w.server()
	}
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if i%len(servers) == 0 && i > 0 {
			b.StopTimer()
			for j := range servers {
				servers[j] = w.server()
			}
			b.StartTimer()
		}
		if _, err := servers[i%len(servers)].Authenticate(w.ctx, text); err != nil {
			b.Fatal(err)
		}
	}
}
