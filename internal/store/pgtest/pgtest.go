// Package pgtest runs a real PostgreSQL for tests: Debian's package, in a temporary folder, on a unix socket only, as
// an unprivileged user. Nothing but tests may import it.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startLimit and stopLimit bound how long a server may take to come and to go.
const (
	startLimit = 60 * time.Second
	stopLimit  = 20 * time.Second
)

// Cluster is a running server.
type Cluster struct {
	dir       string
	bin       string              // folder of its programs
	who       *syscall.Credential // it runs as this user; nil: as this process's
	databases atomic.Int64
	server    *exec.Cmd
	done      chan struct{} // closed when the server has ended
}

// Start runs a server for this test and returns the URL of an empty database on it.
func Start(t testing.TB) string {
	t.Helper()
	return StartCluster(t).Database(t)
}

// StartCluster runs a server until the test and its subtests end. Its databases sort text by the rules of English, not
// as bytes, so that a query which relies on the database's collation shows.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c, err := start()
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Errorf("stopping PostgreSQL: %v", err)
		}
	})
	return c
}

// Database makes an empty database and returns its URL. It goes with the cluster.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name := "test" + strconv.FormatInt(c.databases.Add(1), 10)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		t.Fatalf("connecting to PostgreSQL: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name+" STRATEGY file_copy"); err != nil {
		t.Fatalf("making a database: %v", err)
	}
	return c.url(name)
}

func (c *Cluster) url(database string) string {
	q := url.Values{"host": {c.dir}, "user": {"postgres"}}
	return "postgres:///" + database + "?" + q.Encode()
}

func start() (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	who, err := account()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "culvert-pg-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, bin: bin, who: who}
	if err := errors.Join(c.initialise(), c.run()); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// initialise makes the data folder.
func (c *Cluster) initialise() error {
	if c.who != nil {
		if err := os.Chown(c.dir, int(c.who.Uid), int(c.who.Gid)); err != nil {
			return err
		}
	}
	initdb := exec.Command(filepath.Join(c.bin, "initdb"), "-D", c.data(), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")
	initdb.Dir, initdb.SysProcAttr = c.dir, &syscall.SysProcAttr{Credential: c.who}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Crash ends the server as a crash does (SIGQUIT: everything that is in memory alone is lost) and starts it again.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	if err := c.server.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatalf("crashing PostgreSQL: %v", err)
	}
	<-c.done
	if err := c.run(); err != nil {
		t.Fatalf("PostgreSQL after a crash: %v", err)
	}
}

// Hoard lets the server keep in memory what nobody waits for, so that a Crash takes it back.
func (c *Cluster) Hoard(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		t.Fatalf("connecting to PostgreSQL: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range []string{"ALTER SYSTEM SET wal_writer_delay = '10s'", "ALTER SYSTEM SET wal_writer_flush_after = '1GB'", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// run starts the server and waits until it answers.
func (c *Cluster) run() error {
	server := exec.Command(filepath.Join(c.bin, "postgres"), "-D", c.data(), "-k", c.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB")
	// SIGQUIT is PostgreSQL's immediate shutdown: it takes its children along when the test's process dies.
	server.Dir, server.SysProcAttr = c.dir, &syscall.SysProcAttr{Credential: c.who, Pdeathsig: syscall.SIGQUIT}
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	server.Stdout, server.Stderr = log, log
	if err := c.launch(server); err != nil {
		return fmt.Errorf("starting the server: %w", err)
	}
	return c.ready()
}

// launch starts the server from a thread that lives as long as it does: the kernel sends Pdeathsig when the thread ends.
func (c *Cluster) launch(server *exec.Cmd) error {
	started, done := make(chan error), make(chan struct{})
	c.done = done
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := server.Start()
		if err == nil {
			c.server = server
		}
		started <- err
		if err == nil {
			_ = server.Wait() // how it ended does not matter
			close(done)
		}
	}()
	return <-started
}

// ready waits until the server answers.
func (c *Cluster) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.done:
			return c.failure(errors.New("the server ended"))
		case <-ctx.Done():
			return c.failure(err)
		}
	}
}

// failure adds the server's log to err.
func (c *Cluster) failure(err error) error {
	log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
	return fmt.Errorf("%w; its log: %s", err, log)
}

// stop ends the server (SIGINT is its fast shutdown) and removes its folder.
func (c *Cluster) stop() error {
	var err error
	if c.server != nil {
		err = c.server.Process.Signal(syscall.SIGINT)
		select {
		case <-c.done:
			err = nil
		case <-time.After(stopLimit):
			err = errors.Join(err, c.server.Process.Signal(syscall.SIGQUIT))
			<-c.done
		}
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// binaries finds the newest installed server's programs.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	newest, dir := 0, ""
	for _, f := range found {
		d := filepath.Dir(f)
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(d))); err == nil && v > newest {
			newest, dir = v, d
		}
	}
	if dir == "" {
		return "", errors.New("not installed: apt-get install postgresql")
	}
	return dir, nil
}

// account is the user to run as: PostgreSQL refuses root. nil: this process's own.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("the package's user (apt-get install postgresql): %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
