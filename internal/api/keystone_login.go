package api

import (
	"unicode/utf8"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Bounds of what a login may send, in characters.
const (
	maxLoginName     = 255
	maxLoginPassword = 4096
	maxMethods       = 4
)

// authForm reads the object below "auth". Its first error stays; none shows a password or a token.
type authForm struct{ err error }

// parseLogin reads {"identity": {"methods": […], "password": {…}, "token": {…}, "application_credential": {…}}, "scope": …}.
func parseLogin(auth map[string]any) (identity.Login, error) {
	f := &authForm{}
	l := f.methods(f.object(auth, "identity", "auth"))
	l.Scope = f.scope(auth["scope"])
	return l, f.err
}

func (f *authForm) fail(format string, a ...any) {
	if f.err == nil {
		f.err = identity.BadRequest(format, a...)
	}
}

// object returns an empty map where there is no object.
func (f *authForm) object(in map[string]any, key, where string) map[string]any {
	m, ok := in[key].(map[string]any)
	if !ok {
		f.fail("%s.%s is required and must be an object.", where, key)
		return map[string]any{}
	}
	return m
}

// text is "" where the key is absent or null.
func (f *authForm) text(in map[string]any, key, where string) string {
	v := in[key]
	if v == nil {
		return ""
	}
	s, err := resource.String(v, 0, maxLoginName)
	if err != nil {
		f.fail("%s.%s must be a string of at most 255 characters without control characters.", where, key)
	}
	return s
}

// secret is a required string that no message shows.
func (f *authForm) secret(in map[string]any, key, where string) string {
	s, ok := in[key].(string)
	if !ok || utf8.RuneCountInString(s) > maxLoginPassword {
		f.fail("%s.%s is required and must be a string of at most 4096 characters.", where, key)
		return ""
	}
	return s
}

func (f *authForm) methods(id map[string]any) (l identity.Login) {
	list, ok := id["methods"].([]any)
	if !ok || len(list) == 0 || len(list) > maxMethods {
		f.fail("auth.identity.methods is required and must be a list of 1 to 4 names.")
	}
	for i := range list {
		m, ok := list[i].(string)
		if !ok {
			f.fail("auth.identity.methods must hold names only.")
		}
		switch m {
		case "password":
			user := f.object(f.object(id, "password", "auth.identity"), "user", "auth.identity.password")
			l.User = f.named(user, "auth.identity.password.user")
			l.Password = f.secret(user, "password", "auth.identity.password.user")
		case "token":
			l.Token = f.secret(f.object(id, "token", "auth.identity"), "id", "auth.identity.token")
		case "application_credential":
			cred := f.object(id, m, "auth.identity")
			l.Credential = f.credential(cred, "auth.identity."+m)
			l.Secret = f.secret(cred, "secret", "auth.identity."+m)
		}
		l.Methods = append(l.Methods, m)
	}
	return l
}

// credential reads an application credential: by id, or by name and user.
func (f *authForm) credential(in map[string]any, where string) (r identity.CredentialRef) {
	r.ID, r.Name = f.text(in, "id", where), f.text(in, "name", where)
	if r.ID != "" {
		return r
	}
	if r.Name == "" {
		f.fail("%s needs an id, or a name and a user.", where)
		return r
	}
	r.User = f.named(f.object(in, "user", where), where+".user")
	return r
}

// named reads a user or a project: by id, or by name and domain.
func (f *authForm) named(in map[string]any, where string) (r identity.NameRef) {
	r.ID, r.Name = f.text(in, "id", where), f.text(in, "name", where)
	if r.ID != "" {
		return r
	}
	if r.Name == "" {
		f.fail("%s needs an id, or a name and a domain.", where)
		return r
	}
	r.Domain = f.domain(f.object(in, "domain", where), where+".domain")
	return r
}

func (f *authForm) domain(in map[string]any, where string) (r identity.Ref) {
	r.ID, r.Name = f.text(in, "id", where), f.text(in, "name", where)
	if r == (identity.Ref{}) {
		f.fail("%s needs an id or a name.", where)
	}
	return r
}

// scope reads null, "unscoped", or an object with exactly one of project, domain and system.
func (f *authForm) scope(v any) (s identity.Scope) {
	if v == nil {
		return s
	}
	if v == "unscoped" {
		s.Unscoped = true
		return s
	}
	in, ok := v.(map[string]any)
	if !ok {
		f.fail("auth.scope must be an object or \"unscoped\".")
		return s
	}
	if _, ok := in["unscoped"]; ok && len(in) == 1 {
		s.Unscoped = true
		return s
	}
	if len(in) != 1 {
		f.fail("auth.scope must hold exactly one of project, domain and system.")
		return s
	}
	for key := range in {
		switch key {
		case "project":
			p := f.named(f.object(in, key, "auth.scope"), "auth.scope.project")
			s.Project = &p
		case "domain":
			d := f.domain(f.object(in, key, "auth.scope"), "auth.scope.domain")
			s.Domain = &d
		case "system":
			if s.System = f.object(in, key, "auth.scope")["all"] == true; !s.System {
				f.fail("auth.scope.system must be {\"all\": true}.")
			}
		default:
			f.fail("auth.scope must hold exactly one of project, domain and system.")
		}
	}
	return s
}
