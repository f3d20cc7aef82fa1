package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// maxStatements bounds a connection's prepared statements: filters and sort keys make many texts.
const maxStatements = 100

// sqliteSession is one SQLite connection.
type sqliteSession struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	sync       string // syncFull or syncNormal
	cols       [][]byte
}

// What a commit waits for: FULL for the disk, NORMAL only for the file system.
const (
	syncFull   = "FULL"
	syncNormal = "NORMAL"
)

// setSync says what the next commit waits for. SQLite takes this in while it prepares the statement, so that a prepared one
// would do nothing; and one connection does both, for another one's page cache would be of no use after each commit.
func (c *sqliteSession) setSync(ctx context.Context, sync string) error {
	if c.sync == sync {
		return nil
	}
	if _, err := c.conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous="+sync); err != nil {
		return err
	}
	c.sync = sync
	return nil
}

// prepared returns the statement for text.
func (c *sqliteSession) prepared(text string) (*sql.Stmt, error) {
	if st := c.statements[text]; st != nil {
		return st, nil
	}
	if len(c.statements) >= maxStatements {
		if err := c.forget(); err != nil {
			return nil, err
		}
	}
	st, err := c.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	c.statements[text] = st
	return st, nil
}

// do runs a statement that begins or ends a transaction. It cannot be cancelled: nobody would know what became of it.
func (c *sqliteSession) do(text string) error {
	st, err := c.prepared(text)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(context.Background())
	return err
}

// exec is cancelled only before it begins: SQLite would roll the whole transaction back behind our back.
func (c *sqliteSession) exec(ctx context.Context, text string, args ...any) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	st, err := c.prepared(text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(context.WithoutCancel(ctx), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query reads without a copy of what the driver returns. A point query is not cancelled once it runs: the watch over
// its context costs as much as the query.
func (c *sqliteSession) query(ctx context.Context, point bool, text string, args []any, each func([][]byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if point {
		ctx = context.WithoutCancel(ctx)
	}
	st, err := c.prepared(text)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return errors.Join(c.scan(rows, each), rows.Close())
}

func (c *sqliteSession) scan(rows *sql.Rows, each func([][]byte) error) error {
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	raw, dest := make([]sql.RawBytes, len(names)), make([]any, len(names))
	for i := range raw {
		dest[i] = &raw[i]
	}
	c.cols = make([][]byte, len(names))
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i := range raw {
			c.cols[i] = raw[i]
		}
		if err := each(c.cols); err != nil {
			return err
		}
	}
	return rows.Err()
}

// forget closes the prepared statements.
func (c *sqliteSession) forget() error {
	var errs []error
	for _, st := range c.statements {
		errs = append(errs, st.Close())
	}
	clear(c.statements)
	return errors.Join(errs...)
}

// discard closes the connection for good instead of giving it back to database/sql; its failures tell nothing new.
func (c *sqliteSession) discard() {
	_ = c.forget()
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.conn.Close()
}
