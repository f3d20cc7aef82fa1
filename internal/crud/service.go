// Package crud is the life of any resource: create, show, list, update and delete under rights, references and revisions.
// What is special to one kind comes as Rules from the package that knows it; no kind's name and no HTTP may enter here.
package crud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Sealer encrypts what must not be readable at rest. Purpose and id are bound to the ciphertext.
type Sealer interface {
	Seal(purpose, id string, plaintext []byte) ([]byte, error)
	Open(purpose, id string, sealed []byte) ([]byte, error)
}

// Config is what a Service needs.
type Config struct {
	Store  resource.Store
	Sealer Sealer
	Now    func() time.Time
	NewID  func() string // a UUID
}

// Service serves every kind that was added to it.
type Service struct {
	Config
	kinds map[string]Kind
	quota Quota
}

// New returns a Service without kinds.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Sealer == nil || c.Now == nil || c.NewID == nil {
		return nil, errors.New("crud: Store, Sealer, Now and NewID must be set")
	}
	return &Service{Config: c, kinds: map[string]Kind{}}, nil
}

// Add makes the service serve these kinds.
func (s *Service) Add(kinds ...Kind) {
	for _, k := range kinds {
		s.kinds[k.Info().Name] = k
	}
}

// Kinds are all kinds, by name.
func (s *Service) Kinds() map[string]Kind { return s.kinds }

// Op is one change in progress: what every rule may look at and act on.
type Op struct {
	context.Context
	Caller identity.Caller
	Tx     resource.Tx
	Sent   resource.Attrs // what the request gave; on create with the defaults
	Now    string         // resource.TimeFormat
	At     time.Time      // the same moment, UTC
	Svc    *Service
	// Intent says that the change matters to a gateway: reports on older revisions then no longer touch the row.
	Intent bool
}

// Given says whether the request gave any of these attributes.
func (op *Op) Given(names ...string) bool {
	for _, n := range names {
		if _, ok := op.Sent[n]; ok {
			return true
		}
	}
	return false
}

// Change runs fn as one change of the system's own, without a caller.
func (s *Service) Change(ctx context.Context, fn func(*Op) error) (int64, error) {
	return s.Store.Change(ctx, func(tx resource.Tx) error { return fn(s.op(ctx, identity.Caller{}, tx)) })
}

// Observe is Change for what can be seen again (resource.Store).
func (s *Service) Observe(ctx context.Context, fn func(*Op) error) (int64, error) {
	return s.Store.Observe(ctx, func(tx resource.Tx) error { return fn(s.op(ctx, identity.Caller{}, tx)) })
}

// View runs fn on one snapshot, without a caller; what fn writes fails.
func (s *Service) View(ctx context.Context, fn func(*Op) error) error {
	return s.Store.View(ctx, func(r resource.Reader) error { return fn(s.op(ctx, identity.Caller{}, readOnly{r})) })
}

// readOnly lets a snapshot be read where a change in progress is read elsewhere.
type readOnly struct{ resource.Reader }

func (readOnly) Next() int64                                  { return 0 }
func (readOnly) Settle()                                      {}
func (readOnly) Insert(context.Context, resource.Row) error   { return errors.ErrUnsupported }
func (readOnly) Update(context.Context, resource.Row) error   { return errors.ErrUnsupported }
func (readOnly) Delete(context.Context, string, string) error { return errors.ErrUnsupported }
func (readOnly) Note(context.Context, resource.Event, int) (bool, error) {
	return false, errors.ErrUnsupported
}

func (s *Service) op(ctx context.Context, c identity.Caller, tx resource.Tx) *Op {
	now := s.Now().UTC()
	return &Op{Context: ctx, Caller: c, Tx: tx, Svc: s, Now: resource.FormatTime(now), At: now}
}

// Update applies the attributes of a PUT. With ifMatch the stored revision_number must be that one.
func (s *Service) Update(ctx context.Context, c identity.Caller, kind, id string, in map[string]any, ifMatch *int64) (*Document, error) {
	k := s.kinds[kind]
	attrs, err := k.Info().ForPut(in)
	if err != nil {
		return nil, err
	}
	if err := k.prepare(ctx, id, attrs); err != nil {
		return nil, err
	}
	var row resource.Row
	_, err = s.Store.Change(ctx, func(tx resource.Tx) (err error) {
		op := s.op(ctx, c, tx)
		op.Sent = attrs
		if row, err = s.writable(op, k, "update", id); err != nil {
			return err
		}
		if err := match(k.Info(), &row, ifMatch); err != nil {
			return err
		}
		row, err = k.update(op, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.document(c, k.Info(), &row)
}

// Delete removes a resource that nothing refers to.
func (s *Service) Delete(ctx context.Context, c identity.Caller, kind, id string, ifMatch *int64) error {
	k := s.kinds[kind]
	_, err := s.Store.Change(ctx, func(tx resource.Tx) error {
		op := s.op(ctx, c, tx)
		row, err := s.writable(op, k, "delete", id)
		if err != nil {
			return err
		}
		if err := match(k.Info(), &row, ifMatch); err != nil {
			return err
		}
		return k.delete(op, row)
	})
	return err
}

// writable finds a row that the caller may change: 404 for what it may not even see, 403 for the rest.
func (s *Service) writable(op *Op, k Kind, verb, id string) (resource.Row, error) {
	row, err := s.visible(op, op.Caller, op.Tx, k, id)
	if err == nil && !op.Caller.MayWrite(row.ProjectID) {
		err = forbidden(verb, k.Info().Name)
	}
	return row, err
}

func (s *Service) visible(ctx context.Context, c identity.Caller, r resource.Reader, k Kind, id string) (resource.Row, error) {
	row, err := r.Get(ctx, k.Info().Name, id)
	if errors.Is(err, resource.ErrNotFound) || err == nil && !row.Shared && !c.MayRead(row.ProjectID) {
		return row, k.Info().ErrNotFound(id)
	}
	return row, err
}

func forbidden(verb, kind string) error {
	return resource.Errorf(403, "PolicyNotAuthorized", "%s_%s is disallowed by policy: it needs the role member (or admin) in the project", verb, kind)
}

func match(k *resource.Kind, row *resource.Row, want *int64) error {
	if want == nil {
		return nil
	}
	var h resource.Head
	if err := json.Unmarshal(row.Doc, &h); err != nil {
		return fmt.Errorf("%s %s: %w", k.Name, row.ID, err)
	}
	if h.RevisionNumber != *want {
		return resource.Errorf(412, "RevisionNumberConstraintFailed", "Constrained to revision_number %d, but the current revision is %d", *want, h.RevisionNumber)
	}
	return nil
}
