package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// migrationLock is the key of the advisory lock under which one server at a time migrates.
const migrationLock = 0x63756c76657274 // "culvert"

// postgres is the engine on a PostgreSQL database.
type postgres struct {
	pool    *pgxpool.Pool
	channel string      // of NOTIFY; one for each schema, since each has revisions of its own
	ready   atomic.Bool // the schema is there
	known   string      // the incarnation that prepare, and later watch, found
}

func openPostgres(ctx context.Context, url string) (*postgres, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err) // pgx leaves the password out
	}
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // rows are read in binary formats
	}
	e := &postgres{}
	config.AfterConnect = e.connected
	if e.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := e.prepare(ctx); err != nil {
		e.pool.Close()
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	return e, nil
}

// connected makes sure that a new connection of the pool sees no revision for the second time.
func (e *postgres) connected(ctx context.Context, c *pgx.Conn) (err error) {
	if e.ready.Load() {
		_, err = incarnation(ctx, c)
	}
	return err
}

// prepare checks the database and migrates it.
func (e *postgres) prepare(ctx context.Context) (err error) {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var encoding, schema string
	const facts = "SELECT pg_encoding_to_char(encoding), COALESCE(current_schema(), '')" +
		" FROM pg_database WHERE datname = current_database()"
	if err := conn.QueryRow(ctx, facts).Scan(&encoding, &schema); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database's encoding is %s: it must be UTF8", encoding)
	}
	e.channel = "culvert." + schema
	e.channel = e.channel[:min(len(e.channel), 63)] // PostgreSQL's limit for a name
	if err := e.migrate(ctx, conn); err != nil {
		return err
	}
	e.ready.Store(true)
	e.known, err = incarnation(ctx, conn.Conn())
	return err
}

func (e *postgres) migrate(ctx context.Context, conn *pgxpool.Conn) (err error) {
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
		return err
	}
	defer func() {
		_, unlock := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrationLock)
		err = errors.Join(err, unlock)
	}()
	if _, err := conn.Exec(ctx, `CREATE COLLATION IF NOT EXISTS "BINARY" (LOCALE = 'C')`); err != nil {
		return err
	}
	db := stdlib.OpenDB(*e.pool.Config().ConnConfig)
	if err := errors.Join(migrate(ctx, goose.DialectPostgres, db), db.Close()); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE UNLOGGED TABLE IF NOT EXISTS incarnation (id text NOT NULL)")
	return err
}

func (e *postgres) view(ctx context.Context, fn func(session) error) error {
	o := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return e.transaction(ctx, o, func(c session) (int64, error) { return 0, fn(c) })
}

// change reads committed rows: every statement after the revision's row lock sees all that earlier changes committed,
// and no other change can commit until this one ends. A snapshot taken before the lock would be stale instead.
func (e *postgres) change(ctx context.Context, fn func(session) (int64, error)) error {
	return e.transaction(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, fn)
}

// observe leaves it to the server when the commit reaches the disk.
func (e *postgres) observe(ctx context.Context, fn func(session) (int64, error)) error {
	o := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
	return e.transaction(ctx, o, func(c session) (int64, error) {
		if _, err := c.exec(ctx, "SET LOCAL synchronous_commit TO off"); err != nil {
			return 0, fmt.Errorf("committing without waiting: %w", err)
		}
		return fn(c)
	})
}

// begin takes another connection of the pool where the first is dead, as all are that were idle when PostgreSQL ended and
// came back: a BEGIN that fails has done nothing.
func (e *postgres) begin(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	for n := e.pool.Stat().MaxConns(); ; n-- {
		tx, err := e.pool.BeginTx(ctx, o)
		var unreached *pgconn.ConnectError
		if err == nil || n <= 0 || ctx.Err() != nil || errors.As(err, &unreached) {
			return tx, err
		}
	}
}

func (e *postgres) transaction(ctx context.Context, o pgx.TxOptions, fn func(session) (int64, error)) error {
	tx, err := e.begin(ctx, o)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	// After a commit this does nothing; a connection that cannot roll back is thrown away by the pool.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	rev, err := fn(postgresSession{tx})
	if err != nil || rev == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", e.channel, fmt.Sprint(rev)); err != nil {
		return fmt.Errorf("notifying: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// classify: codes of PostgreSQL's appendix A. Version 18 reports RESTRICT as 23001, earlier ones as 23503.
func (e *postgres) classify(err error) fault {
	if pgconn.SafeToRetry(err) {
		return faultRetry
	}
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return faultOther
	}
	switch pe.Code {
	case "23505":
		return faultUnique
	case "23503", "23001":
		return faultForeign
	case "40001", "40P01":
		return faultRetry
	}
	return faultOther
}

func (e *postgres) close() error {
	e.pool.Close()
	return nil
}

// watch listens for the revisions of other servers, and again after every failure.
func (e *postgres) watch(ctx context.Context, s *Store) {
	for n := 0; ctx.Err() == nil; n++ {
		heard, err := e.listen(ctx, s)
		if ctx.Err() != nil {
			return
		}
		s.log.Error("listening for changes", "error", err)
		if heard {
			n = 0
		}
		if pause(ctx, n) != nil {
			return
		}
	}
}

// listen runs until its connection fails. What was missed before it began is read from the database; whether observations may
// be lost since the last time is said.
func (e *postgres) listen(ctx context.Context, s *Store) (heard bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, e.pool.Config().ConnConfig)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{e.channel}.Sanitize()); err != nil {
		return false, err
	}
	id, err := incarnation(ctx, conn)
	if err != nil {
		return false, err
	}
	if id != e.known {
		s.log.Warn("the database has crashed: gateways are asked again for what they saw")
		e.known = id
		e.pool.Reset() // its connections are dead
		s.hub.lose()
	}
	for first := true; ; first = false {
		var rev int64
		if err := conn.QueryRow(ctx, "SELECT n FROM revision").Scan(&rev); err != nil {
			return true, err
		}
		s.hub.advance(rev)
		if first {
			s.hub.wakeAll()
		}
		if err := e.wait(ctx, conn); err != nil {
			return true, err
		}
	}
}

// wait returns after a notification, or after a while so that the caller's query proves the connection alive.
func (e *postgres) wait(ctx context.Context, conn *pgx.Conn) error {
	idle, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	_, err := conn.WaitForNotification(idle)
	if err != nil && ctx.Err() == nil && idle.Err() != nil && !conn.IsClosed() {
		return nil
	}
	return err
}

// postgresSession is one PostgreSQL transaction. pgx prepares and caches the statements of a connection.
type postgresSession struct{ tx pgx.Tx }

func (c postgresSession) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := c.tx.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

// query hands out the bytes as they came: text and bytea are sent as they are in pgx's default formats.
func (c postgresSession) query(ctx context.Context, _ bool, sql string, args []any, each func([][]byte) error) error {
	rows, err := c.tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.RawValues()); err != nil {
			return err
		}
	}
	return rows.Err()
}
