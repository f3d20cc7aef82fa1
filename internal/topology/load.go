package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

// usersOf loads every resource of a kind that refers to id, oldest first. It goes by the store's references, which are
// indexed, where a filter on an attribute would read the whole kind.
func usersOf[T any](ctx context.Context, r resource.Reader, kind, id string) ([]*T, error) {
	refs, err := r.Users(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("users of %s: %w", id, err)
	}
	var ids []string
	for _, ref := range refs {
		if ref.Kind == kind {
			ids = append(ids, ref.ID)
		}
	}
	var out []*T
	for some := range slices.Chunk(ids, maxValues) {
		list, err := crud.LoadAll[T](ctx, r, resource.Query{Kind: kind, Filters: anyOf("id", some)})
		if err != nil {
			return nil, fmt.Errorf("%ss that use %s: %w", kind, id, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

// maxValues is how many values a filter may have without coming near any engine's limit.
const maxValues = 10_000

func anyOf(column string, values []string) []resource.Filter {
	return []resource.Filter{{Column: resource.Column{Name: column, Type: resource.Text}, Values: values}}
}

// adminNeeded is the 403 of an attribute that only an admin may set.
func adminNeeded(verb, kind, attr string) error {
	return resource.Errorf(403, "PolicyNotAuthorized", "%s_%s:%s is disallowed by policy: it needs the role admin", verb, kind, attr)
}
