package store

import "context"

// engine is what differs between databases.
type engine interface {
	// view runs fn in a read-only snapshot.
	view(ctx context.Context, fn func(session) error) error
	// change runs fn in a transaction and commits when it returns a revision; on 0 or an error it rolls back.
	change(ctx context.Context, fn func(session) (int64, error)) error
	// observe is change without a wait for the disk: see resource.Store.
	observe(ctx context.Context, fn func(session) (int64, error)) error
	classify(error) fault
	// watch tells s of revisions that other processes wrote, until ctx ends.
	watch(ctx context.Context, s *Store)
	close() error
}

// session is one connection inside a transaction. Every column that a query selects is text or bytes.
type session interface {
	// exec returns the number of rows affected.
	exec(ctx context.Context, sql string, args ...any) (int64, error)
	// query calls each with the columns of every row, nil for NULL, valid until it returns. point says that the query
	// names at most one row by its key and need not be cancelled.
	query(ctx context.Context, point bool, sql string, args []any, each func(cols [][]byte) error) error
}

// fault is what a database's error means here.
type fault int

const (
	faultOther   fault = iota
	faultUnique        // a unique key exists
	faultForeign       // a foreign key has no row, or a row is referred to
	faultRetry         // the transaction may succeed if it is run again; nothing of it was kept
)
