package topology

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// seen loads what the caller of op may see; the kind's 404 for everything else.
func seen[T any](t *Topology, op *crud.Op, kind, id string) (*T, resource.Row, error) {
	v, row, err := crud.Load[T](op, op.Tx, kind, id)
	if errors.Is(err, resource.ErrNotFound) || err == nil && !row.Shared && !op.Caller.MayRead(row.ProjectID) {
		return nil, row, t.info[kind].ErrNotFound(id)
	}
	return v, row, err
}

// load loads what must be there because another row refers to it.
func load[T any](ctx context.Context, r resource.Reader, kind, id string) (*T, resource.Row, error) {
	v, row, err := crud.Load[T](ctx, r, kind, id)
	if err != nil {
		return nil, row, fmt.Errorf("load %s %s: %w", kind, id, err)
	}
	return v, row, nil
}

// where loads every resource of a kind whose text column has this value, oldest first.
func where[T any](ctx context.Context, r resource.Reader, kind, column, value string) ([]*T, error) {
	list, err := crud.LoadAll[T](ctx, r, resource.Query{Kind: kind, Filters: equal(column, value)})
	if err != nil {
		return nil, fmt.Errorf("list %s by %s: %w", kind, column, err)
	}
	return list, nil
}

func equal(column, value string) []resource.Filter {
	return []resource.Filter{{Column: resource.Column{Name: column, Type: resource.Text}, Values: []string{value}}}
}

// encode writes JSON without HTML escapes, as every document is.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// adminNeeded is the 403 of an attribute that only an admin may set.
func adminNeeded(verb, kind, attr string) error {
	return resource.Errorf(403, "PolicyNotAuthorized", "%s_%s:%s is disallowed by policy: it needs the role admin", verb, kind, attr)
}
