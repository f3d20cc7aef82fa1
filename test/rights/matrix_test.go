package rights

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"culvert/internal/client"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table into testdata instead of comparing it")

var anyID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// operation is one row of the table: what a caller asks for, of something in a project.
type operation struct {
	name   string
	method string
	path   string // $project and $id are what they say
	body   func(project string) any
	fresh  bool // the target must not be one that stands: it may be gone after
}

func (w *world) operations(k kind) []operation {
	item := "/v2.0/" + k.path + "/$id"
	post := func(project string) any {
		a := w.attributes(project, k.name)
		return client.Object{k.name: a}
	}
	named := func(project string) any {
		a := w.attributes(project, k.name)
		a["project_id"] = w.projects[project]
		return client.Object{k.name: a}
	}
	words := func(string) any { return client.Object{k.name: client.Object{"description": "changed"}} }
	ops := []operation{
		{"create, owner not named", "POST", "/v2.0/" + k.path, post, false},
		{"create, owner named", "POST", "/v2.0/" + k.path, named, false},
		{"list", "GET", "/v2.0/" + k.path + "?project_id=$project", nil, false},
		{"show", "GET", item, nil, false},
		{"update", "PUT", item, words, false},
		{"update of its owner", "PUT", item, func(p string) any { return client.Object{k.name: client.Object{"project_id": w.projects[p]}} }, false},
		{"delete", "DELETE", item, nil, true},
	}
	if !strings.HasPrefix(k.path, "vpn/") {
		ops = append(ops, tagOperations(item)...)
	}
	return append(ops, w.special(k, item)...)
}

func tagOperations(item string) []operation {
	tags := func(string) any { return client.Object{"tags": []string{"red", "blue"}} }
	return []operation{
		{"tags: replace", "PUT", item + "/tags", tags, true},
		{"tags: list", "GET", item + "/tags", nil, true},
		{"tags: add", "PUT", item + "/tags/green", nil, true},
		{"tags: remove what is not there", "DELETE", item + "/tags/red", nil, true},
		{"tags: clear", "DELETE", item + "/tags", nil, true},
	}
}

// otcTags are OTC's calls of api-contract section 9; the project is in the URI.
func otcTags() []operation {
	const all = "/v2.0/$project/ipsec-site-connections"
	tag := client.Object{"key": "colour", "value": "red"}
	one := func(string) any { return client.Object{"tag": tag} }
	many := func(string) any { return client.Object{"action": "create", "tags": []any{tag}} }
	count := func(string) any { return client.Object{"action": "count", "tags": []any{}} }
	return []operation{
		{"OTC tags: add", "POST", all + "/$id/tags", one, true},
		{"OTC tags: list", "GET", all + "/$id/tags", nil, false},
		{"OTC tags: change", "POST", all + "/$id/tags/action", many, true},
		{"OTC tags: remove", "DELETE", all + "/$id/tags/colour", nil, true},
		{"OTC tags: of the project", "GET", all + "/tags", nil, false},
		{"OTC tags: count", "POST", all + "/resource_instances/action", count, false},
	}
}

// special are the operations that one kind alone has.
func (w *world) special(k kind, item string) []operation {
	sub := func(string) any { return client.Object{"subnet_id": w.made["home subnet"]} }
	other := func(string) any { return client.Object{"subnet_id": w.made["away subnet"]} }
	switch k.name {
	case "router":
		return []operation{
			{"add interface on home's subnet", "PUT", item + "/add_router_interface", sub, true},
			{"add interface on away's subnet", "PUT", item + "/add_router_interface", other, true},
			{"remove interface in use", "PUT", item + "/remove_router_interface", sub, false},
		}
	case "network":
		return []operation{
			{"create shared", "POST", "/v2.0/networks", w.with("network", "shared", true), false},
			{"create external", "POST", "/v2.0/networks", w.with("network", "router:external", true), false},
			{"update to shared", "PUT", item, func(string) any { return client.Object{"network": client.Object{"shared": true}} }, true},
		}
	case "vpnservice":
		return []operation{{"create with an external address", "POST", "/v2.0/" + k.path, w.with("vpnservice", "external_v4_ip", "203.0.113.9"), false}}
	case "endpoint_group":
		return []operation{{"create on the subnet there", "POST", "/v2.0/" + k.path, func(project string) any {
			return client.Object{k.name: client.Object{"type": "subnet", "endpoints": []string{w.made[project+" subnet"]}}}
		}, false}}
	case "ipsec_site_connection":
		return append(otcTags(), []operation{
			{"events", "GET", item + "/events", nil, false},
			{"statistics", "GET", item + "/statistics", nil, false},
			{"filter by psk", "GET", "/v2.0/" + k.path + "?psk=x", nil, false},
			{"sort by psk", "GET", "/v2.0/" + k.path + "?sort_key=psk&sort_dir=asc", nil, false},
			{"show the psk alone", "GET", item + "?fields=psk", nil, false},
			{"list the psk alone", "GET", "/v2.0/" + k.path + "?project_id=$project&fields=psk", nil, false},
			{"update the psk", "PUT", item, func(string) any { return client.Object{k.name: client.Object{"psk": "new-key-1234"}} }, true},
		}...)
	}
	return nil
}

// with is a POST with one attribute more, owner named.
func (w *world) with(kind, attr string, v any) func(string) any {
	return func(project string) any {
		a := w.attributes(project, kind)
		a["project_id"], a[attr] = w.projects[project], v
		return client.Object{kind: a}
	}
}

// cell makes one request and undoes what it did; it returns the answer in one line.
func (w *world) cell(c caller, k kind, op operation, project string) string {
	id := w.made[project+" "+k.name]
	if op.fresh && strings.Contains(op.path, "$id") {
		id = w.fresh(project, k)
	}
	var body any
	if op.body != nil {
		body = op.body(project)
	}
	path := strings.NewReplacer("$id", id, "$project", w.projects[project]).Replace(op.path)
	a := w.do(c, op.method, path, body)
	if op.fresh && a.status < 300 && strings.HasSuffix(op.path, "/add_router_interface") {
		w.must(w.admin(), "PUT", "/v2.0/routers/"+id+"/remove_router_interface", "", body)
	}
	if op.fresh && (op.method != "DELETE" || a.status != 204 || strings.Contains(op.path, "/tags")) {
		w.must(w.admin(), "DELETE", "/v2.0/"+k.path+"/"+id, "", nil)
	}
	if a.status == http.StatusCreated && op.method == "POST" {
		w.must(w.admin(), "DELETE", "/v2.0/"+k.path+"/"+a.doc[k.name].(client.Object)["id"].(string), "", nil)
	}
	return w.readable(w.line(a, k))
}

// line is the answer as the table shows it.
func (w *world) line(a answer, k kind) string {
	if typ, message := a.fault(); typ != "" {
		return fmt.Sprintf("%d %s: %s", a.status, typ, message)
	}
	out := fmt.Sprint(a.status)
	if rows, ok := a.doc[k.plural].([]any); ok {
		out += fmt.Sprintf(" %d rows", len(rows))
		for _, r := range rows {
			out += pskOf(r.(client.Object))
		}
	}
	if one, ok := a.doc[k.name].(client.Object); ok {
		if one["project_id"] != nil {
			out += fmt.Sprintf(" of %s", one["project_id"])
		}
		out += pskOf(one)
	}
	if n, ok := a.doc["total_count"]; ok {
		out += fmt.Sprint(" total ", n)
	}
	if tags, ok := a.doc["tags"].([]any); ok {
		out += fmt.Sprint(" tags ", tags)
	}
	return out
}

func pskOf(row client.Object) string {
	switch row["psk"] {
	case nil:
		return ""
	case "******":
		return ", psk masked"
	}
	return ", psk clear"
}

// table is the whole matrix; cells counts its cells.
func (w *world) table() (text string, cells int) {
	var b bytes.Buffer
	b.WriteString(heading)
	for _, k := range kinds() {
		fmt.Fprintf(&b, "\n== %s ==\n", k.path)
		for _, op := range w.operations(k) {
			for _, project := range []string{"home", "away"} {
				fmt.Fprintf(&b, "\n%s (%s), in %s\n", op.name, op.method, project)
				cells += w.group(&b, func(c caller) string { return w.cell(c, k, op, project) })
			}
		}
	}
	cells += w.quotas(&b) + w.agents(&b)
	return b.String(), cells
}

const heading = `# Who gets which answer (api-contract sections 2.1 and 2.5, D4). Every line is an answer, behind those who get it:
#   reader, member, service   have that role alone in the project home
#   admin                     has the role admin in a project of its own
#   stranger                  is a member of the project away
#   unscoped                  has a valid token for no project
#   expired, revoked          have a token of home's member that is no longer valid
#   nobody                    sends no token
# In home and away stands one resource of each kind, $home_router and so on. go test ./test/rights -update writes this file.
`

// group asks for everybody, and writes each answer once.
func (w *world) group(b *bytes.Buffer, ask func(caller) string) int {
	who, order := map[string][]string{}, []string{}
	for _, c := range w.callers {
		a := ask(c)
		if who[a] == nil {
			order = append(order, a)
		}
		who[a] = append(who[a], c.name)
	}
	for _, a := range order {
		fmt.Fprintf(b, "  %-44s %s\n", strings.Join(who[a], " "), a)
	}
	return len(w.callers)
}

const golden = "testdata/matrix.txt"

// TestMatrix holds every answer against the table that people have read.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	got, cells := w.table()
	w.noSecrets()
	t.Logf("%d cells, %d calls", cells, w.calls)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (-want +got):\n%s", golden, d)
	}
}
