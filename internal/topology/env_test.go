package topology_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/keyring"
	"culvert/internal/resource"
	"culvert/internal/store"
	"culvert/internal/topology"
)

// env is a topology on a real store, spoken to in lines such as `admin create network ext {"router:external":true}`.
type env struct {
	svc   *crud.Service
	top   *topology.Topology
	guard *guard
	ids   map[string]string // by the names that the lines gave
}

var callers = map[string]identity.Caller{
	"alice": {UserID: "u-a", ProjectID: "project-a", Roles: []string{identity.RoleMember}},
	"bob":   {UserID: "u-b", ProjectID: "project-b", Roles: []string{identity.RoleMember}},
	"rita":  {UserID: "u-r", ProjectID: "project-a", Roles: []string{identity.RoleReader}},
	"admin": {UserID: "u-x", ProjectID: "project-x", Roles: []string{identity.RoleAdmin}},
}

// guard forbids what it is told to and writes down what it hears, as the VPN's side does.
type guard struct {
	forbid map[string]string // "clear", "detach" or "delete" -> error type
	heard  []string
}

func (g *guard) ask(what string, ids ...string) error {
	if typ := g.forbid[what]; typ != "" {
		return resource.Errorf(409, typ, "A VPN needs %s.", strings.Join(ids, " "))
	}
	return nil
}

func (g *guard) MayClearGateway(_ *crud.Op, router string) error { return g.ask("clear", router) }
func (g *guard) MayDetachSubnet(_ *crud.Op, router, subnet string) error {
	return g.ask("detach", router, subnet)
}
func (g *guard) MayDeleteSubnet(_ *crud.Op, subnet string) error { return g.ask("delete", subnet) }
func (g *guard) RouterChanged(_ *crud.Op, router string, _ ...resource.Difference) error {
	g.heard = append(g.heard, router)
	return nil
}

// counter gives the bytes 1, 2, 3, … for random ones.
type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

func newEnv(t *testing.T) *env {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(t.Context(), store.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	keys, err := keyring.Open(filepath.Join(dir, "keyring"))
	if err != nil {
		t.Fatal(err)
	}
	return onStore(t, st, keys)
}

func onStore(t interface{ Fatal(...any) }, st resource.Store, keys crud.Sealer) *env {
	n := 0
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	svc, err := crud.New(crud.Config{Store: st, Sealer: keys,
		Now: func() time.Time { return start.Add(time.Duration(n) * time.Second) },
		NewID: func() string {
			n++
			return fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
		}})
	if err != nil {
		t.Fatal(err)
	}
	top, err := topology.New(topology.Config{Service: svc, Rand: &counter{}})
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{forbid: map[string]string{}}
	top.SetGuard(g)
	svc.Add(top.Kinds()...)
	return &env{svc: svc, top: top, guard: g, ids: map[string]string{}}
}

// named puts ids for $names.
func (e *env) named(s string) string {
	names := make([]string, 0, len(e.ids))
	for n := range e.ids {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool { return len(names[i]) > len(names[j]) })
	for _, n := range names {
		s = strings.ReplaceAll(s, "$"+n, e.ids[n])
	}
	return s
}

// plain puts $names for ids.
func (e *env) plain(s string) string {
	for n, id := range e.ids {
		s = strings.ReplaceAll(s, id, "$"+n)
	}
	return s
}

// do runs one line: [caller] verb kind name [JSON]. The caller is alice unless named. `forbid what Type` sets the guard.
func (e *env) do(ctx context.Context, line string) (string, error) {
	c := callers["alice"]
	if who, rest, _ := strings.Cut(line, " "); callers[who].UserID != "" {
		c, line = callers[who], rest
	}
	f := strings.SplitN(line, " ", 4)
	verb, kind, name := f[0], f[1], f[2]
	if verb == "forbid" {
		e.guard.forbid[kind] = name
		return "", nil
	}
	var body map[string]any
	if len(f) == 4 {
		dec := json.NewDecoder(strings.NewReader(e.named(f[3])))
		dec.UseNumber()
		if err := dec.Decode(&body); err != nil {
			return "", fmt.Errorf("line %q: %w", line, err)
		}
	}
	return e.act(ctx, c, verb, kind, name, body)
}

func (e *env) act(ctx context.Context, c identity.Caller, verb, kind, name string, body map[string]any) (string, error) {
	id := e.named(name)
	if e.ids[name] != "" {
		id = e.ids[name]
	}
	var doc *crud.Document
	var answer map[string]any
	var err error
	switch verb {
	case "create":
		if doc, err = e.svc.Create(ctx, c, kind, body); err == nil {
			e.ids[name] = doc.ID
		}
	case "update":
		doc, err = e.svc.Update(ctx, c, kind, id, body, nil)
	case "show":
		doc, err = e.svc.Show(ctx, c, kind, id)
	case "delete":
		err = e.svc.Delete(ctx, c, kind, id, nil)
	case "attach":
		if answer, err = e.top.AddRouterInterface(ctx, c, id, body); err == nil {
			e.ids[name+"-if-"+kind] = answer["port_id"].(string)
		}
	case "detach":
		answer, err = e.top.RemoveRouterInterface(ctx, c, id, body)
	case "tag":
		answer, err = e.top.SetTags(ctx, c, kind, id, body)
	default:
		err = fmt.Errorf("unknown verb %q", verb)
	}
	if answer != nil && err == nil {
		b, err := json.Marshal(answer)
		return e.plain(string(b)), err
	}
	if doc != nil && err == nil {
		return e.plain(string(doc.Doc)), nil
	}
	return "", err
}

// run wants every line to succeed.
func (e *env) run(t *testing.T, lines ...string) (last string) {
	t.Helper()
	for _, l := range lines {
		out, err := e.do(t.Context(), l)
		if err != nil {
			t.Fatalf("%s: %v", l, e.plain(err.Error()))
		}
		last = out
	}
	return last
}

// outcome is "ok", or a user's error in full.
func (e *env) outcome(err error) string {
	var u *resource.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &u):
		return e.plain(fmt.Sprintf("%d %s: %s", u.Code, u.Type, u.Message))
	}
	return "internal: " + err.Error()
}

// pick reads one attribute of a document.
func pick(t *testing.T, doc, attr string) string {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(doc), &m); err != nil {
		t.Fatal(err)
	}
	return string(m[attr])
}
