package cli_test

import "testing"

// A rotation seals the secrets of application credentials anew too: here admin's password and one of these.
func TestRotateSealsCredentials(t *testing.T) {
	o := newOffice(t, "")
	token := o.login("admin", o.first, "admin")
	var u struct{ Users []struct{ ID string } }
	if o.api(token, "GET", "users?name=admin", "", &u); len(u.Users) != 1 {
		t.Fatal("no admin")
	}
	o.api(token, "POST", "users/"+u.Users[0].ID+"/application_credentials", `{"application_credential": {"name": "ci", "secret": "chosen"}}`, nil)
	want := "The keyset has 2 keys; 2 secrets were sealed anew with the newest.\n"
	if got := o.must("", "key", "rotate"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	o.api("", "POST", "auth/tokens", `{"auth": {"identity": {"methods": ["application_credential"], "application_credential":
		{"name": "ci", "user": {"id": "`+u.Users[0].ID+`"}, "secret": "chosen"}}}}`, nil)
}
