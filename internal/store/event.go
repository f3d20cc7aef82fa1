package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"culvert/internal/resource"
)

// Note adds an event to a row's history, and drops what is beyond the newest that are kept.
func (t *tx) Note(ctx context.Context, e resource.Event, keep int) (fresh bool, err error) {
	const insert = "INSERT INTO events (resource, n, id, created_at, type, doc)" +
		" VALUES ($1, COALESCE((SELECT MAX(n) FROM events WHERE resource = ($1 || '')), 0) + 1, $2, $3, $4, $5)" +
		" ON CONFLICT (resource, id) DO NOTHING RETURNING CAST(n AS text)"
	err = t.write("noting", "an event of", e.Row, func() error {
		if err := check(resource.Row{ID: e.Row, Kind: e.Type, CreatedAt: e.CreatedAt, Uniq: e.ID, Doc: e.Doc}); err != nil {
			return err
		}
		n, err := t.number(ctx, true, insert, []any{e.Row, e.ID, e.CreatedAt, e.Type, string(e.Doc)})
		if err != nil {
			return t.meaning(err, resource.ErrNoRef)
		}
		fresh = n > 0
		if n <= int64(keep) {
			return nil
		}
		_, err = t.exec(ctx, "DELETE FROM events WHERE resource = ($1 || '') AND n <= ($2 + CAST(0 AS bigint))", e.Row, n-int64(keep))
		return err
	})
	return fresh && err == nil, err
}

// Events calls each for every event that q names. The event's document is valid until each returns.
func (r *reader) Events(ctx context.Context, q resource.EventQuery, each func(*resource.Event) error) error {
	b := &builder{}
	where := "resource = " + b.text(q.Row)
	for _, text := range append([]string{q.Row, q.Marker}, q.Types...) {
		if !plain(text) { // nor can it be stored
			return nil
		}
	}
	if q.Marker != "" {
		created, n, err := r.eventKey(ctx, q.Row, q.Marker)
		if err != nil {
			return fmt.Errorf("marker %q among the events of %q: %w", q.Marker, q.Row, err)
		}
		after := " < "
		if q.Oldest != q.Reverse {
			after = " > "
		}
		where += " AND (created_at, n)" + after + "(" + b.text(created) + ", " + b.bind(column{typ: resource.Number}, n) + ")"
	}
	if len(q.Types) > 0 {
		types := make([]string, len(q.Types))
		for i, typ := range q.Types {
			types[i] = b.text(typ)
		}
		where += " AND type IN (" + strings.Join(types, ", ") + ")"
	}
	return r.query(ctx, false, eventRows(b, where, q), b.args, func(cols [][]byte) error {
		return each(&resource.Event{Row: q.Row, ID: string(cols[0]), CreatedAt: string(cols[1]), Type: string(cols[2]), Doc: cols[3]})
	})
}

// eventRows is the whole query.
func eventRows(b *builder, where string, q resource.EventQuery) string {
	const columns = "id, created_at, type, CAST(doc AS text) AS doc"
	by := func(desc bool) string {
		if desc {
			return " ORDER BY created_at DESC, n DESC"
		}
		return " ORDER BY created_at, n"
	}
	if q.Limit <= 0 {
		return "SELECT " + columns + " FROM events WHERE " + where + by(!q.Oldest)
	}
	rows := "SELECT " + columns + ", n FROM events WHERE " + where + by(q.Oldest == q.Reverse) + " LIMIT " + b.arg(int64(q.Limit))
	if !q.Reverse {
		return rows
	}
	return "SELECT id, created_at, type, doc FROM (" + rows + ") AS page" + by(!q.Oldest)
}

// eventKey is where an event stands in its row's history.
func (r *reader) eventKey(ctx context.Context, row, id string) (created string, n int64, err error) {
	err = r.query(ctx, true, "SELECT created_at, CAST(n AS text) FROM events WHERE resource = ($1 || '') AND id = ($2 || '')", []any{row, id}, func(cols [][]byte) (err error) {
		created = string(cols[0])
		n, err = strconv.ParseInt(string(cols[1]), 10, 64)
		return err
	})
	if err == nil && n == 0 {
		err = resource.ErrNotFound
	}
	return created, n, err
}
