package vpn

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Batch is what an agent tells at once.
type Batch struct {
	Reports []Report `json:"reports,omitempty"`
	Events  []Seen   `json:"events,omitempty"`
}

// Seen is an event of a gateway. Its ID makes it known when it is told again.
type Seen struct {
	Event
	// First says that the gateway looked for the first time: what it found may have been so before.
	First bool `json:"first,omitempty"`
}

const (
	maxEventID = 64 // characters
	maxDetails = 32 // entries
)

// noteSeen writes what gateways saw into the timelines. What cannot be kept, or is of connections that are gone, is left out:
// to tell it again would be of no use.
func (s *Service) noteSeen(op *crud.Op, events []Seen) error {
	known := map[string]bool{}
	for _, e := range events {
		id := e.ConnectionID
		if _, asked := known[id]; !asked {
			_, err := op.Tx.Get(op, KindConnection, id)
			if err != nil && !errors.Is(err, resource.ErrNotFound) {
				return err
			}
			known[id] = err == nil
		}
		clean, ok := e.clean()
		if !known[id] || !ok {
			continue
		}
		if e.First {
			news, err := s.compared(op, &clean)
			if err != nil {
				return err
			}
			if !news {
				continue
			}
		}
		if err := s.note(op, id, clean); err != nil {
			return err
		}
	}
	return nil
}

// clean is the event with texts that can be stored, and without what only the server knows.
func (e Event) clean() (Event, bool) {
	_, err := time.Parse(resource.TimeFormat, e.CreatedAt)
	ok := err == nil && e.ID != "" && len(e.ID) <= maxEventID && cleanText(e.ID) == e.ID && slices.Contains(seenTypes(), e.Type)
	if e.Status != nil {
		ok = ok && slices.Contains([]string{Active, Down, Errored}, *e.Status)
	}
	e.RequestID, e.UserID, e.Resource, e.Changes = nil, nil, nil, nil
	e.Summary, e.StatusReason = cleanText(e.Summary), e.StatusReason.clean()
	details := map[string]string{}
	for name, v := range e.Details {
		if len(details) < maxDetails {
			details[cleanText(name)] = cleanText(v)
		}
	}
	e.Details = details
	return e, ok
}

// seenTypes are those of a gateway.
func seenTypes() []string {
	return append(stateTypes(), EventIKEUp, EventIKEDown, EventIKERekey, EventChildUp, EventChildDown, EventChildRekey, EventCharonStarted)
}

// stateTypes are those that tell a connection's status.
func stateTypes() []string { return []string{EventUp, EventDown, EventReason} }

// compared holds what a gateway found at its first look against the last that the timeline says. It answers whether that is
// news, and makes the event one of what has changed since.
func (s *Service) compared(op *crud.Op, e *Event) (news bool, err error) {
	var last Event
	q := resource.EventQuery{Row: e.ConnectionID, Types: stateTypes(), Limit: 1}
	err = op.Tx.Events(op, q, func(x *resource.Event) error { return json.Unmarshal(x.Doc, &last) })
	if err != nil || e.Status == nil {
		return false, err
	}
	if last.Status == nil { // nothing is known: that it is being set up is none either
		return code(e.StatusReason) != "connecting", nil
	}
	was, is := *last.Status, *e.Status
	switch {
	case was == is && code(last.StatusReason) == code(e.StatusReason):
		return false, nil
	case was == Active && is != Active:
		e.Type = EventDown
	case was != Active && is == Active:
		e.Type = EventUp
	case code(e.StatusReason) == "connecting":
		return false, nil
	default:
		e.Type = EventReason
	}
	return true, nil
}

// noteFound writes into a connection's timeline the change of status that the server itself made, if it made one: seen had
// so many before.
func (s *Service) noteFound(op *crud.Op, seen *transitions, before int, why *Reason) error {
	if len(*seen) == before {
		return nil
	}
	t := (*seen)[len(*seen)-1]
	e := Event{Type: EventReason, Summary: "the server set the status to " + t.to, Status: &t.to, StatusReason: why}
	if t.from == Active {
		e.Type = EventDown
	}
	if why != nil {
		e.Summary = fmt.Sprintf("%s: %s", why.Code, why.Summary)
	}
	return s.note(op, t.id, e)
}
