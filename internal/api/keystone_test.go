package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestKeystoneLogins(t *testing.T) {
	k := newKeystone(t)
	k.do("GET", "/identity", "")
	k.do("GET", "/identity/", "")
	k.do("GET", "/identity/v3/", "", "X-Forwarded-Proto: https", "X-Forwarded-Host: vpn.example.org")
	k.adminLogin()
	admin := k.token
	byID := fmt.Sprintf(`{"methods": ["password"], "password": {"user": {"id": %q, "password": %q}}}`, k.first.UserID, k.first.Password)
	for _, scope := range []string{
		fmt.Sprintf(`, "scope": {"project": {"id": %q}}`, k.first.ProjectID),
		`, "scope": {"domain": {"name": "Default"}}`, `, "scope": {"domain": {"id": "default"}}`,
		`, "scope": {"system": {"all": true}}`, `, "scope": "unscoped"`, `, "scope": {"unscoped": {}}`, ``, `, "scope": null`,
	} {
		k.login(`{"auth": {"identity": ` + byID + scope + `}}`)
	}
	k.login(fmt.Sprintf(`{"auth": {"identity": {"methods": ["token"], "token": {"id": %q}}, "scope": {"domain": {"id": "default"}}}}`, admin))
	rescoped := k.token
	k.do("GET", "/identity/v3/auth/projects", "")
	k.do("GET", "/identity/v3/auth/domains", "")
	k.do("GET", "/identity/v3/auth/catalog", "")
	k.do("GET", "/identity/v3/auth/tokens", "", "X-Subject-Token: "+admin)
	k.do("GET", "/identity/v3/auth/tokens?nocatalog", "", "X-Subject-Token: "+admin)
	k.do("HEAD", "/identity/v3/auth/tokens", "", "X-Subject-Token: "+admin)
	k.do("DELETE", "/identity/v3/auth/tokens", "", "X-Subject-Token: "+admin)
	k.do("GET", "/identity/v3/auth/tokens", "", "X-Subject-Token: "+admin)
	k.do("HEAD", "/identity/v3/auth/tokens", "", "X-Subject-Token: "+admin)
	k.do("GET", "/identity/v3/auth/tokens", "")
	k.token = admin
	k.do("GET", "/identity/v3/auth/catalog", "")
	k.token = rescoped
	k.do("DELETE", "/identity/v3/auth/tokens", "", "X-Subject-Token: "+rescoped)
	k.golden("logins")
}

func TestKeystoneManagement(t *testing.T) {
	k := newKeystone(t)
	k.adminLogin()
	k.do("GET", "/identity/v3/domains?name=Default&enabled=true", "")
	k.do("GET", "/identity/v3/domains?name=nope", "")
	k.do("GET", "/identity/v3/domains/default", "")
	p := k.find(k.do("POST", "/identity/v3/projects", `{"project": {"name": "p", "domain_id": "default", "description": "d", "enabled": true, "colour": "red"}}`), "project", "id")
	k.do("POST", "/identity/v3/projects", `{"project": {"name": "p"}}`)
	k.do("GET", "/identity/v3/projects?name=p&domain_id=default&enabled=True", "")
	k.do("GET", "/identity/v3/projects?enabled=false", "")
	k.do("GET", "/identity/v3/projects?is_domain=true", "")
	k.do("GET", "/identity/v3/projects/"+p, "")
	k.do("GET", "/identity/v3/projects/nope", "")
	k.do("PATCH", "/identity/v3/projects/"+p, `{"project": {"description": "<new> & better", "tags": ["a"]}}`)
	u := k.find(k.do("POST", "/identity/v3/users", `{"user": {"name": "u", "password": "secret", "email": "u@example.org", "default_project_id": "`+p+`"}}`), "user", "id")
	k.do("GET", "/identity/v3/users?name=u", "")
	k.do("GET", "/identity/v3/users/"+u, "")
	k.do("PATCH", "/identity/v3/users/"+u, `{"user": {"name": "u2", "default_project_id": null}}`)
	k.do("GET", "/identity/v3/roles", "")
	k.do("GET", "/identity/v3/roles?name__contains=mem", "")
	k.do("GET", "/identity/v3/roles?domain_id=default", "")
	member := k.role("member")
	k.do("GET", "/identity/v3/roles/"+member, "")
	for _, target := range []string{"projects/" + p, "domains/default"} {
		uri := "/identity/v3/" + target + "/users/" + u + "/roles"
		k.do("HEAD", uri+"/"+member, "")
		k.do("PUT", uri+"/"+member, "")
		k.do("HEAD", uri+"/"+member, "")
		k.do("GET", uri, "")
		k.do("GET", "/identity/v3/role_assignments?user.id="+u, "")
		k.do("DELETE", uri+"/"+member, "")
		k.do("DELETE", uri+"/"+member, "")
		k.do("PUT", uri+"/nope", "")
	}
	k.do("PUT", "/identity/v3/projects/"+p+"/users/"+u+"/roles/"+member, "")
	k.do("GET", "/identity/v3/role_assignments?scope.project.id="+p+"&include_names&effective", "")
	k.do("GET", "/identity/v3/role_assignments?scope.system=all&include_names=1", "")
	k.do("GET", "/identity/v3/users/"+u+"/projects", "")

	admin := k.token
	k.login(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "` + u + `", "password": "secret"}}}, "scope": {"project": {"id": "` + p + `"}}}}`)
	k.do("GET", "/identity/v3/projects/"+p, "")
	k.do("GET", "/identity/v3/projects", "")
	k.do("POST", "/identity/v3/users", `{"user": {"name": "x"}}`)
	k.do("POST", "/identity/v3/users/"+u+"/password", `{"user": {"original_password": "guess", "password": "newer"}}`)
	k.do("POST", "/identity/v3/users/"+u+"/password", `{"user": {"original_password": "secret", "password": "newer"}}`)
	k.do("GET", "/identity/v3/auth/projects", "")

	k.token = admin
	k.do("DELETE", "/identity/v3/users/"+u, "")
	k.do("DELETE", "/identity/v3/users/"+u, "")
	k.do("DELETE", "/identity/v3/projects/"+p, "")
	k.do("DELETE", "/identity/v3/projects/"+p, "")
	k.do("GET", "/identity/v3/role_assignments?scope.project.id="+p, "")
	k.golden("management")
}

func TestKeystoneRefusals(t *testing.T) {
	k := newKeystone(t)
	k.do("GET", "/identity/v3/projects", "")
	k.do("GET", "/identity/v3/nothing", "")
	k.do("PUT", "/identity/v3/auth/tokens", "")
	k.do("POST", "/identity", "{}")
	for _, auth := range []string{
		``, `{`, `[]`, `{}`, `{"auth": 5}`, `{"auth": {}}`, `{"auth": {"identity": {}}}`,
		`{"auth": {"identity": {"methods": "password"}}}`, `{"auth": {"identity": {"methods": [5]}}}`,
		`{"auth": {"identity": {"methods": ["password"]}}}`,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": 5, "password": "hunter2"}}}}}`,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "a", "password": "hunter2"}}}}}`,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "a", "domain": {}, "password": "hunter2"}}}}}`,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "a\u0000", "password": "hunter2"}}}}}`,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "a", "password": {"x": "hunter2"}}}}}}`,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "a", "password": "hunter2"}}}}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "hunter2"}}}}`,
		`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "x", "secret": "hunter2"}}}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": 5}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {}}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"project": {"id": "a"}, "domain": {"id": "b"}}}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"project": {"name": "a"}}}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"system": {"all": false}}}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"OS-TRUST:trust": {"id": "a"}}}}`,
	} {
		if w := k.do("POST", "/identity/v3/auth/tokens", auth); strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("the answer shows a secret: %s", w.Body)
		}
	}
	k.token = "not-a-token"
	k.do("GET", "/identity/v3/projects", "")
	k.golden("refusals")
	big := `{"project": {"name": "` + strings.Repeat("x", 200_000) + `"}}`
	k.adminLogin()
	if w := k.do("POST", "/identity/v3/projects", big); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 200 kB: %d", w.Code)
	}
}

func TestKeystoneBruteForce(t *testing.T) {
	k := newKeystone(t)
	guess := `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "` + k.first.UserID + `", "password": "guess"}}}}}`
	for range 10 {
		if w := k.login(guess); w.Code != 401 {
			t.Fatalf("%d", w.Code)
		}
	}
	w := k.login(guess)
	if w.Code != 429 || w.Header().Get("Retry-After") != "6" {
		t.Errorf("%d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
}

func TestKeystoneAuthenticate(t *testing.T) {
	k := newKeystone(t)
	k.adminLogin()
	r := httptest.NewRequest("GET", "/v2.0/networks", nil)
	if _, err := k.api.Authenticate(r); err == nil {
		t.Error("without a token")
	}
	r.Header.Set("X-Auth-Token", k.token)
	c, err := k.api.Authenticate(r)
	if err != nil || !c.Admin() || c.ProjectID != k.first.ProjectID {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzKeystoneLogin sends any body to the login: the answer is JSON, never a 5xx, and never a token.
func FuzzKeystoneLogin(f *testing.F) {
	k := newKeystone(f)
	for _, seed := range []string{
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"name": "Default"}, "password": "x"}}}, "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}`,
		`{"auth": {"identity": {"methods": ["token", "password"], "token": {"id": "AAAA"}, "password": null}, "scope": "unscoped"}}`,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"system": {"all": true}}}}`,
		`{"auth": {"scope": {"domain": {"id": "\ud800"}}}}`, `[[[[`, "{\"auth\": \"\xff\"}", ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/identity/v3/auth/tokens", strings.NewReader(string(body)))
		w := httptest.NewRecorder()
		k.api.ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 || !json.Valid(w.Body.Bytes()) || w.Header().Get("X-Subject-Token") != "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
