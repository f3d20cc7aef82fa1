package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"culvert/internal/resource"
)

// rowColumns is what unpack reads: everything but the sealed bytes in one text.
const rowColumns = "head || CAST(doc AS text), sealed"

// errNested is the answer to a read in the callback of another one: the connection is busy with that one's rows.
var errNested = errors.New("a read inside the callback of another read")

// errHead means that the generated column is not what this version of the schema makes.
var errHead = errors.New("malformed head of a stored row")

// reader reads in one transaction.
type reader struct {
	session session
	busy    bool
}

func (r *reader) query(ctx context.Context, point bool, sql string, args []any, each func([][]byte) error) error {
	if r.busy {
		return errNested
	}
	r.busy = true
	defer func() { r.busy = false }()
	return r.session.query(ctx, point, sql, args, each)
}

// Rev is the newest revision in this snapshot.
func (r *reader) Rev(ctx context.Context) (int64, error) {
	return r.number(ctx, true, "SELECT CAST(n AS text) FROM revision", nil)
}

// number runs a query that answers one number.
func (r *reader) number(ctx context.Context, point bool, sql string, args []any) (n int64, err error) {
	err = r.query(ctx, point, sql, args, func(cols [][]byte) (err error) {
		n, err = strconv.ParseInt(string(cols[0]), 10, 64)
		return err
	})
	return n, err
}

// Get returns one row, ErrNotFound if this kind has none with this id. The bytes of it are the caller's.
func (r *reader) Get(ctx context.Context, kind, id string) (row resource.Row, err error) {
	const sql = "SELECT " + rowColumns + " FROM resources WHERE id = ($1 || '') AND kind = ($2 || '')" // as builder.text says
	found := false
	if plain(id) && plain(kind) {
		err = r.query(ctx, true, sql, []any{id, kind}, func(cols [][]byte) error {
			found = true
			row.Kind = kind
			return unpack(&row, bytes.Clone(cols[0]), bytes.Clone(cols[1]))
		})
	}
	if err != nil {
		return resource.Row{}, fmt.Errorf("reading %s %q: %w", kind, id, err)
	}
	if !found {
		return resource.Row{}, fmt.Errorf("%s %q: %w", kind, id, resource.ErrNotFound)
	}
	return row, nil
}

// Find calls each for every row that q names. The row and its bytes are reused for the next one.
func (r *reader) Find(ctx context.Context, q resource.Query, each func(*resource.Row) error) error {
	b, err := r.build(ctx, q)
	if err != nil || b.nothing {
		return err
	}
	var row resource.Row
	return r.query(ctx, false, b.rows(q), b.args, func(cols [][]byte) error {
		row = resource.Row{Kind: q.Kind}
		if err := unpack(&row, cols[0], cols[1]); err != nil {
			return err
		}
		return each(&row)
	})
}

// build makes the query, and looks up its marker.
func (r *reader) build(ctx context.Context, q resource.Query) (*builder, error) {
	b, err := newBuilder(q)
	if err != nil || q.Marker == "" {
		return b, err
	}
	sql, args := b.marker(q)
	found := false
	if plain(q.Marker) && plain(q.ProjectID) {
		err = r.query(ctx, true, sql, args, func(cols [][]byte) error {
			found = true
			return b.from(cols)
		})
	}
	if err == nil && !found {
		err = resource.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("marker %s %q: %w", q.Kind, q.Marker, err)
	}
	return b, nil
}

// Count is the number of rows that Find would name, without Limit and Marker.
func (r *reader) Count(ctx context.Context, q resource.Query) (int64, error) {
	q.Order, q.Marker = nil, ""
	b, err := newBuilder(q)
	if err != nil || b.nothing {
		return 0, err
	}
	return r.number(ctx, false, "SELECT CAST(count(*) AS text) FROM resources WHERE "+b.where(), b.args)
}

// Users names the rows that refer to id, ordered by kind and id.
func (r *reader) Users(ctx context.Context, id string) (users []resource.Ref, err error) {
	const sql = "SELECT kind, id FROM refs JOIN resources ON id = src WHERE dst = ($1 || '') ORDER BY kind, id"
	if !plain(id) {
		return nil, nil
	}
	err = r.query(ctx, false, sql, []any{id}, func(cols [][]byte) error {
		users = append(users, resource.Ref{Kind: string(cols[0]), ID: string(cols[1])})
		return nil
	})
	return users, err
}

// unpack fills row from the head column followed by the document; see migrations. Doc and Sealed alias the arguments,
// the strings do not.
func unpack(row *resource.Row, packed, sealed []byte) error {
	var n [7]int64
	for i := range n {
		var ok bool
		if n[i], packed, ok = cutNumber(packed); !ok {
			return errHead
		}
	}
	id, project, created, uniq := int(n[3]), int(n[4]), int(n[5]), int(n[6])
	size := id + project + created + uniq
	if size > len(packed) {
		return errHead
	}
	text := string(packed[:size])
	row.Rev, row.Intent, row.Shared = n[0], n[1], n[2] == 1
	row.ID, text = text[:id], text[id:]
	row.ProjectID, text = text[:project], text[project:]
	row.CreatedAt, row.Uniq = text[:created], text[created:]
	row.Doc, row.Sealed = packed[size:], sealed
	return nil
}

// cutNumber reads a decimal number and the space after it.
func cutNumber(b []byte) (n int64, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + int64(c-'0')
		case c == ' ' && i > 0:
			return n, b[i+1:], true
		default:
			return 0, nil, false
		}
	}
	return 0, nil, false
}

// plain says whether both engines can hold s as text: PostgreSQL refuses NUL and anything but UTF-8. What cannot be
// stored cannot be found either.
func plain(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
