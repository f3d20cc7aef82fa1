package rights

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/server"
	"culvert/internal/vpntest"
)

// kind is one sort of resource.
type kind struct{ name, plural, path string }

func kinds() []kind {
	return []kind{
		{"ikepolicy", "ikepolicies", "vpn/ikepolicies"},
		{"ipsecpolicy", "ipsecpolicies", "vpn/ipsecpolicies"},
		{"vpnservice", "vpnservices", "vpn/vpnservices"},
		{"endpoint_group", "endpoint_groups", "vpn/endpoint-groups"},
		{"ipsec_site_connection", "ipsec_site_connections", "vpn/ipsec-site-connections"},
		{"network", "networks", "networks"},
		{"subnet", "subnets", "subnets"},
		{"router", "routers", "routers"},
		{"port", "ports", "ports"},
	}
}

// world is a server with one of every kind in two projects, home and away, and everybody who asks for them: reader, member and
// service have that role in home, stranger is a member of away; the admin's own project is a third.
type world struct {
	*wire
	projects map[string]string // ids by name
	made     map[string]string // ids of what stands in them: "home ikepolicy"
	names    map[string]string // by id: what the table shows instead
	callers  []caller
	n        int
}

const (
	homeKey, awayKey = `kT7-wq2Lz9_Xm"\<&>`, "zR4+away/key=0_Vb"
	lifetime         = time.Hour
)

func newWorld(t *testing.T) *world {
	srv := vpntest.Start(t, vpntest.Options{Set: func(c *server.Config) { c.TokenLifetime = lifetime }})
	for _, psk := range []string{homeKey, awayKey} {
		srv.Secret(psk)
	}
	w := &world{wire: newWire(t, srv), projects: map[string]string{"home": srv.Home, "away": srv.Away}, made: map[string]string{}, names: map[string]string{}}
	for name, id := range w.projects {
		w.names[id] = "$" + name
	}
	w.people()
	w.names[srv.As("admin").Project] = "$admins"
	for _, project := range []string{"home", "away"} {
		for _, k := range []string{"network", "subnet", "router"} {
			w.stand(project, k)
		}
		w.must(w.admin(), "PUT", "/v2.0/routers/"+w.made[project+" router"]+"/add_router_interface", "", client.Object{"subnet_id": w.made[project+" subnet"]})
		for _, k := range []string{"port", "ikepolicy", "ipsecpolicy", "vpnservice", "endpoint_group", "ipsec_site_connection"} {
			w.stand(project, k)
		}
	}
	return w
}

// people logs everybody in. One token is made too early, and one is revoked.
func (w *world) people() {
	password := w.srv.FirstAdmin.Password
	scoped := func(id string) client.Object { return client.Object{"project": client.Object{"id": id}} }
	own := client.Object{"project": client.Object{"name": w.srv.FirstAdmin.ProjectName, "domain": client.Object{"id": "default"}}}
	expired := w.login("member", "correct horse of member", scoped(w.srv.Home))
	w.srv.Clock.Advance(lifetime)
	admin := caller{"admin", w.login(w.srv.FirstAdmin.UserName, password, own)}
	w.callers = []caller{
		{"reader", w.login("reader", "correct horse of reader", scoped(w.srv.Home))},
		{"member", w.login("member", "correct horse of member", scoped(w.srv.Home))},
		admin,
		{"service", w.servant(admin, scoped(w.srv.Home))},
		{"unscoped", w.login("member", "correct horse of member", nil)},
		{"expired", expired},
		{"revoked", w.revoked(admin, scoped(w.srv.Home))},
		{"nobody", ""},
		{"stranger", w.login("stranger", "correct horse of stranger", scoped(w.srv.Away))},
	}
}

// servant is a user with the role service alone.
func (w *world) servant(admin caller, scope client.Object) string {
	const password = "correct horse of servant"
	w.srv.Secret(password)
	user := w.must(admin, "POST", "/identity/v3/users", "user", client.Object{"user": client.Object{"name": "servant", "domain_id": "default", "password": password}})
	for _, r := range w.must(admin, "GET", "/identity/v3/roles", "", nil)["roles"].([]any) {
		if role := r.(client.Object); role["name"] == "service" {
			w.must(admin, "PUT", fmt.Sprintf("/identity/v3/projects/%s/users/%s/roles/%s", w.srv.Home, user["id"], role["id"]), "", nil)
		}
	}
	return w.login("servant", password, scope)
}

func (w *world) revoked(admin caller, scope client.Object) string {
	token := w.login("member", "correct horse of member", scope)
	a := w.send(admin, "DELETE", "/identity/v3/auth/tokens", nil, http.Header{"X-Subject-Token": {token}})
	if a.status != http.StatusNoContent {
		w.Fatalf("revoke: %d %s", a.status, a.body)
	}
	return token
}

func (w *world) by(name string) caller {
	i := slices.IndexFunc(w.callers, func(c caller) bool { return c.name == name })
	return w.callers[i]
}

func (w *world) admin() caller { return w.by("admin") }

// attributes are those of one more resource of a kind in a project, on what stands there already.
func (w *world) attributes(project, kind string) client.Object {
	w.n++
	a := client.Object{"name": fmt.Sprintf("%s-%d", kind, w.n)}
	switch kind {
	case "subnet":
		a["network_id"], a["ip_version"], a["cidr"] = w.made[project+" network"], 4, fmt.Sprintf("10.%d.%d.0/24", w.n/250, w.n%250)
	case "port":
		a["network_id"] = w.made[project+" network"]
	case "vpnservice":
		a["router_id"], a["subnet_id"] = w.made[project+" router"], w.made[project+" subnet"]
	case "endpoint_group":
		a["type"], a["endpoints"] = "cidr", []string{fmt.Sprintf("172.%d.%d.0/24", 16+w.n/250, w.n%250)}
	case "ipsec_site_connection":
		for _, ref := range []string{"vpnservice", "ikepolicy", "ipsecpolicy"} {
			a[ref+"_id"] = w.made[project+" "+ref]
		}
		a["peer_address"], a["peer_id"], a["psk"] = "198.51.100.7", fmt.Sprint("branch-", w.n), map[string]string{"home": homeKey, "away": awayKey}[project]
		a["peer_cidrs"] = []string{fmt.Sprintf("192.%d.%d.0/24", 100+w.n/250, w.n%250)}
	}
	return a
}

// fresh makes one, and returns its id.
func (w *world) fresh(project string, k kind) string {
	w.Helper()
	a := w.attributes(project, k.name)
	a["project_id"] = w.projects[project]
	return w.must(w.admin(), "POST", "/v2.0/"+k.path, k.name, client.Object{k.name: a})["id"].(string)
}

// stand makes the one that stays.
func (w *world) stand(project, name string) {
	w.Helper()
	all := kinds()
	k := all[slices.IndexFunc(all, func(k kind) bool { return k.name == name })]
	id := w.fresh(project, k)
	w.made[project+" "+name] = id
	w.names[id] = "$" + project + "_" + name
}

// readable puts names in the place of ids; what has no name is $new.
func (w *world) readable(text string) string {
	ids := []string{}
	for id := range w.names {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	for _, id := range ids {
		text = strings.ReplaceAll(text, id, w.names[id])
	}
	return anyID.ReplaceAllString(text, "$$new")
}
