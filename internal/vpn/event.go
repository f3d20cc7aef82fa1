package vpn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Event is one entry of a connection's timeline (api-contract D15: ours). It is written once and never changed.
type Event struct {
	ID           string `json:"id"`
	CreatedAt    string `json:"created_at"` // when it happened, by the clock of whoever saw it
	Type         string `json:"type"`       // of Event*
	ConnectionID string `json:"ipsec_site_connection_id"`
	Summary      string `json:"summary"`
	// Of what a request did; null of what nobody asked for.
	RequestID *string      `json:"request_id"`
	UserID    *string      `json:"user_id"`
	Resource  *EventObject `json:"resource"` // what was made or changed: the connection, or something that it uses
	// Changes are the attributes that got another value. Of the psk it says only that it did.
	Changes []resource.Difference `json:"changes"`
	// Status and StatusReason are the connection's from then on, as whoever saw it does; null where it is not about them.
	Status       *string           `json:"status"`
	StatusReason *Reason           `json:"status_reason"`
	Details      map[string]string `json:"details"` // of an SA: addresses, algorithms, SPIs
}

// EventObject is a resource that an event is about.
type EventObject struct {
	Type string `json:"type"` // its kind's name
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Types of events. The first two come from requests (and from a Neutron that has routers of ours), the others from gateways,
// but for reasons that the server itself finds.
const (
	EventCreate        = "create"
	EventUpdate        = "update"         // of the connection, or of something that it uses
	EventUp            = "up"             // every CHILD_SA is installed
	EventDown          = "down"           // it was up
	EventReason        = "reason"         // the code of status_reason changed, up or down as it was
	EventIKEUp         = "ike_up"         // an IKE_SA was established
	EventIKEDown       = "ike_down"       // an IKE_SA ended
	EventIKERekey      = "ike_rekey"      // an IKE_SA was replaced
	EventChildUp       = "child_up"       // a CHILD_SA was installed
	EventChildDown     = "child_down"     // a CHILD_SA ended
	EventChildRekey    = "child_rekey"    // a CHILD_SA was replaced
	EventCharonStarted = "charon_started" // the IKE daemon runs again
)

// keepEvents is how many events of one connection are kept: the newest, by arrival.
const keepEvents = 1000

// note writes an event into a connection's timeline, in the change that it tells of.
func (s *Service) note(op *crud.Op, connection string, e Event) error {
	e.ConnectionID = connection
	if e.CreatedAt == "" {
		e.CreatedAt = op.Now
	}
	if op.Caller.UserID != "" {
		e.RequestID, e.UserID = orNull(op.Caller.RequestID), &op.Caller.UserID
	}
	e.Changes = kept(e.Changes)
	if e.Details == nil {
		e.Details = map[string]string{}
	}
	if e.ID == "" { // of the change and what it says: the same at every run of the change
		name := fmt.Sprintf("%s %d %s %s", connection, op.Tx.Next(), e.Type, e.Summary)
		e.ID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String()
	}
	doc, err := resource.Encode(e)
	if err != nil {
		return err
	}
	if _, err := op.Tx.Note(op, resource.Event{Row: connection, ID: e.ID, CreatedAt: e.CreatedAt, Type: e.Type, Doc: doc}, keepEvents); err != nil {
		return fmt.Errorf("note what happened to connection %s: %w", connection, err)
	}
	return nil
}

// maxValue bounds a value in an event, in bytes: long lists of networks, a thousand times, are for nobody to read.
const maxValue = 4096

// kept are the changes with values that are not too long.
func kept(changes []resource.Difference) []resource.Difference {
	out := append([]resource.Difference{}, changes...)
	for i := range out {
		for _, v := range []*json.RawMessage{&out[i].Old, &out[i].New} {
			if len(*v) > maxValue {
				*v = json.RawMessage(fmt.Sprintf(`"(not kept: %d bytes)"`, len(*v)))
			}
		}
	}
	return out
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// updated is the event that a resource got other values. status is the connection's then, "" where it keeps its own.
func updated(kind string, h *resource.Head, changes []resource.Difference, status string) Event {
	what := ""
	if kind != KindConnection {
		what = titles()[kind] + " " + named(h.Name, h.ID) + ": "
	}
	return Event{Type: EventUpdate, Summary: what + attributesOf(changes), Resource: &EventObject{kind, h.ID, h.Name}, Changes: changes, Status: orNull(status)}
}

func titles() map[string]string {
	return map[string]string{KindIKEPolicy: "IKE policy", KindIPsecPolicy: "IPsec policy", KindService: "VPN service",
		KindEndpointGroup: "endpoint group", "router": "router"}
}

func named(name, id string) string {
	if name == "" {
		return id
	}
	return "'" + name + "'"
}

func attributesOf(changes []resource.Difference) string {
	if len(changes) == 0 {
		return "given again, unchanged"
	}
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.Attribute
	}
	return "changed " + strings.Join(names, ", ")
}

// noteUpdate writes into the connection's timeline what a PUT is about to change. The row still holds the old key.
func (s *Service) noteUpdate(op *crud.Op, old, c *Connection) error {
	changes, err := resource.Diff(old, c)
	if err != nil {
		return err
	}
	if op.Given("psk") {
		row, err := op.Tx.Get(op, KindConnection, c.ID)
		if err != nil {
			return err
		}
		before, err := s.Resources.Secret(s.connectionKind, &row)
		if err != nil {
			return err
		}
		if before != fmt.Sprint(op.Sent["psk"]) {
			masked := json.RawMessage(`"` + resource.Masked + `"`)
			changes = append(changes, resource.Difference{Attribute: "psk", Old: masked, New: masked})
		}
	}
	status := ""
	if op.Intent {
		status = c.Status
	}
	return s.note(op, c.ID, updated(KindConnection, &c.Head, changes, status))
}

// noteUse writes into the timelines of all connections that use a service what became of it.
func (s *Service) noteUse(op *crud.Op, service string, e Event) error {
	users, err := op.Tx.Users(op, service)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Kind != KindConnection {
			continue
		}
		if err := s.note(op, u.ID, e); err != nil {
			return err
		}
	}
	return nil
}

// Events are those of a connection's timeline that the query names (its Row is the connection's id), and what lies around
// them.
func (s *Service) Events(ctx context.Context, c identity.Caller, q resource.EventQuery) (docs []*crud.Document, page crud.Page, err error) {
	marker := false
	err = s.Resources.Store.View(ctx, func(r resource.Reader) error {
		row, err := r.Get(ctx, KindConnection, q.Row)
		if errors.Is(err, resource.ErrNotFound) || err == nil && !c.MayRead(row.ProjectID) {
			return s.connectionKind.ErrNotFound(q.Row)
		}
		if err != nil {
			return err
		}
		docs, page, err = eventPage(ctx, r, q)
		marker = errors.Is(err, resource.ErrNotFound)
		return err
	})
	if marker {
		err = resource.Errorf(400, "BadRequest", "Bad marker request: '%s' is not the id of an event of this connection.", resource.Clip(q.Marker))
	}
	return docs, page, err
}

// eventPage reads one event more than asked for, to know whether there is a next page; and one on the marker's other side.
func eventPage(ctx context.Context, r resource.Reader, q resource.EventQuery) (docs []*crud.Document, p crud.Page, err error) {
	limit := q.Limit
	if limit > 0 {
		q.Limit++
	}
	err = r.Events(ctx, q, func(e *resource.Event) error {
		docs = append(docs, &crud.Document{ID: e.ID, Doc: append([]byte(nil), e.Doc...)})
		return nil
	})
	if err != nil || limit == 0 || len(docs) == 0 {
		return docs, p, err
	}
	more := len(docs) > limit
	if more && q.Reverse {
		docs = docs[1:]
	} else if more {
		docs = docs[:limit]
	}
	p.First, p.Last = docs[0].ID, docs[len(docs)-1].ID
	other := false
	if q.Marker != "" {
		beyond := q
		beyond.Limit, beyond.Reverse, beyond.Marker = 1, !q.Reverse, p.First
		if q.Reverse {
			beyond.Marker = p.Last
		}
		err = r.Events(ctx, beyond, func(*resource.Event) error { other = true; return nil })
	}
	p.HasNext, p.HasPrev = more, other
	if q.Reverse {
		p.HasNext, p.HasPrev = other, more
	}
	return docs, p, err
}
