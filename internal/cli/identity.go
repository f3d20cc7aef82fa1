package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"culvert/internal/identity"
	"culvert/internal/keyring"
	"culvert/internal/resource"
	"culvert/internal/server"
	"culvert/internal/store"

	"golang.org/x/sys/unix"
)

// besides is the part of the help that the commands on users, projects and roles share.
const besides = `

This works on the database itself and asks for no login: whoever can read the data folder may do it. The server may be running
or stopped. A running one has taken the change over when the command ends.`

// notice is a little more than a running server takes to see what another process wrote to its SQLite file.
const notice = 1200 * time.Millisecond

// identityFlags say where identity is kept and how to answer.
type identityFlags struct {
	dataFlags
	Domain string `default:"Default" env:"CULVERT_DOMAIN" placeholder:"NAME" help:"Domain of the users and projects that are named, by name or id (${default})."`
	JSON   bool   `name:"json" help:"Answer JSON instead of a table."`
}

// desk is where the operator works on identity.
type desk struct {
	*env
	*identity.Service
	by     *identity.Token
	domain *identity.Domain
	json   bool
	again  string // flags of a command that is advised
}

// with opens identity for fn.
func (f *identityFlags) with(e *env, fn func(*desk) error) error {
	path := filepath.Join(f.Data, "keyset.json")
	if _, err := os.Stat(path); err != nil { // opening it would make a new one
		return fmt.Errorf("no server has its data in this folder (--data names another): %w", err)
	}
	keys, err := keyring.Open(path)
	if err != nil {
		return err
	}
	st, err := store.Open(e, store.Config{URL: f.Database, Dir: f.Data, Log: e.log})
	if err != nil {
		return err
	}
	id, err := identity.New(identity.Config{Store: st, Sealer: keys, Now: time.Now})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	d := &desk{env: e, Service: id, by: identity.Operator(), json: f.JSON, again: f.again()}
	before := newest(e, st)
	if d.domain, err = d.findDomain(f.Domain); err == nil {
		err = fn(d)
	}
	if newest(e, st) != before {
		f.waitForServer(e)
	}
	return errors.Join(err, st.Close())
}

// newest is the store's revision, 0 where it cannot be read.
func newest(e *env, st *store.Store) (rev int64) {
	_ = st.View(e, func(r resource.Reader) (err error) {
		rev, err = r.Rev(e)
		return err
	})
	return rev
}

// waitForServer lets a running server see a change of its SQLite file: who was disabled is out when the command ends.
// PostgreSQL tells its servers itself.
func (f *identityFlags) waitForServer(e *env) {
	if strings.HasPrefix(f.Database, "postgres") || server.Free(f.Data) == nil {
		return
	}
	select {
	case <-e.Done():
	case <-time.After(notice):
	}
}

// named finds something by id or else by name; what says what it is.
func named[T any](what, text string, byID func() (*T, error), byName func() ([]T, error)) (*T, error) {
	if text == "" {
		return nil, fmt.Errorf("the name of a %s is empty", what)
	}
	v, err := byID()
	var e *identity.Error
	if err == nil || !errors.As(err, &e) || e.Code != http.StatusNotFound {
		return v, err
	}
	all, err := byName()
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("there is no %s %q", what, text)
	}
	return &all[0], nil
}

func (d *desk) findDomain(text string) (*identity.Domain, error) {
	return named("domain", text, func() (*identity.Domain, error) { return d.Service.Domain(d, d.by, text) },
		func() ([]identity.Domain, error) { return d.Domains(d, d.by, identity.Filter{Name: text}) })
}

func (d *desk) findUser(text string) (*identity.User, error) {
	return named("user", text, func() (*identity.User, error) { return d.Service.User(d, d.by, text) },
		func() ([]identity.User, error) {
			return d.Users(d, d.by, identity.Filter{Name: text, DomainID: d.domain.ID})
		})
}

func (d *desk) findProject(text string) (*identity.Project, error) {
	return named("project", text, func() (*identity.Project, error) { return d.Service.Project(d, d.by, text) },
		func() ([]identity.Project, error) {
			return d.Projects(d, d.by, identity.Filter{Name: text, DomainID: d.domain.ID})
		})
}

func (d *desk) findRole(text string) (*identity.Role, error) {
	return named("role", text, func() (*identity.Role, error) { return d.Service.Role(d, d.by, text) },
		func() ([]identity.Role, error) { return d.Roles(d, d.by, identity.Filter{Name: text}) })
}

// table answers rows below their titles, or v as JSON.
func (d *desk) table(v any, titles string, rows [][]string) error {
	if d.json {
		return d.encode(v)
	}
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(titles, "|", "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// say answers one line, or v as JSON.
func (d *desk) say(v any, format string, a ...any) error {
	if d.json {
		return d.encode(v)
	}
	_, err := fmt.Fprintf(d.out, format+"\n", a...)
	return err
}

func (d *desk) encode(v any) error {
	e := json.NewEncoder(d.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// adviseAdmin says how to make an admin again when none is left that can log in.
func (d *desk) adviseAdmin() error {
	all, err := d.Assignments(d, d.by, identity.AssignmentFilter{Names: true})
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Role.Name == "admin" && a.User.Enabled {
			return nil
		}
	}
	_, err = fmt.Fprintf(d.err, "No user that is enabled has the role admin any more. To make one: culvert user create NAME --project admin --role admin%s\n", d.again)
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// passwordFlags say where a new password comes from; never from the command line, which other users of the machine can read.
type passwordFlags struct {
	PasswordStdin bool `help:"Read the password from standard input instead of making one by chance and printing it."`
}

// get returns a new password, and the same again if it must be shown.
func (f *passwordFlags) get(d *desk) (password, shown string, err error) {
	if !f.PasswordStdin {
		password, err = d.NewPassword()
		return password, password, err
	}
	password, err = readPassword(d.in)
	return password, "", err
}

// maxPassword is identity's own limit, in characters.
const maxPassword = 4096

func readPassword(in io.Reader) (string, error) {
	if f, ok := in.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return "", errors.New("standard input is a terminal, which would show the password: pipe it in, or leave --password-stdin out")
		}
	}
	b, err := io.ReadAll(io.LimitReader(in, 4*maxPassword+3))
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	p := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if p == "" || strings.ContainsAny(p, "\r\n\x00") || !utf8.ValidString(p) || utf8.RuneCountInString(p) > maxPassword {
		return "", errors.New("the password on standard input must be one line of 1 to 4096 characters in UTF-8")
	}
	return p, nil
}

// switches turn something on or off.
type switches struct {
	Enable  bool `xor:"enabled" help:"Let it be used again."`
	Disable bool `xor:"enabled" help:"Let nobody use it; all tokens of it end."`
}

// changes collects the attributes that flags name.
func (s switches) changes(texts map[string]*string) (map[string]any, error) {
	in := map[string]any{}
	for name, v := range texts {
		if v != nil {
			in[name] = *v
		}
	}
	if s.Enable || s.Disable {
		in["enabled"] = s.Enable
	}
	if len(in) == 0 {
		return nil, errors.New("nothing to change: give at least one flag (--help names them)")
	}
	return in, nil
}
