package model

import "maps"

// report is what a gateway says of a router, as the agents' protocol has it.
type report struct {
	Router      string       `json:"router"`
	Rev         int64        `json:"rev"`
	Ready       bool         `json:"ready"`
	Reason      object       `json:"reason,omitempty"`
	Connections []connReport `json:"connections,omitempty"`
}

type connReport struct {
	ID     string `json:"id"`
	State  string `json:"state"` // up, down, error
	Reason object `json:"reason,omitempty"`
}

func (s *state) reason(code, summary, hint string) object {
	return object{"code": code, "side": "ours", "phase": "config", "summary": summary, "ours": "", "theirs": "", "hint": hint, "first_seen": s.now, "last_seen": s.now}
}

func (s *state) noGateway() object {
	return s.reason("router_without_gateway", "the router has no external gateway", "set external_gateway_info of the router")
}

// reported is what a report changes (contract 6): the service is ACTIVE with its router ready, else ERROR; DOWN where the
// user said so, or has given the router no gateway; a connection is what the gateway saw. A router without services is
// forgotten when its gateway confirms that nothing is left (D9).
func (s *state) reported(r report) (ch change) {
	services := s.servicesOn(r.Router)
	if rev, told := s.specs[r.Router]; len(services) == 0 {
		if told && r.Ready && rev <= r.Rev {
			delete(s.specs, r.Router)
			s.rev++
		}
		return ch
	}
	for _, v := range services {
		status, why := s.serviceStatus(v, r)
		ch.rows = append(ch.rows, s.news(v, r.Rev, status, why)...)
	}
	for _, c := range r.Connections {
		row, ok := s.rows[c.ID]
		if !ok || row.kind != "ipsec_site_connection" || s.routerOf(row) != r.Router {
			continue
		}
		status, why := map[string]string{"up": "ACTIVE", "down": "DOWN", "error": "ERROR"}[c.State], any(c.Reason)
		ch.rows = append(ch.rows, s.news(row, r.Rev, status, why)...)
	}
	return ch
}

func (s *state) serviceStatus(v row, r report) (string, any) {
	rt := s.routers[r.Router]
	switch {
	case v.doc["admin_state_up"] == false:
		return "DOWN", s.reason("admin_down", "the VPN service is administratively down", "set admin_state_up of the vpnservice to true")
	case !rt.up:
		return "DOWN", s.reason("admin_down", "the router is administratively down", "set admin_state_up of the router to true")
	case rt.grounded():
		return "DOWN", s.noGateway()
	case !r.Ready:
		return "ERROR", r.Reason
	}
	return "ACTIVE", nil
}

// news is the row with another status, none where the report is older than what it speaks of or says nothing new: another
// time alone is nothing new.
func (s *state) news(r row, rev int64, status string, why any) []row {
	before, _ := r.doc["status_reason"].(object)
	after, _ := why.(object)
	if r.intent > rev || r.doc["status"] == status && maps.Equal(timeless(before), timeless(after)) {
		return nil
	}
	if after == nil {
		return []row{r.with(object{"status": status, "status_reason": nil})}
	}
	if before != nil && before["code"] == after["code"] {
		after = merged(after, object{"first_seen": before["first_seen"]})
	}
	return []row{r.with(object{"status": status, "status_reason": after})}
}

func timeless(reason object) object {
	out := maps.Clone(reason)
	delete(out, "first_seen")
	delete(out, "last_seen")
	return out
}
