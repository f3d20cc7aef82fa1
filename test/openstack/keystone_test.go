//go:build openstack

package openstack

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/identity"
	"culvert/internal/keystone"
	"culvert/internal/resource"
)

// Tokens of the cloud's Keystone are the ones that count, with their roles; identity is not served.
func TestTokensOfKeystone(t *testing.T) {
	c := theCloud(t)
	url, _ := c.culvert(t, "none")
	id, project := c.newProject(t, "home")
	as := func(role string) *client.Client {
		p := c.newPerson(t, id, project, role)
		return at(c.login(t, p.name, p.password, p.project), url)
	}
	member, reader, admin := as("member"), as("reader"), at(c.admin(t), url)

	policy := object{"ikepolicy": object{"name": "one"}}
	one := want(t, member, "POST", "/v2.0/vpn/ikepolicies", policy, 201)["ikepolicy"].(object)
	if one["project_id"] != id {
		t.Errorf("made in project %v, want %s", one["project_id"], id)
	}
	uri := "/v2.0/vpn/ikepolicies/" + one["id"].(string)
	want(t, reader, "GET", uri, nil, 200)
	refused(t, reader, "POST", "/v2.0/vpn/ikepolicies", policy, 403, "PolicyNotAuthorized")
	want(t, admin, "GET", uri, nil, 200)
	otherID, other := c.newProject(t, "away")
	p := c.newPerson(t, otherID, other, "member")
	refused(t, at(c.login(t, p.name, p.password, p.project), url), "GET", uri, nil, 404, "IKEPolicyNotFound")
	// Networks are our own here.
	made(t, member, "/v2.0/networks", "network", object{"name": "ours"})

	nobody := &client.Client{URL: url, HTTP: http.DefaultClient}
	for _, token := range []string{"", "gAAAAABnonsense", strings.Repeat("x", 20_000)} {
		nobody.Token = token
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v2.0/vpn/ikepolicies", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Auth-Token", token)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if got, where := a.StatusCode, a.Header.Get("WWW-Authenticate"); got != 401 || where != `Keystone uri="`+c.keystone+`"` {
			t.Errorf("a token of %d bytes: %d, %s", len(token), got, where)
		}
	}
	nobody.Token = ""
	o := want(t, nobody, "POST", "/identity/v3/auth/tokens", object{}, 404)
	if said := o["NeutronError"].(object)["message"].(string); !strings.Contains(said, c.keystone) {
		t.Errorf("identity: %s", said)
	}
}

// What Keystone said holds for a minute and no longer; its no for 5 s; while it is away, nothing that it has not said.
func TestKeystoneIsAsked(t *testing.T) {
	c := theCloud(t)
	now := time.Now()
	k, err := keystone.New(keystone.Config{URL: c.keystone, User: "culvert", Password: c.servicePassword, Project: "service", Domain: "Default",
		Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	id, project := c.newProject(t, "home")
	p := c.newPerson(t, id, project, "member")
	one, two := c.login(t, p.name, p.password, project), c.login(t, p.name, p.password, project)
	who, err := k.Authenticate(t.Context(), one.Token)
	if err != nil || who.UserID != p.id || who.UserName != p.name || who.ProjectID != id || !who.MayWrite(id) || !who.MayRead(id) || who.Admin() {
		t.Fatalf("%+v, %v", who, err)
	}

	// Revoked at Keystone, believed here until the minute is over.
	r, err := http.NewRequestWithContext(t.Context(), "DELETE", c.keystone+"/auth/tokens", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", one.Token)
	r.Header.Set("X-Subject-Token", one.Token)
	if a, err := http.DefaultClient.Do(r); err != nil || a.StatusCode != 204 {
		t.Fatalf("revoke: %v, %v", a, err)
	}
	now = now.Add(59 * time.Second)
	if _, err := k.Authenticate(t.Context(), one.Token); err != nil {
		t.Errorf("within the minute: %v", err)
	}
	now = now.Add(2 * time.Second)
	if _, err := k.Authenticate(t.Context(), one.Token); !unauthorised(err) {
		t.Errorf("a revoked token after the minute: %v", err)
	}
	// Two hours from now the other one has expired, whatever Keystone's own clock says.
	if _, err := k.Authenticate(t.Context(), two.Token); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := k.Authenticate(t.Context(), two.Token); !unauthorised(err) {
		t.Errorf("an expired token: %v", err)
	}

	// The role service is enough to ask.
	admin := c.admin(t)
	if len(list(t, admin, "/roles?name=service", "roles")) == 0 {
		made(t, admin, "/roles", "role", object{"name": "service"})
	}
	asker := c.newPerson(t, id, project, "service")
	modest, err := keystone.New(keystone.Config{URL: c.keystone, User: asker.name, Password: asker.password, Project: project, Domain: "Default", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if who, err := modest.Authenticate(t.Context(), two.Token); err != nil || who.UserID != p.id {
		t.Errorf("asked by a user with the role service: %+v, %v", who, err)
	}

	wrong, err := keystone.New(keystone.Config{URL: c.keystone, User: "culvert", Password: "not it", Project: "service", Domain: "Default", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var e *resource.Error
	if _, err := wrong.Authenticate(t.Context(), two.Token); !errors.As(err, &e) || e.Code != 503 || strings.Contains(err.Error(), "not it") {
		t.Errorf("with a wrong password of the service user: %v", err)
	}
}

func unauthorised(err error) bool {
	var e *identity.Error
	return errors.As(err, &e) && e.Code == 401
}

// While Keystone is away, who was known a moment ago goes on, and everybody else is told to come back: 503. A server that
// starts then serves as soon as Keystone is back.
func TestKeystoneAway(t *testing.T) {
	c := theCloud(t)
	url, log := c.culvert(t, "none")
	id, project := c.newProject(t, "home")
	p := c.newPerson(t, id, project, "member")
	known := at(c.login(t, p.name, p.password, project), url)
	fresh := at(c.login(t, p.name, p.password, project), url)
	want(t, known, "GET", "/v2.0/vpn/ikepolicies", nil, 200)
	if err := script("stop", c.dir, "keystone"); err != nil {
		t.Fatal(err)
	}
	back := func() {
		if err := script("start", c.dir, "keystone"); err != nil {
			t.Error(err)
		}
	}
	restore := true
	defer func() {
		if restore {
			back()
		}
	}()
	want(t, known, "GET", "/v2.0/vpn/ikepolicies", nil, 200)
	refused(t, fresh, "GET", "/v2.0/vpn/ikepolicies", nil, 503, "ServiceUnavailable")
	if !strings.Contains(log.String(), "refused") || strings.Contains(log.String(), fresh.Token) {
		t.Errorf("the log must say why, and not the token:\n%s", log)
	}
	lateURL, _ := c.culvert(t, "none")
	late := at(fresh, lateURL)
	refused(t, late, "GET", "/v2.0/vpn/ikepolicies", nil, 503, "ServiceUnavailable")
	restore = false
	back()
	for _, who := range []*client.Client{fresh, late} {
		eventually(t, "Keystone is back", 30*time.Second, func() bool {
			code, _, err := who.Do(t.Context(), "GET", "/v2.0/vpn/ikepolicies", nil)
			return err == nil && code == 200
		})
	}
}
