package store

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"culvert/internal/resource"
)

// maxArgs is how many values one query may bind: SQLite takes 32,766, PostgreSQL 65,535.
const maxArgs = 32_000

// ErrTooManyValues is the answer to a query with more filter values than an engine can bind.
var ErrTooManyValues = errors.New("too many values in a filter")

// noNumber stands for a number that is null: it sorts first, and no filter names it.
const noNumber = math.MinInt64 + 1

// builder makes the SQL of a Query. Names come from resource.Column and are checked, values are always bound.
type builder struct {
	args    []any
	scope   string // condition for kind and project
	filter  string // further conditions, each beginning with AND
	page    string // condition for the marker, beginning with AND
	keys    []key  // sort keys, the id last
	reverse bool
	nothing bool // no row can match
	named   bool // a filter names few rows by its index
}

// key is one sort key.
type key struct {
	column
	desc bool
}

// column is an attribute as SQL.
type column struct {
	expr string // never NULL
	typ  resource.Type
}

// newBuilder makes the conditions of q except for its marker.
func newBuilder(q resource.Query) (*builder, error) {
	b := &builder{reverse: q.Reverse, nothing: !plain(q.Kind) || !plain(q.ProjectID)}
	b.scope = "kind = " + b.text(q.Kind)
	if q.ProjectID != "" && q.WithShared {
		b.scope += " AND (project_id = " + b.text(q.ProjectID) + " OR shared)"
	} else if q.ProjectID != "" {
		b.scope += " AND project_id = " + b.text(q.ProjectID)
	}
	if err := b.order(q.Order); err != nil {
		return nil, err
	}
	if q.After > 0 {
		b.filter += " AND rev > " + b.arg(q.After)
	}
	for _, f := range q.Filters {
		if err := b.in(f); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// arg binds v and returns its placeholder.
func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return "$" + strconv.Itoa(len(b.args))
}

// text binds v for a comparison with a column. It is no bare placeholder: SQLite plans a comparison of a column with one by
// its value, and so would prepare the whole statement again for every other value, which costs more than most queries.
func (b *builder) text(v any) string { return "(" + b.arg(v) + " || '')" }

// bind binds a filter's value: numbers like texts (see text).
func (b *builder) bind(c column, v any) string {
	if c.typ == resource.Text {
		return b.text(v)
	}
	return "(" + b.arg(v) + " + CAST(0 AS bigint))"
}

// order sets the sort keys.
func (b *builder) order(order []resource.Order) error {
	if len(order) == 0 {
		b.keys = append(b.keys, key{column: column{expr: "created_at"}})
	}
	for _, o := range order {
		c, err := columnOf(o.Column)
		if err != nil {
			return err
		}
		b.keys = append(b.keys, key{column: c, desc: o.Desc})
		if c.expr == "id" { // unique: what follows decides nothing
			return nil
		}
	}
	b.keys = append(b.keys, key{column: column{expr: "id"}})
	return nil
}

// in adds the condition that a column has one of the filter's values. A value that the column's type cannot have
// matches nothing.
func (b *builder) in(f resource.Filter) error {
	c, err := columnOf(f.Column)
	if err != nil {
		return err
	}
	var values []string
	seen := make(map[any]bool, len(f.Values))
	for _, text := range f.Values {
		if v, ok := c.value(text); ok && !seen[v] {
			seen[v] = true
			values = append(values, b.bind(c, v))
		}
	}
	switch {
	case len(b.args) > maxArgs:
		return fmt.Errorf("%s: %w", f.Column.Name, ErrTooManyValues)
	case len(values) == 0:
		b.nothing = true
		return nil
	case len(values) == 1:
		b.filter += " AND " + c.expr + " = " + values[0]
	default:
		b.filter += " AND " + c.expr + " IN (" + strings.Join(values, ", ") + ")"
	}
	b.named = b.named || f.Column.Name == "name"
	return nil
}

// marker is the query for the sort keys of the marker's row, in what the project may see.
func (b *builder) marker(q resource.Query) (string, []any) {
	n := 1
	if q.ProjectID != "" {
		n = 2
	}
	var sql strings.Builder
	sql.WriteString("SELECT ")
	for i, k := range b.keys {
		if i > 0 {
			sql.WriteString(", ")
		}
		sql.WriteString("CAST(" + k.expr + " AS text)")
	}
	sql.WriteString(" FROM resources WHERE " + b.scope + " AND id = ($" + strconv.Itoa(n+1) + " || '')")
	return sql.String(), append(b.args[:n:n], q.Marker)
}

// from sets the page's condition: the rows after (in reverse: before) the row with these sort keys.
func (b *builder) from(cols [][]byte) error {
	holders := make([]string, len(b.keys))
	for i, k := range b.keys {
		var v any = string(cols[i])
		if k.typ != resource.Text {
			n, err := strconv.ParseInt(string(cols[i]), 10, 64)
			if err != nil {
				return fmt.Errorf("sort key %s: %w", k.expr, err)
			}
			v = n
		}
		holders[i] = b.arg(v)
	}
	b.page = " AND " + b.beyond(0, holders)
	return nil
}

// beyond compares the keys from i on: k1 >= v1 AND (k1 > v1 OR …). It begins with a plain range, which an index can use.
func (b *builder) beyond(i int, holders []string) string {
	k, op := b.keys[i], " > "
	if k.desc != b.reverse {
		op = " < "
	}
	strict := k.expr + op + holders[i]
	if i == len(b.keys)-1 {
		return strict
	}
	loose := k.expr + strings.TrimRight(op, " ") + "= " + holders[i]
	return loose + " AND (" + strict + " OR (" + b.beyond(i+1, holders) + "))"
}

func (b *builder) where() string { return b.scope + b.filter + b.page }

// rows is the whole query.
func (b *builder) rows(q resource.Query) string {
	if q.Limit <= 0 {
		return "SELECT " + rowColumns + " FROM resources WHERE " + b.where() + " ORDER BY " + b.orderBy(false)
	}
	if !b.reverse {
		return "SELECT " + rowColumns + " FROM resources WHERE " + b.where() +
			" ORDER BY " + b.orderBy(false) + " LIMIT " + b.arg(int64(q.Limit))
	}
	return "SELECT " + rowColumns + " FROM (SELECT head, doc, sealed, id, project_id, created_at FROM resources WHERE " +
		b.where() + " ORDER BY " + b.orderBy(true) + " LIMIT " + b.arg(int64(q.Limit)) + ") AS page ORDER BY " +
		b.orderBy(false)
}

// orderBy lists the sort keys. SQLite, which knows nothing of how rare a name is, would rather walk all rows in the order
// of an index than look up few by name and sort them; an expression has no such index.
func (b *builder) orderBy(flip bool) string {
	terms := make([]string, len(b.keys))
	for i, k := range b.keys {
		terms[i] = k.expr
		if b.named && k.typ == resource.Text {
			terms[i] += " || ''"
		}
		if k.desc != flip {
			terms[i] += " DESC"
		}
	}
	return strings.Join(terms, ", ")
}

// columnOf returns the SQL of an attribute. What the table has as a column of its own is read from there.
func columnOf(c resource.Column) (column, error) {
	switch c.Name {
	case "id", "project_id", "created_at":
		return column{expr: c.Name}, nil
	case "tenant_id":
		return column{expr: "project_id"}, nil
	}
	if !validName(c.Name) {
		return column{}, fmt.Errorf("invalid column name %q", c.Name)
	}
	switch c.Type {
	case resource.Number:
		return column{fmt.Sprintf("COALESCE(CAST(doc->>'%s' AS bigint), %d)", c.Name, noNumber), c.Type}, nil
	case resource.Bool: // the engines disagree about ->> of a boolean; null sorts first
		return column{fmt.Sprintf("CASE CAST(doc->'%s' AS text) WHEN 'true' THEN 2 WHEN 'false' THEN 1 ELSE 0 END",
			c.Name), c.Type}, nil
	default: // the index resources_name has this very expression
		return column{`(COALESCE(doc->>'` + c.Name + `', '') COLLATE "BINARY")`, c.Type}, nil
	}
}

// value turns a filter's text into what is bound.
func (c column) value(text string) (any, bool) {
	switch c.typ {
	case resource.Number:
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil && n != noNumber
	case resource.Bool:
		if text == "true" {
			return int64(2), true
		}
		return int64(1), text == "false"
	default:
		return text, plain(text)
	}
}

func validName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != ':' {
			return false
		}
	}
	return s != ""
}
