package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"culvert/internal/resource"
)

// sqlitePragmas: WAL lets readers run beside the writer; synchronous FULL syncs the log at every commit, so that an
// acknowledged write survives a power cut (NORMAL, for observations, only writes it); busy_timeout (ms) waits for another process.
const sqlitePragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)" +
	"&_pragma=foreign_keys(1)&_pragma=cache_size(-8000)"

// pollInterval is how soon changes of another process on the same file are seen (culvert's own tools beside a server).
const pollInterval = time.Second

// sqlite is the engine on one file.
type sqlite struct {
	write, read *sqlitePool
}

func openSQLite(ctx context.Context, c Config) (*sqlite, error) {
	path, err := sqlitePath(c)
	if err != nil {
		return nil, err
	}
	if err := createFile(path); err != nil {
		return nil, err
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + sqlitePragmas
	write, err := newSQLitePool(dsn, 1)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, goose.DialectSQLite3, write.db); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), write.close())
	}
	read, err := newSQLitePool(dsn+"&_pragma=query_only(1)", max(4, 2*runtime.GOMAXPROCS(0)))
	if err != nil {
		return nil, errors.Join(err, write.close())
	}
	return &sqlite{write: write, read: read}, nil
}

// sqlitePath is the file's absolute path. The URL is not repeated in an error: it may hold a password.
func sqlitePath(c Config) (string, error) {
	path := strings.TrimPrefix(c.URL, "sqlite:")
	if err := CheckURL(c.URL); err != nil {
		return "", fmt.Errorf("database URL: %w", err)
	}
	switch {
	case path == "" && c.Dir == "":
		return "", errors.New("database: neither a URL nor a data folder is given")
	case path == "":
		path = filepath.Join(c.Dir, "culvert.db")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("database path: %w", err)
	}
	return abs, nil
}

// createFile makes the file, readable for its owner only, and its name durable. SQLite gives its log the same mode.
func createFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the data folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing the data folder: %w", err)
	}
	return nil
}

func (e *sqlite) view(ctx context.Context, fn func(session) error) error {
	return e.read.transaction(ctx, "BEGIN", syncFull, func(c *sqliteSession) (int64, error) { return 0, fn(c) })
}

// change takes the file's write lock at once: a transaction that read first could find its snapshot outdated.
func (e *sqlite) change(ctx context.Context, fn func(session) (int64, error)) error {
	return e.write.transaction(ctx, "BEGIN IMMEDIATE", syncFull, func(c *sqliteSession) (int64, error) { return fn(c) })
}

func (e *sqlite) observe(ctx context.Context, fn func(session) (int64, error)) error {
	return e.write.transaction(ctx, "BEGIN IMMEDIATE", syncNormal, func(c *sqliteSession) (int64, error) { return fn(c) })
}

func (e *sqlite) classify(err error) fault {
	var se *driver.Error
	if !errors.As(err, &se) {
		return faultOther
	}
	switch code := se.Code(); {
	case code == sqlite3.SQLITE_CONSTRAINT_UNIQUE, code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return faultUnique
	case code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, code == sqlite3.SQLITE_CONSTRAINT_TRIGGER: // RESTRICT is the latter
		return faultForeign
	case code&0xff == sqlite3.SQLITE_BUSY, code&0xff == sqlite3.SQLITE_LOCKED:
		return faultRetry
	}
	return faultOther
}

// watch polls for revisions of other processes: SQLite has no notification across processes, and a poll costs some 20 us.
func (e *sqlite) watch(ctx context.Context, s *Store) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("watching the database", "error", err)
			}
		}
	}
}

// close ends the readers first: the last connection moves the log into the file, and readers may not write.
func (e *sqlite) close() error {
	if err := errors.Join(e.read.close(), e.write.close()); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return nil
}

// sqlitePool holds connections with their prepared statements: preparing costs more than most queries.
type sqlitePool struct {
	db   *sql.DB
	free chan *sqliteSession // as many as there may be; nil: not yet opened
}

func newSQLitePool(dsn string, size int) (*sqlitePool, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	p := &sqlitePool{db: db, free: make(chan *sqliteSession, size)}
	for range size {
		p.free <- nil
	}
	return p, nil
}

// transaction runs fn between begin and COMMIT, or ROLLBACK if fn fails, panics or returns 0.
func (p *sqlitePool) transaction(ctx context.Context, begin, sync string, fn func(*sqliteSession) (int64, error)) error {
	c, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	open := false
	defer func() {
		if open {
			open = c.do("ROLLBACK") != nil
		}
		p.release(c, open)
	}()
	if err := c.setSync(ctx, sync); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := c.do(begin); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	open = true
	rev, err := fn(c)
	if err == nil && rev > 0 {
		err = ctx.Err()
	}
	if err != nil || rev == 0 {
		return err
	}
	if err := c.do("COMMIT"); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	open = false
	return nil
}

func (p *sqlitePool) acquire(ctx context.Context) (*sqliteSession, error) {
	select {
	case c := <-p.free:
		if c != nil {
			return c, nil
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := p.db.Conn(context.WithoutCancel(ctx))
	if err != nil {
		p.free <- nil
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	return &sqliteSession{conn: conn, statements: map[string]*sql.Stmt{}, sync: syncFull}, nil
}

// release gives c back; one whose transaction could not be ended is thrown away.
func (p *sqlitePool) release(c *sqliteSession, broken bool) {
	if broken {
		c.discard()
		c = nil
	}
	p.free <- c
}

func (p *sqlitePool) close() error {
	var errs []error
	for range cap(p.free) {
		if c := <-p.free; c != nil {
			errs = append(errs, c.forget(), c.conn.Close())
		}
	}
	return errors.Join(append(errs, p.db.Close())...)
}

var _ resource.Store = (*Store)(nil)
