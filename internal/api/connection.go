package api

import (
	"context"
	"net/http"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// Events are the timelines of IPsec site connections.
type Events interface {
	// Events answers those that the query names; its Row is a connection's id.
	Events(ctx context.Context, c identity.Caller, q resource.EventQuery) ([]*crud.Document, crud.Page, error)
}

// Statistics are what IPsec site connections carry.
type Statistics interface {
	// Statistics answers the newest that a gateway told of a connection.
	Statistics(ctx context.Context, c identity.Caller, id string) (vpn.Statistics, error)
}

// connectionRoutes serves what hangs below one connection.
func (s *server) connectionRoutes(mux *http.ServeMux) {
	k := s.Resources.Kinds()["ipsec_site_connection"]
	if k == nil {
		return
	}
	h := &connection{&kind{s, k.Info()}}
	one := "/v2.0/" + h.Path + "/{id}"
	if s.Events != nil {
		s.serve(mux, one+"/events", s.user, verbs{"GET": h.events})
	}
	if s.Statistics != nil {
		s.serve(mux, one+"/statistics", s.user, verbs{"GET": h.statistics})
	}
}

// connection serves the sub-resources of connections.
type connection struct{ *kind }

// statistics answers what the connection carries.
func (k *connection) statistics(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	if _, err := parseParams(c.r.URL.RawQuery); err != nil {
		return err
	}
	found, err := k.Statistics.Statistics(c, c.caller, id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"statistics": found})
}

// events answers a page of the timeline, newest first unless asked otherwise.
func (k *connection) events(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	params, err := parseParams(c.r.URL.RawQuery)
	if err != nil {
		return err
	}
	q, asked, err := eventQuery(params, k.PageLimit)
	if err != nil {
		return err
	}
	q.Row = id
	docs, page, err := k.Events.Events(c, c.caller, q)
	if err != nil {
		return err
	}
	names := fieldNames(params)
	return k.answer(c, http.StatusOK, func(b []byte) ([]byte, error) {
		b = append(b, `{"events":[`...)
		for i, d := range docs {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = d.Append(b, names); err != nil {
				return b, err
			}
		}
		b = append(b, ']')
		if cut := page.HasNext && !q.Reverse || page.HasPrev && q.Reverse; asked || cut {
			b = appendLinks(b, "events", k.origin(c.r)+"/v2.0/"+k.Path+"/"+id+"/events", params, page)
		}
		return append(b, '}'), nil
	})
}

// eventQuery reads the type, the order and the page (as api-contract section 9). asked says that the client set a limit.
func eventQuery(params []param, most int) (q resource.EventQuery, asked bool, err error) {
	const allowed = "fields, limit, marker, page_reverse, sort_dir, sort_key, type"
	var bad []string
	for _, p := range params {
		if p.name != "type" && !reserved(p.name) {
			bad = append(bad, clip(p.name))
		}
	}
	if bad != nil {
		return q, false, resource.BadRequest("%s is invalid attribute for filtering; allowed are %s", quoted(bad), allowed)
	}
	for _, key := range values(params, "sort_key") {
		if key != "created_at" {
			return q, false, resource.BadRequest("%s is invalid attribute for sort_keys; allowed is created_at", quoted([]string{clip(key)}))
		}
	}
	for _, dir := range values(params, "sort_dir") {
		if dir != "asc" && dir != "desc" {
			return q, false, badDirection(dir)
		}
		q.Oldest = dir == "asc"
	}
	q.Types = values(params, "type")
	q.Limit, q.Marker, q.Reverse, asked, err = paging(params, most)
	return q, asked, err
}
