package crud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"culvert/internal/resource"
)

// Rules are what is special to one kind; a nil function means nothing special. They run inside of the change, after the
// attributes were checked and set, and may read and write any row.
type Rules[T any] struct {
	// Prepare runs before the change begins, to ask other hosts what the rules will have to know: a change must not wait
	// for them, since all others wait for it. id is "" for a create.
	Prepare func(ctx context.Context, id string, sent resource.Attrs) error
	Create  func(op *Op, new *T) error
	Update  func(op *Op, old, new *T) error
	Delete  func(op *Op, old *T) error
	Refs    func(*T) []string // rows that this one needs
	Uniq    func(*T) string
	Shared  func(*T) bool
	Time    func(*Op) string // how created_at and updated_at are written; nil is Op.Now
	// Filter turns one of the kind's Filters into one that the store understands; values are never empty.
	Filter func(ctx context.Context, r resource.Reader, name string, values []string) (resource.Filter, error)
	// Stored runs after the row was written or, with a nil new, deleted.
	Stored func(op *Op, old, new *T) error
}

// Kind is a resource.Kind with its rules.
type Kind interface {
	Info() *resource.Kind
	prepare(ctx context.Context, id string, sent resource.Attrs) error
	create(*Op) (resource.Row, error)
	update(*Op, resource.Row) (resource.Row, error)
	delete(*Op, resource.Row) error
	filter(ctx context.Context, r resource.Reader, name string, values []string) (resource.Filter, error)
}

// Define joins a kind, its struct and its rules.
func Define[T any, P resource.Of[T]](info *resource.Kind, r Rules[T]) Kind {
	return &kind[T, P]{info, r}
}

type kind[T any, P resource.Of[T]] struct {
	info  *resource.Kind
	rules Rules[T]
}

func (k *kind[T, P]) Info() *resource.Kind { return k.info }

func (k *kind[T, P]) prepare(ctx context.Context, id string, sent resource.Attrs) error {
	if k.rules.Prepare == nil {
		return nil
	}
	return k.rules.Prepare(ctx, id, sent)
}

func (k *kind[T, P]) create(op *Op) (resource.Row, error) {
	v := P(new(T))
	k.info.Defaults(v)
	k.info.Apply(op.Sent, v)
	h := v.Base()
	h.ID, h.CreatedAt, h.UpdatedAt, h.RevisionNumber = op.Svc.NewID(), k.now(op), k.now(op), op.Tx.Next()
	op.Intent = true
	if k.rules.Create != nil {
		if err := k.rules.Create(op, (*T)(v)); err != nil {
			return resource.Row{}, err
		}
	}
	row := resource.Row{Kind: k.info.Name, ID: h.ID, ProjectID: h.ProjectID, CreatedAt: h.CreatedAt}
	if err := k.fill(op, &row, v); err != nil {
		return row, err
	}
	if err := op.Tx.Insert(op, row); err != nil {
		return row, fmt.Errorf("insert %s: %w", k.info.Name, err)
	}
	return row, k.stored(op, nil, (*T)(v))
}

func (k *kind[T, P]) update(op *Op, row resource.Row) (resource.Row, error) {
	before, after := P(new(T)), P(new(T))
	if err := errors.Join(json.Unmarshal(row.Doc, before), json.Unmarshal(row.Doc, after)); err != nil {
		return row, fmt.Errorf("%s %s: %w", k.info.Name, row.ID, err)
	}
	k.info.Apply(op.Sent, after)
	if !k.secretGiven(op) && reflect.DeepEqual(before, after) {
		return row, nil
	}
	if k.rules.Update != nil {
		if err := k.rules.Update(op, (*T)(before), (*T)(after)); err != nil {
			return row, err
		}
	}
	h := after.Base()
	h.UpdatedAt, h.RevisionNumber = k.now(op), op.Tx.Next()
	if err := k.fill(op, &row, after); err != nil {
		return row, err
	}
	if err := op.Tx.Update(op, row); err != nil {
		return row, fmt.Errorf("update %s %s: %w", k.info.Name, row.ID, err)
	}
	return row, k.stored(op, (*T)(before), (*T)(after))
}

func (k *kind[T, P]) delete(op *Op, row resource.Row) error {
	v := P(new(T))
	if err := json.Unmarshal(row.Doc, v); err != nil {
		return fmt.Errorf("%s %s: %w", k.info.Name, row.ID, err)
	}
	if k.rules.Delete != nil {
		if err := k.rules.Delete(op, (*T)(v)); err != nil {
			return err
		}
	}
	users, err := op.Tx.Users(op, row.ID)
	if err != nil {
		return fmt.Errorf("users of %s %s: %w", k.info.Name, row.ID, err)
	}
	if len(users) > 0 {
		return k.info.ErrInUse(row.ID, users[0])
	}
	if err := op.Tx.Delete(op, k.info.Name, row.ID); err != nil {
		return fmt.Errorf("delete %s %s: %w", k.info.Name, row.ID, err)
	}
	return k.stored(op, (*T)(v), nil)
}

func (k *kind[T, P]) now(op *Op) string {
	if k.rules.Time == nil {
		return op.Now
	}
	return k.rules.Time(op)
}

func (k *kind[T, P]) filter(ctx context.Context, r resource.Reader, name string, values []string) (resource.Filter, error) {
	if k.rules.Filter == nil {
		return resource.Filter{}, fmt.Errorf("%s has no filter %s", k.info.Name, name)
	}
	return k.rules.Filter(ctx, r, name, values)
}

func (k *kind[T, P]) stored(op *Op, before, after *T) error {
	if k.rules.Stored == nil {
		return nil
	}
	return k.rules.Stored(op, before, after)
}

// fill puts the resource into its row.
func (k *kind[T, P]) fill(op *Op, row *resource.Row, v P) (err error) {
	t := (*T)(v)
	if row.Doc, err = resource.Encode(t); err != nil {
		return fmt.Errorf("encode %s: %w", k.info.Name, err)
	}
	if k.rules.Refs != nil {
		row.Refs = append([]string{}, k.rules.Refs(t)...)
	}
	if k.rules.Uniq != nil {
		row.Uniq = k.rules.Uniq(t)
	}
	row.Shared = k.rules.Shared != nil && k.rules.Shared(t)
	if op.Intent {
		row.Intent = op.Tx.Next()
	}
	if !k.secretGiven(op) {
		return nil
	}
	a := k.info.Secret()
	row.Sealed, err = op.Svc.Sealer.Seal(a.Name, row.ID, []byte(fmt.Sprint(op.Sent[a.Name])))
	return err
}

func (k *kind[T, P]) secretGiven(op *Op) bool {
	a := k.info.Secret()
	return a != nil && op.Given(a.Name)
}

// Load reads one resource; resource.ErrNotFound if there is none.
func Load[T any](ctx context.Context, r resource.Reader, kind, id string) (*T, resource.Row, error) {
	row, err := r.Get(ctx, kind, id)
	if err != nil {
		return nil, row, err
	}
	v := new(T)
	if err := json.Unmarshal(row.Doc, v); err != nil {
		return nil, row, fmt.Errorf("%s %s: %w", kind, id, err)
	}
	return v, row, nil
}

// LoadAll reads every resource that the query names.
func LoadAll[T any](ctx context.Context, r resource.Reader, q resource.Query) ([]*T, error) {
	var out []*T
	err := r.Find(ctx, q, func(row *resource.Row) error {
		v := new(T)
		if err := json.Unmarshal(row.Doc, v); err != nil {
			return fmt.Errorf("%s %s: %w", q.Kind, row.ID, err)
		}
		out = append(out, v)
		return nil
	})
	return out, err
}

// Save writes a resource that a rule changed besides its own; with intent the change matters to a gateway.
func Save(op *Op, row resource.Row, v any, intent bool) (err error) {
	if row.Doc, err = resource.Encode(v); err != nil {
		return fmt.Errorf("encode %s: %w", row.Kind, err)
	}
	row.Refs = nil
	if intent {
		row.Intent = op.Tx.Next()
	}
	if err := op.Tx.Update(op, row); err != nil {
		return fmt.Errorf("update %s %s: %w", row.Kind, row.ID, err)
	}
	return nil
}
