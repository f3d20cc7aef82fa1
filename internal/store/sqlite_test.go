package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSQLiteFile: where the file is made, and that nobody else may read it.
func TestSQLiteFile(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "a b?c%20#d", "x.db")
	for want, c := range map[string]Config{
		filepath.Join(dir, "data", "culvert.db"): {Dir: filepath.Join(dir, "data")},
		odd:                                      {URL: odd},
		filepath.Join(dir, "y.db"):               {URL: "sqlite:" + filepath.Join(dir, "y.db"), Dir: "unused"},
	} {
		s, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{want, want + "-wal"} {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", file, info.Mode())
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSQLiteSync: a change waits for the disk (FULL), an observation does not (NORMAL).
func TestSQLiteSync(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := s.engine.(*sqlite)
	for want, run := range map[string]transaction{"2": e.change, "1": e.observe} {
		got := ""
		err := run(t.Context(), func(c session) (int64, error) {
			return 0, c.query(t.Context(), true, "SELECT CAST(synchronous AS text) FROM pragma_synchronous", nil, func(cols [][]byte) error {
				got = string(cols[0])
				return nil
			})
		})
		if err != nil || got != want {
			t.Errorf("synchronous is %q, %v; want %q", got, err, want)
		}
	}
}

// TestBadURL: an error does not repeat what may hold a password.
func TestBadURL(t *testing.T) {
	for _, c := range []Config{{}, {URL: "mysql://u:hunter2@h/d"}, {URL: "postgres://u:hunter2@h:x/d"}, {URL: "sqlite:"}} {
		s, err := Open(t.Context(), c)
		if err == nil {
			t.Fatalf("%q was opened", c.URL)
		}
		if s != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, %v", c.URL, s, err)
		}
	}
}

// TestSQLiteDurability reads back the settings on which the durability of an acknowledged write rests.
func TestSQLiteDurability(t *testing.T) {
	e, err := openSQLite(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
	}()
	err = e.write.transaction(t.Context(), "BEGIN IMMEDIATE", syncFull, func(c *sqliteSession) (int64, error) {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
			err := c.query(t.Context(), true, "PRAGMA "+pragma, nil, func(cols [][]byte) error {
				if string(cols[0]) != want {
					t.Errorf("%s is %s, want %s", pragma, cols[0], want)
				}
				return nil
			})
			if err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
