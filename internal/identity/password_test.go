package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

func TestWrongCredentialsAllLookTheSame(t *testing.T) {
	w := newWorld(t)
	u := w.user("u", "secret")
	off := w.user("off", "secret")
	_, err := w.UpdateUser(w.ctx, w.admin, off.ID, map[string]any{"enabled": false})
	w.must(err)
	none, err := w.CreateUser(w.ctx, w.admin, map[string]any{"name": "none"})
	w.must(err)
	def := identity.Ref{ID: "default"}
	_, _, want := w.Login(w.ctx, w.as(u, "wrong", identity.Scope{}))
	w.wantCode("wrong password", want, 401)
	for name, l := range map[string]identity.Login{
		"empty password":     {User: identity.NameRef{ID: u.ID}},
		"no such user":       {User: identity.NameRef{Name: "nobody", Domain: def}, Password: "secret"},
		"no such id":         {User: identity.NameRef{ID: "nobody"}, Password: "secret"},
		"no such domain":     {User: identity.NameRef{Name: "u", Domain: identity.Ref{Name: "nowhere"}}, Password: "secret"},
		"disabled":           {User: identity.NameRef{ID: off.ID}, Password: "secret"},
		"user without one":   {User: identity.NameRef{ID: none.ID}, Password: ""},
		"user without one 2": {User: identity.NameRef{ID: none.ID}, Password: "secret"},
		"a project's id":     {User: identity.NameRef{ID: w.first.ProjectID}, Password: "secret"},
	} {
		l.Methods, l.Source = []string{"password"}, name
		_, _, err := w.Login(w.ctx, l)
		if code(err) != 401 || err.Error() != want.Error() {
			t.Errorf("%s: %d %v, want %v", name, code(err), err, want)
		}
	}
}

func TestStoredPasswordIsASealedArgon2id(t *testing.T) {
	w := newWorld(t)
	u := w.user("u", "correct horse")
	w.must(w.cfg.Store.View(w.ctx, func(r resource.Reader) error {
		row, err := r.Get(w.ctx, "user", u.ID)
		if err != nil {
			return err
		}
		for _, b := range [][]byte{row.Sealed, row.Doc} {
			if strings.Contains(string(b), "argon2") || strings.Contains(string(b), "horse") {
				t.Errorf("the row shows the hash or the password: %q", b)
			}
		}
		h, err := w.cfg.Sealer.Open(identity.PasswordPurpose, u.ID, row.Sealed)
		if !strings.HasPrefix(string(h), "$argon2id$v=19$m=64,t=1,p=1$") {
			t.Errorf("stored hash %q", h)
		}
		return err
	}))
}

func TestBruteForceOnOneUser(t *testing.T) {
	w := newWorld(t)
	u, bystander := w.user("u", "secret"), w.user("bystander", "secret")
	try := func(source, password string) error {
		l := w.as(u, password, identity.Scope{})
		l.Source = source
		_, _, err := w.Login(w.ctx, l)
		return err
	}
	w.wantCode("the good one", try("192.0.2.9", "secret"), 200)
	for i := range 10 {
		w.wantCode(fmt.Sprint("failure ", i), try(fmt.Sprint("198.51.100.", i), fmt.Sprint("guess", i)), 401)
	}
	err := try("203.0.113.1", "guess")
	w.wantCode("failure 10", err, 429)
	var e *identity.Error
	if errors.As(err, &e) && (e.RetryAfter < time.Second || e.RetryAfter > 6*time.Second) {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	w.wantCode("who logged in a short time ago", try("192.0.2.9", "secret"), 200)
	_, _, err = w.Login(w.ctx, w.as(bystander, "secret", identity.Scope{}))
	w.wantCode("another user", err, 200)
	w.clock.forward(e.RetryAfter)
	w.wantCode("after Retry-After", try("203.0.113.1", "guess"), 401)
	w.wantCode("and again", try("203.0.113.1", "secret2"), 429)
	w.clock.forward(time.Hour)
	w.wantCode("an hour later", try("203.0.113.1", "secret"), 200)
}

func TestBruteForceFromOneSource(t *testing.T) {
	w := newWorld(t)
	try := func(name, source string) error {
		_, _, err := w.Login(w.ctx, identity.Login{Methods: []string{"password"}, Source: source, Password: "x",
			User: identity.NameRef{Name: name, Domain: identity.Ref{ID: "default"}}})
		return err
	}
	for i := range 100 {
		w.wantCode("failure", try(fmt.Sprint("user", i), "203.0.113.5"), 401)
	}
	w.wantCode("one more", try("user100", "203.0.113.5"), 429)
	w.wantCode("another source", try("user100", "203.0.113.6"), 401)
}

// Only failures count: a suite that logs in a thousand times is no attack, and computes one hash.
func TestManyGoodLogins(t *testing.T) {
	w := newWorld(t)
	u := w.user("u", "secret")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, _, err := w.Login(w.ctx, w.as(u, "secret", identity.Scope{})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestVerificationIsForgotten(t *testing.T) {
	w := newWorld(t)
	u := w.user("u", "secret")
	w.login(w.as(u, "secret", identity.Scope{}))
	_, err := w.UpdateUser(w.ctx, w.admin, u.ID, map[string]any{"password": "other"})
	w.must(err)
	_, _, err = w.Login(w.ctx, w.as(u, "secret", identity.Scope{}))
	w.wantCode("the old password", err, 401)
	w.login(w.as(u, "other", identity.Scope{}))
}

func TestOwnPasswordChange(t *testing.T) {
	w := newWorld(t)
	u, off := w.user("u", "secret"), w.user("off", "secret")
	_, err := w.UpdateUser(w.ctx, w.admin, off.ID, map[string]any{"enabled": false})
	w.must(err)
	text, _ := w.login(w.as(u, "secret", identity.Scope{}))
	for name, c := range map[string]struct {
		id   string
		in   map[string]any
		code int
	}{
		"no such user":   {"nobody", map[string]any{"original_password": "secret", "password": "new"}, 401},
		"a disabled one": {off.ID, map[string]any{"original_password": "secret", "password": "new"}, 401},
		"wrong old one":  {u.ID, map[string]any{"original_password": "guess", "password": "new"}, 401},
		"no old one":     {u.ID, map[string]any{"password": "new"}, 400},
		"no new one":     {u.ID, map[string]any{"original_password": "secret", "password": nil}, 400},
		"the same":       {u.ID, map[string]any{"original_password": "secret", "password": "secret"}, 400},
		"a number":       {u.ID, map[string]any{"original_password": "secret", "password": 5}, 400},
	} {
		err := w.ChangePassword(w.ctx, c.id, c.in, "192.0.2.3")
		w.wantCode(name, err, c.code)
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "guess")) {
			t.Errorf("%s: the error shows a password: %v", name, err)
		}
	}
	w.must(w.ChangePassword(w.ctx, u.ID, map[string]any{"original_password": "secret", "password": "new"}, "192.0.2.3"))
	_, err = w.Authenticate(w.ctx, text)
	w.wantCode("the token from before", err, 401)
	text, _ = w.login(w.as(u, "new", identity.Scope{}))
	_, err = w.Authenticate(w.ctx, text)
	w.wantCode("a token in the same instant", err, 200)
}

func BenchmarkLogin(b *testing.B) {
	for name, fresh := range map[string]bool{"known": false, "argon2id": true} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			w.cfg.Argon = identity.DefaultArgon()
			s := w.server()
			u := w.user("u", "secret")
			_, err := s.UpdateUser(w.ctx, w.admin, u.ID, map[string]any{"password": "secret"})
			w.must(err)
			for b.Loop() {
				if fresh {
					w.clock.forward(time.Hour)
				}
				if _, _, err := s.Login(w.ctx, w.as(u, "secret", identity.Scope{Unscoped: true})); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
