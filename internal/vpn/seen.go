package vpn

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Batch is what an agent tells at once.
type Batch struct {
	Reports []Report `json:"reports,omitempty"`
	Events  []Seen   `json:"events,omitempty"`
	// Durable asks for an answer that waits until all of this is on the disk: an agent may forget it then.
	Durable bool `json:"durable,omitempty"`
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
	last, err := lastState(op, e.ConnectionID)
	if err != nil || e.Status == nil {
		return false, err
	}
	if last.Status == nil { // nothing is known: that it is being set up is none either
		e.Type = pick(*e.Status == Active, EventUp, EventReason)
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

// lastState is the newest event that tells the connection's status.
func lastState(op *crud.Op, connection string) (last Event, err error) {
	q := resource.EventQuery{Row: connection, Types: stateTypes(), Limit: 1}
	err = op.Tx.Events(op, q, func(x *resource.Event) error { return json.Unmarshal(x.Doc, &last) })
	return last, err
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// noteFound writes into the timelines what the server itself found out about connections, and that a gateway's word counts
// again afterwards.
func (s *Service) noteFound(op *crud.Op, seen transitions) error {
	for _, t := range seen {
		if t.kind != "connection" {
			continue
		}
		if last, err := lastState(op, t.id); err != nil {
			return err
		} else if !ourFinding(t.code) && !ourFinding(code(last.StatusReason)) {
			continue
		}
		e := Event{ConnectionID: t.id, Summary: "a gateway host tells of it again", Status: &t.to, StatusReason: t.why}
		if t.why != nil {
			e.Summary = t.why.Summary
		}
		news, err := s.compared(op, &e)
		if t.from == Active && t.to != Active {
			e.Type = EventDown
		}
		if err == nil && news {
			err = s.note(op, t.id, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ourFinding says that no gateway gives this reason.
func ourFinding(code string) bool {
	return slices.Contains([]string{"no_gateway_host", "gateway_silent", "router_gone"}, code)
}
