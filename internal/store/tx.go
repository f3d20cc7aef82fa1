package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"culvert/internal/resource"
)

// errDocument is the answer to a document that one of the engines could not read again: it would break every list.
var errDocument = errors.New("a document must be a JSON object in UTF-8 without U+0000")

// errText is the answer to an id, kind, project or unique key that PostgreSQL cannot hold.
var errText = errors.New("not UTF-8, or with a NUL byte")

// tx reads and writes in one transaction.
type tx struct {
	reader
	classify func(error) fault
	next     int64
	wrote    bool
	failed   error // of a write: the transaction can only be given up
}

// begin takes the next revision. It is the first statement, because the row lock it takes is what serialises changes
// across servers: whatever is read afterwards, nobody else changes until this transaction ends.
func (t *tx) begin(ctx context.Context) error {
	const sql = "UPDATE revision SET n = n + 1 RETURNING CAST(n AS text)"
	next, err := t.number(ctx, true, sql, nil)
	if err == nil && next == 0 {
		err = errors.New("the table has no row")
	}
	if err != nil {
		return fmt.Errorf("taking a revision: %w", err)
	}
	t.next = next
	return nil
}

// end says which revision to commit, 0 for none.
func (t *tx) end() (int64, error) {
	if t.failed != nil || !t.wrote {
		return 0, t.failed
	}
	return t.next, nil
}

// Next is the revision that this transaction will have.
func (t *tx) Next() int64 { return t.next }

// Settle makes the transaction commit even without a write of rows.
func (t *tx) Settle() { t.wrote = true }

// Rev is the newest revision in this snapshot: this transaction's own once it has written.
func (t *tx) Rev(context.Context) (int64, error) {
	if t.wrote {
		return t.next, nil
	}
	return t.next - 1, nil
}

// Insert adds a row and its references.
func (t *tx) Insert(ctx context.Context, r resource.Row) error {
	const sql = "INSERT INTO resources (id, kind, project_id, shared, rev, intent, created_at, uniq, doc, sealed)" +
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	return t.write("inserting", r.Kind, r.ID, func() error {
		if err := check(r); err != nil {
			return err
		}
		_, err := t.exec(ctx, sql, r.ID, r.Kind, r.ProjectID, r.Shared, t.next, r.Intent, r.CreatedAt, optional(r.Uniq),
			string(r.Doc), secret(r.Sealed))
		if err != nil {
			return t.meaning(err, resource.ErrNoRef)
		}
		return t.refer(ctx, r)
	})
}

// Update replaces a row, and its references unless they are nil.
func (t *tx) Update(ctx context.Context, r resource.Row) error {
	const sql = "UPDATE resources SET project_id = $3, shared = $4, rev = $5, intent = $6, uniq = $7, doc = $8, sealed = $9" +
		" WHERE id = ($1 || '') AND kind = ($2 || '')"
	return t.write("updating", r.Kind, r.ID, func() error {
		if err := check(r); err != nil {
			return err
		}
		n, err := t.exec(ctx, sql, r.ID, r.Kind, r.ProjectID, r.Shared, t.next, r.Intent, optional(r.Uniq), string(r.Doc),
			secret(r.Sealed))
		if err != nil {
			return t.meaning(err, resource.ErrNoRef)
		}
		if n == 0 {
			return resource.ErrNotFound
		}
		if r.Refs == nil {
			return nil
		}
		if _, err := t.exec(ctx, "DELETE FROM refs WHERE src = ($1 || '')", r.ID); err != nil {
			return err
		}
		return t.refer(ctx, r)
	})
}

// Delete removes a row that nothing refers to, with its own references.
func (t *tx) Delete(ctx context.Context, kind, id string) error {
	return t.write("deleting", kind, id, func() error {
		if !plain(kind) || !plain(id) {
			return resource.ErrNotFound
		}
		n, err := t.exec(ctx, "DELETE FROM resources WHERE id = ($1 || '') AND kind = ($2 || '')", id, kind)
		if err != nil {
			return t.meaning(err, resource.ErrInUse)
		}
		if n == 0 {
			return resource.ErrNotFound
		}
		return nil
	})
}

// write runs one write and remembers how it went.
func (t *tx) write(doing, kind, id string, fn func() error) error {
	if t.failed != nil {
		return fmt.Errorf("%s %s %q after a failed write: %w", doing, kind, id, t.failed)
	}
	if err := fn(); err != nil {
		t.failed = fmt.Errorf("%s %s %q: %w", doing, kind, id, err)
		return t.failed
	}
	t.wrote = true
	return nil
}

func (t *tx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if t.busy {
		return 0, errNested
	}
	return t.session.exec(ctx, sql, args...)
}

// refer adds the references of r in one statement.
func (t *tx) refer(ctx context.Context, r resource.Row) error {
	if len(r.Refs) == 0 {
		return nil
	}
	b := builder{}
	src := b.arg(r.ID)
	pairs := make([]string, len(r.Refs))
	for i, dst := range r.Refs {
		if !plain(dst) {
			return resource.ErrNoRef
		}
		pairs[i] = "(" + src + ", " + b.arg(dst) + ")"
	}
	sql := "INSERT INTO refs (src, dst) VALUES " + strings.Join(pairs, ", ") + " ON CONFLICT DO NOTHING"
	_, err := t.exec(ctx, sql, b.args...)
	return t.meaning(err, resource.ErrNoRef)
}

// meaning turns a constraint's error into the contract's; foreign is what a broken reference means in this operation.
func (t *tx) meaning(err, foreign error) error {
	if err == nil {
		return nil
	}
	switch t.classify(err) {
	case faultUnique:
		return resource.ErrDuplicate
	case faultForeign:
		return foreign
	default:
		return err
	}
}

// check refuses what only one of the engines would take.
func check(r resource.Row) error {
	for _, s := range []string{r.ID, r.Kind, r.ProjectID, r.CreatedAt, r.Uniq} {
		if !plain(s) {
			return errText
		}
	}
	doc := bytes.TrimLeft(r.Doc, " \t\r\n")
	if len(doc) == 0 || doc[0] != '{' || !utf8.Valid(doc) || !json.Valid(doc) || hasNUL(doc) {
		return errDocument
	}
	return nil
}

// hasNUL looks for the escape \u0000, which PostgreSQL's json operators refuse. doc is valid JSON.
func hasNUL(doc []byte) bool {
	for {
		i := bytes.IndexByte(doc, '\\')
		if i < 0 {
			return false
		}
		if bytes.HasPrefix(doc[i:], []byte(`\u0000`)) {
			return true
		}
		doc = doc[i+2:] // an escape has at least two bytes, and the second may be a backslash
	}
}

// optional is NULL for "".
func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// secret is NULL for nothing, whatever a driver makes of an empty slice.
func secret(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}
