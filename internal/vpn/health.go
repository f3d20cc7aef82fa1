package vpn

import (
	"context"
	"encoding/json"
	"fmt"

	"culvert/internal/resource"
)

// Health is how everything is at one moment, for operators.
type Health struct {
	Hosts       int                       // agents that watch this server
	ByStatus    map[string]map[string]int // services and connections: by kind, by status
	Connections []ConnectionHealth
}

// ConnectionHealth is how one connection is.
type ConnectionHealth struct {
	ID, Project, Status string
	Reason              string // code of status_reason, "" for none
	Statistics          Statistics
}

// Health answers how everything is.
func (s *Service) Health(ctx context.Context) (Health, error) {
	h := Health{Hosts: s.hosts.number(), ByStatus: map[string]map[string]int{KindConnection: perStatus(), KindService: perStatus()}}
	err := s.Resources.Store.View(ctx, func(r resource.Reader) error {
		h.Connections = nil
		for kind := range h.ByStatus {
			h.ByStatus[kind] = perStatus()
			err := r.Find(ctx, resource.Query{Kind: kind}, func(row *resource.Row) error { return h.add(kind, row) })
			if err != nil {
				return fmt.Errorf("read every %s: %w", kind, err)
			}
		}
		return nil
	})
	for i := range h.Connections {
		h.Connections[i].Statistics = s.statisticsOf(h.Connections[i].ID)
	}
	return h, err
}

// perStatus has every status, so that one that nothing has is 0 and not missing.
func perStatus() map[string]int {
	return map[string]int{Active: 0, Down: 0, Errored: 0, PendingCreate: 0, PendingUpdate: 0}
}

func (h *Health) add(kind string, row *resource.Row) error {
	var doc struct {
		Status string  `json:"status"`
		Reason *Reason `json:"status_reason"`
	}
	if err := json.Unmarshal(row.Doc, &doc); err != nil {
		return err
	}
	h.ByStatus[kind][doc.Status]++
	if kind == KindConnection {
		h.Connections = append(h.Connections, ConnectionHealth{ID: row.ID, Project: row.ProjectID, Status: doc.Status, Reason: code(doc.Reason)})
	}
	return nil
}

// number is how many watches are open.
func (h *hosts) number() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}
