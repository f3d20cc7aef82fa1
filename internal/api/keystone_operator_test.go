package api_test

import (
	"fmt"
	"strings"
	"testing"

	"culvert/internal/api"
)

func passwordLogin(user, password, scope string) string {
	return fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": %q, "password": %q}}}, "scope": %s}}`, user, password, scope)
}

// What a program does that logs in by an application credential, and its user before.
func TestKeystoneCredentials(t *testing.T) {
	k := newKeystone(t)
	k.adminLogin()
	p := k.find(k.do("POST", "/identity/v3/projects", `{"project": {"name": "p"}}`), "project", "id")
	u := k.find(k.do("POST", "/identity/v3/users", `{"user": {"name": "u", "password": "secret"}}`), "user", "id")
	k.do("PUT", "/identity/v3/projects/"+p+"/users/"+u+"/roles/"+k.role("member"), "")
	admin := k.token
	project := `{"project": {"id": "` + p + `"}}`
	k.login(passwordLogin(u, "secret", project))
	user := k.token
	uri := "/identity/v3/users/" + u + "/application_credentials"

	w := k.do("POST", uri, `{"application_credential": {"name": "ci", "roles": [{"name": "reader"}], "expires_at": "2027-01-01T00:00:00.000000"}}`)
	id, secret := k.find(w, "application_credential", "id"), k.find(w, "application_credential", "secret")
	k.names[secret] = "<secret>"
	k.do("POST", uri, `{"application_credential": {"name": "ci"}}`)
	free := k.find(k.do("POST", uri, `{"application_credential": {"name": "free", "secret": "chosen", "description": "d", "unrestricted": true}}`), "application_credential", "id")
	k.do("POST", uri, `{"application_credential": {"name": "x", "roles": [{"name": "admin"}]}}`)
	k.do("POST", uri, `{"application_credential": {"name": "x", "access_rules": [{"path": "/", "method": "GET"}]}}`)
	k.do("GET", uri, "")
	k.do("HEAD", uri, "")
	k.do("GET", uri+"?name=ci", "")
	k.do("GET", uri+"?limit=1", "")
	k.do("GET", uri+"?limit=1&marker="+id, "")
	k.do("GET", uri+"/"+free, "")
	k.do("PATCH", uri+"/"+free, `{"application_credential": {"name": "y"}}`)

	k.login(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "` + id + `", "secret": "` + secret + `"}}}}`)
	bound := k.token
	k.do("POST", uri, `{"application_credential": {"name": "breeds"}}`)
	k.do("DELETE", uri+"/"+free, "")
	k.do("GET", "/identity/v3/auth/projects", "")
	k.login(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"name": "free", "user": {"name": "u", "domain": {"name": "Default"}}, "secret": "chosen"}}}}`)
	k.login(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "` + id + `", "secret": "` + secret + `"}}, "scope": ` + project + `}}`)
	k.login(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "` + id + `", "secret": "guess"}}}}`)
	k.login(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"secret": "guess"}}}}`)
	k.login(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"name": "ci", "secret": "guess"}}}}`)
	k.login(`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "` + id + `"}}}}`)

	k.token = admin
	k.do("GET", uri, "")
	k.do("POST", uri, `{"application_credential": {"name": "by an admin"}}`)
	k.token = user
	k.do("GET", "/identity/v3/users/"+k.first.UserID+"/application_credentials", "")
	k.do("DELETE", uri+"/"+id, "")
	k.do("DELETE", uri+"/"+id, "")
	k.token = bound
	k.do("GET", uri, "")
	if text := k.transcript.String(); strings.Count(text, secret) != 3 || strings.Count(text, "chosen") != 3 {
		t.Errorf("a secret is shown more than once: %d, %d", strings.Count(text, secret), strings.Count(text, "chosen"))
	}
	k.golden("credentials")
}

// Domains, roles, the system and the catalog as an operator manages them.
func TestKeystoneOperator(t *testing.T) {
	k := newKeystone(t, api.CatalogName{Type: "vpc", Name: "vpc"})
	k.adminLogin()
	d := k.find(k.do("POST", "/identity/v3/domains", `{"domain": {"name": "acme", "description": "d", "colour": "red"}}`), "domain", "id")
	k.do("POST", "/identity/v3/domains", `{"domain": {"name": "acme"}}`)
	k.do("GET", "/identity/v3/domains?limit=1", "")
	k.do("GET", "/identity/v3/domains?limit=1&marker="+d, "")
	k.do("GET", "/identity/v3/domains?marker=nope", "")
	k.do("GET", "/identity/v3/domains?limit=x", "")
	k.do("DELETE", "/identity/v3/domains/"+d, "")
	k.do("PATCH", "/identity/v3/domains/"+d, `{"domain": {"enabled": false}}`)
	k.do("DELETE", "/identity/v3/domains/"+d, "")
	k.do("DELETE", "/identity/v3/domains/default", "")

	r := k.find(k.do("POST", "/identity/v3/roles", `{"role": {"name": "auditor", "description": "reads"}}`), "role", "id")
	k.do("PATCH", "/identity/v3/roles/"+r, `{"role": {"name": "inspector"}}`)
	k.do("DELETE", "/identity/v3/roles/"+k.role("member"), "")
	u := k.find(k.do("POST", "/identity/v3/users", `{"user": {"name": "u", "password": "secret"}}`), "user", "id")
	system := "/identity/v3/system/users/" + u + "/roles"
	k.do("HEAD", system+"/"+r, "")
	k.do("PUT", system+"/"+r, "")
	k.do("HEAD", system+"/"+r, "")
	k.do("GET", system, "")
	k.do("GET", "/identity/v3/role_assignments?user.id="+u+"&role.id="+r+"&include_names", "")
	k.do("GET", "/identity/v3/role_assignments?user.id="+u+"&scope.domain.id=default", "")
	k.do("GET", "/identity/v3/role_assignments?group.id=x", "")
	k.do("GET", "/identity/v3/role_assignments?scope.project.id=x&scope.domain.id=y", "")
	k.do("DELETE", system+"/"+r, "")
	k.do("DELETE", system+"/"+r, "")
	k.do("DELETE", "/identity/v3/roles/"+r, "")
	k.do("GET", "/identity/v3/users/"+u+"/groups", "")
	k.do("GET", "/identity/v3/groups", "")

	k.do("GET", "/identity/v3/auth/catalog", "")
	vpc := k.find(k.do("GET", "/identity/v3/services?type=vpc", ""), "services", "id")
	k.do("GET", "/identity/v3/services/"+vpc, "")
	k.do("GET", "/identity/v3/services", "")
	k.do("GET", "/identity/v3/services/nope", "")
	k.do("POST", "/identity/v3/services", `{"service": {"type": "x"}}`)
	e := k.find(k.do("GET", "/identity/v3/endpoints?interface=admin&service_id="+vpc, ""), "endpoints", "id")
	k.do("GET", "/identity/v3/endpoints/"+e, "")
	k.do("GET", "/identity/v3/regions", "")
	k.do("GET", "/identity/v3/regions/RegionOne", "")

	k.token = "" // a change of one's own password needs no token
	password := "/identity/v3/users/" + u + "/password"
	k.do("POST", password, `{"user": {"original_password": "guess", "password": "newer"}}`)
	k.do("POST", "/identity/v3/users/nobody/password", `{"user": {"original_password": "guess", "password": "newer"}}`)
	k.do("POST", password, `{"user": {"password": "newer"}}`)
	k.do("POST", password, `{"user": {"original_password": "secret", "password": "newer"}}`)
	k.login(passwordLogin(u, "newer", `"unscoped"`))
	k.do("GET", "/identity/v3/services", "")
	k.do("GET", "/identity/v3/regions", "")
	k.do("POST", "/identity/v3/domains", `{"domain": {"name": "x"}}`)
	k.do("GET", "/identity/v3/users/"+k.first.UserID+"/groups", "")
	k.golden("operator")
}

// Guessing a password through its change is bounded as logins are, and shares their count.
func TestKeystonePasswordChangeBruteForce(t *testing.T) {
	k := newKeystone(t)
	uri := "/identity/v3/users/" + k.first.UserID + "/password"
	for range 10 {
		if w := k.do("POST", uri, `{"user": {"original_password": "guess", "password": "newer"}}`); w.Code != 401 {
			t.Fatalf("%d", w.Code)
		}
	}
	if w := k.do("POST", uri, `{"user": {"original_password": "guess", "password": "newer"}}`); w.Code != 429 {
		t.Errorf("the 11th guess: %d", w.Code)
	}
	if w := k.login(passwordLogin(k.first.UserID, "guess", `"unscoped"`)); w.Code != 429 {
		t.Errorf("and as a login: %d", w.Code)
	}
}

func TestKeystoneCatalogNames(t *testing.T) {
	service := newKeystone(t).api.Service
	for _, n := range []api.CatalogName{{Type: "identity", Name: "x"}, {Type: "network", Name: "x"}, {Name: "x"}, {Type: "x"}} {
		c := api.KeystoneConfig{Service: service, Log: newKeystone(t).api.Log, Names: []api.CatalogName{n}}
		if _, err := api.NewKeystone(c); err == nil {
			t.Errorf("%+v was taken", n)
		}
	}
}
