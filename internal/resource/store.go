package resource

import (
	"context"
	"errors"
)

// Row is a resource as it is stored: a document and what the store itself needs to know of it.
type Row struct {
	ID        string
	Kind      string
	ProjectID string // "" for what no project owns
	Shared    bool   // every project may see it
	Rev       int64  // store revision of the last change of any sort; set by the store
	Intent    int64  // revision of the last change that matters to a gateway: a report older than this says nothing new
	CreatedAt string // TimeFormat, the same text as in the document
	Uniq      string // unique within the kind; "" is not compared
	Doc       []byte // the JSON object that the API answers, without its secret
	Sealed    []byte // the encrypted secret; nil where there is none
	// Refs are the ids of the rows that this one needs; none of them can be deleted while it stands. A nil slice on
	// Update keeps the stored ones; Get and Find leave it nil.
	Refs []string
}

// Ref is a row that refers to another one.
type Ref struct{ Kind, ID string }

// What a store answers besides failures of its engine.
var (
	ErrNotFound  = errors.New("no such row")
	ErrDuplicate = errors.New("a row with this id or unique key exists")
	ErrInUse     = errors.New("another row refers to this one")
	ErrNoRef     = errors.New("a row that this one refers to does not exist")
)

// Store keeps rows under one revision: every change takes the next one in its own transaction, and revisions become
// visible in their order. `Rev > n` therefore names everything that changed after n, for watchers and caches alike.
type Store interface {
	// View runs fn on one consistent snapshot. No View or Change may be begun inside of fn.
	View(ctx context.Context, fn func(Reader) error) error
	// Change runs fn in one serialised transaction and returns its revision. An error of fn rolls everything back and is
	// returned as it is; fn may run again when the engine asks for it. A fn that writes nothing takes no revision: the one
	// that stands is returned. A failed write that fn does not return fails the change all the same.
	Change(ctx context.Context, fn func(Tx) error) (int64, error)
	// Observe is Change for what can be seen again, such as a status: a power cut may take it back, with whatever was
	// observed since the last Change. The end of the process takes nothing back.
	Observe(ctx context.Context, fn func(Tx) error) (int64, error)
	// Changed returns a channel that is closed as soon as a revision after rev may be visible, by whatever server it was
	// written. It may close early, never late.
	Changed(rev int64) <-chan struct{}
	// Lost returns a channel that is closed when the database came back from a crash that this process has survived: what was
	// observed before may be gone. Its revisions are not given again.
	Lost() <-chan struct{}
	Close() error
}

// Reader reads rows. Rows handed to a callback are valid until it returns: copy what is kept. No read or write may be made
// inside of a callback.
type Reader interface {
	// Rev is the newest revision in this snapshot.
	Rev(ctx context.Context) (int64, error)
	// Get returns ErrNotFound for an id that does not exist in this kind.
	Get(ctx context.Context, kind, id string) (Row, error)
	// Find calls each for every row that the query names, in its order. An error of each ends it and is returned.
	Find(ctx context.Context, q Query, each func(*Row) error) error
	// Count is the number of rows that Find would name, without Limit and Marker.
	Count(ctx context.Context, q Query) (int64, error)
	// Users names the rows that refer to id, ordered by kind and id.
	Users(ctx context.Context, id string) ([]Ref, error)
	// Events calls each for every event that the query names, in its order; as with Find.
	Events(ctx context.Context, q EventQuery, each func(*Event) error) error
}

// Tx reads and writes. After an error of a write the transaction can only be given up.
type Tx interface {
	Reader
	// Next is the revision that this transaction will have.
	Next() int64
	// Settle makes a Change commit even if it writes nothing: what was observed before is on the disk then as well.
	Settle()
	// Insert returns ErrDuplicate or ErrNoRef. Rev is set by the store.
	Insert(ctx context.Context, r Row) error
	// Update replaces the row with this kind and id, ErrNotFound if there is none. CreatedAt stays.
	Update(ctx context.Context, r Row) error
	// Delete returns ErrNotFound, or ErrInUse while another row refers to it.
	Delete(ctx context.Context, kind, id string) error
	// Note adds an event to a row's history and keeps the newest of it, as many as keep says. It answers whether the event
	// is new: one whose id the row has already is left as it is. ErrNoRef if there is no such row.
	Note(ctx context.Context, e Event, keep int) (fresh bool, err error)
}

// Type is how an attribute compares.
type Type int

// Types of attributes that can be filtered and sorted.
const (
	Text   Type = iota // null compares as ""
	Number             // integers; null sorts first and matches no filter
	Bool               // likewise
)

// Column is an attribute as the store addresses it. Its name comes from a Kind, never from a caller.
type Column struct {
	Name string // top-level name in the document
	Type Type
}

// Filter keeps rows whose column equals one of the values, none if there are none: decimal text for Number, "true" or "false" for Bool.
type Filter struct {
	Column Column
	Values []string
}

// Order is one sort key.
type Order struct {
	Column Column
	Desc   bool
}

// Query names rows of one kind. The zero value of every other field means "no restriction".
type Query struct {
	Kind       string
	ProjectID  string // rows of this project…
	WithShared bool   // …and those that every project may see
	After      int64  // rows with Rev > After
	Filters    []Filter
	// Order: empty means created_at. The id is always the last key, ascending.
	Order   []Order
	Limit   int    // 0: all
	Marker  string // id of the row after which to begin; ErrNotFound if there is none in what ProjectID may see
	Reverse bool   // the rows before the marker instead (without one: the last), still in the order asked for
}
