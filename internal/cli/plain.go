package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// plain is an error for the operator who reads it on the terminal.
func plain(err error) string {
	var refused *pgconn.ConnectError
	if errors.As(err, &refused) {
		return unreached(refused)
	}
	var path *fs.PathError
	if errors.As(err, &path) && errors.Is(path, fs.ErrPermission) {
		if path.Op == "mkdir" {
			return fmt.Sprintf("may not make %s: run as root or as the server's user, or choose another folder", path.Path)
		}
		return fmt.Sprintf("may not read %s: run as root or as the server's user", path.Path)
	}
	return err.Error()
}

// unreached names the first cause for which a database was not reached: pgx tells those of every address, and of every
// way to encrypt, on a line each.
func unreached(err *pgconn.ConnectError) string {
	return fmt.Sprintf("connect to the database %q: %s", err.Config.Database, firstCause(errors.Unwrap(err)))
}

// firstCause follows joined errors to their first, and drops what a line says before it.
func firstCause(err error) string {
	for err != nil {
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			err = many.Unwrap()[0]
			continue
		}
		break
	}
	if err == nil {
		return "no cause is known"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return strings.TrimSpace(line)
}

// dataFlags are where a server's data is, on every command that works on it.
type dataFlags struct {
	Data     string `default:"/var/lib/culvert" env:"CULVERT_DATA" placeholder:"DIR" help:"The server's data folder (${default})."`
	Database string `env:"CULVERT_DATABASE" placeholder:"URL" help:"postgres://USER:PASSWORD@HOST/DB (or postgresql://…), sqlite:FILE or a FILE for SQLite; without it culvert.db in the data folder."`
}

// again are the flags that a command which is advised needs to work on the same data: those that neither the default nor
// the environment gives. A password is not shown.
func (f dataFlags) again() string {
	out := ""
	if f.Data != "/var/lib/culvert" && f.Data != os.Getenv("CULVERT_DATA") {
		out += " --data " + quoted(f.Data)
	}
	if f.Database != "" && f.Database != os.Getenv("CULVERT_DATABASE") {
		text := f.Database
		if u, err := url.Parse(text); err == nil {
			text = u.Redacted()
		}
		out += " --database " + quoted(text)
	}
	return out
}

// quoted is a word as a shell takes it.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@=,+%", c)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
