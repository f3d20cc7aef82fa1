package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// leap is more than the revisions that a crash of PostgreSQL can take back: those of three times its wal_writer_delay.
const leap = 1 << 20

// incarnation answers what PostgreSQL has been since its last crash: an id in a table that is not logged, which a crash empties.
// Every connection asks before it is used, and a crash ends them all. The first one afterwards takes a new id, and leaps over
// the revisions that were given to observations and are lost with them: nobody may get them again, for somebody has seen them.
func incarnation(ctx context.Context, c *pgx.Conn) (id string, err error) {
	const read = "SELECT id FROM incarnation"
	err = c.QueryRow(ctx, read).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			return errors.Join(incarnate(ctx, tx), tx.QueryRow(ctx, read).Scan(&id))
		})
	}
	if err != nil {
		return "", fmt.Errorf("whether the database has crashed: %w", err)
	}
	return id, nil
}

// incarnate locks the revision first, as every change does: of several servers one finds the table empty.
func incarnate(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SELECT n FROM revision FOR UPDATE"); err != nil {
		return err
	}
	const take = "INSERT INTO incarnation (id) SELECT CAST($1 AS text) WHERE NOT EXISTS (SELECT 1 FROM incarnation)"
	done, err := tx.Exec(ctx, take, uuid.NewString())
	if err != nil || done.RowsAffected() == 0 {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE revision SET n = n + $1 WHERE n > 0", int64(leap)) // 0: the database is new
	return err
}
