package vpn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Status values of services and connections (api-contract section 6).
const (
	Active        = "ACTIVE"
	Down          = "DOWN"
	Errored       = "ERROR"
	PendingCreate = "PENDING_CREATE"
	PendingUpdate = "PENDING_UPDATE"
)

// Report writes what a gateway saw into the timelines and the statuses, where it is news: a report on an older revision than
// the row's intent says nothing of it.
func (s *Service) Report(ctx context.Context, b Batch) error {
	s.hosts.heard(s.Resources.Now())
	run := s.Resources.Observe
	if b.Durable {
		run = s.Resources.Change
	}
	return s.changeStatusBy(ctx, run, func(op *crud.Op, seen *transitions) error {
		if b.Durable {
			op.Tx.Settle()
		}
		if err := s.noteSeen(op, b.Events); err != nil {
			return err
		}
		for _, r := range b.Reports {
			if err := s.report(op, r, seen); err != nil {
				return fmt.Errorf("report on router %s: %w", r.Router, err)
			}
		}
		return nil
	})
}

func (s *Service) report(op *crud.Op, r Report, seen *transitions) error {
	r = r.clean()
	services, err := crud.LoadAll[VPNService](op, op.Tx, by(KindService, "router_id", r.Router))
	if err != nil {
		return err
	}
	if len(services) == 0 {
		return s.confirmRemoval(op, r)
	}
	router, err := s.Topology.Router(op, op.Tx, r.Router)
	if s.gone(err) {
		return s.bereave(op, services, r.Rev, seen)
	}
	if err != nil {
		return err
	}
	ids := []string{}
	for _, v := range services {
		ids = append(ids, v.ID)
		status, reason := serviceStatus(op, v, router, r)
		if err := setStatus[VPNService](op, KindService, v.ID, r.Rev, status, reason, seen); err != nil {
			return err
		}
	}
	return s.reportConnections(op, ids, r, seen)
}

// maxReason bounds each text of a reason, in characters.
const maxReason = 1000

// clean is the report with reasons that can be stored: texts of charon and of the peer come from outside.
func (r Report) clean() Report {
	r.Reason = r.Reason.clean()
	r.Connections = slices.Clone(r.Connections)
	for i := range r.Connections {
		r.Connections[i].Reason = r.Connections[i].Reason.clean()
	}
	return r
}

func (r *Reason) clean() *Reason {
	if r == nil {
		return nil
	}
	out := *r
	for _, text := range []*string{&out.Code, &out.Side, &out.Phase, &out.Summary, &out.Ours, &out.Theirs, &out.Hint, &out.FirstSeen, &out.LastSeen} {
		*text = cleanText(*text)
	}
	return &out
}

// cleanText bounds a text, and takes control characters out.
func cleanText(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
	if c := []rune(text); len(c) > maxReason {
		text = string(c[:maxReason]) + "…"
	}
	return text
}

// confirmRemoval forgets a router whose VPN the gateway has taken away (api-contract D9).
func (s *Service) confirmRemoval(op *crud.Op, r Report) error {
	row, err := op.Tx.Get(op, KindSpec, specID(r.Router))
	if errors.Is(err, resource.ErrNotFound) {
		return nil
	}
	if err != nil || !r.Ready || row.Rev > r.Rev {
		return err
	}
	return op.Tx.Delete(op, KindSpec, row.ID)
}

func serviceStatus(op *crud.Op, v *VPNService, router *Router, r Report) (string, *Reason) {
	switch {
	case !v.AdminStateUp:
		return Down, reason(op.Now, "admin_down", "ours", "config", "the VPN service is administratively down", "set admin_state_up of the vpnservice to true")
	case !router.AdminStateUp:
		return Down, reason(op.Now, "admin_down", "ours", "config", "the router is administratively down", "set admin_state_up of the router to true")
	case router.External == nil:
		return Down, noGateway(op.Now)
	case !r.Ready:
		return Errored, r.Reason
	}
	return Active, nil
}

// reportConnections leaves alone what is not on the report's router: its revision says nothing of them.
func (s *Service) reportConnections(op *crud.Op, services []string, r Report, seen *transitions) error {
	for _, c := range r.Connections {
		known, _, err := crud.Load[Connection](op, op.Tx, KindConnection, c.ID)
		if errors.Is(err, resource.ErrNotFound) || err == nil && !slices.Contains(services, known.VPNServiceID) {
			continue
		}
		if err != nil {
			return err
		}
		if nothingNew(known, c) {
			continue
		}
		status, why := Down, c.Reason
		switch c.State {
		case StateUp:
			status = Active
		case StateError:
			status = Errored
		}
		if err := setStatus[Connection](op, KindConnection, c.ID, r.Rev, status, why, seen); err != nil {
			return err
		}
	}
	return nil
}

// nothingNew says that a gateway only begins again, most often after a restart of its own: what the negotiation with the peer
// failed of before stays true until there is an answer.
func nothingNew(known *Connection, r ConnectionReport) bool {
	if r.State != StateDown || r.Reason == nil || known.Status != Down || known.StatusReason == nil {
		return false
	}
	begins := func(code string) bool { return code == "connecting" || code == "not_initiated" }
	local := []string{"config", "resolve", "local"}
	return begins(r.Reason.Code) && !begins(known.StatusReason.Code) && !slices.Contains(local, known.StatusReason.Phase)
}

// stateful is what a service and a connection have in common.
type stateful interface{ state() (*string, **Reason) }

func (v *VPNService) state() (*string, **Reason) { return &v.Status, &v.StatusReason }
func (c *Connection) state() (*string, **Reason) { return &c.Status, &c.StatusReason }

// setStatus writes a status unless the row is gone, newer than rev, or says the same already.
func setStatus[T any, P interface {
	*T
	stateful
}](op *crud.Op, kind, id string, rev int64, status string, why *Reason, seen *transitions) error {
	v, row, err := crud.Load[T](op, op.Tx, kind, id)
	if errors.Is(err, resource.ErrNotFound) {
		return nil
	}
	if err != nil || row.Intent > rev {
		return err
	}
	st, re := P(v).state()
	if *st == status && sameReason(*re, why) {
		return nil
	}
	if why != nil && *re != nil && (*re).Code == why.Code {
		why.FirstSeen = (*re).FirstSeen
	}
	seen.note(kind, id, row.ProjectID, *st, status, *re, why)
	*st, *re = status, why
	return crud.Save(op, row, v, false)
}

// sameReason leaves aside when it was seen last, unless that is a minute ago: a retry is no news.
func sameReason(a, b *Reason) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	last, err1 := time.Parse(resource.TimeFormat, x.LastSeen)
	now, err2 := time.Parse(resource.TimeFormat, y.LastSeen)
	x.FirstSeen, x.LastSeen, y.FirstSeen, y.LastSeen = "", "", "", ""
	return x == y && (err1 != nil || err2 != nil || now.Sub(last) < time.Minute)
}

func reason(now, code, side, phase, summary, hint string) *Reason {
	return &Reason{Code: code, Side: side, Phase: phase, Summary: summary, Hint: hint, FirstSeen: now, LastSeen: now}
}

const withoutGateway = "router_without_gateway"

func noGateway(now string) *Reason {
	return reason(now, withoutGateway, "ours", "config", "the router has no external gateway",
		"set external_gateway_info of the router")
}

// Lost is closed when what gateways told may be lost: they are to tell everything again.
func (s *Service) Lost() <-chan struct{} { return s.Resources.Store.Lost() }

// Changed is closed when something after rev may be visible.
func (s *Service) Changed(rev int64) <-chan struct{} { return s.Resources.Store.Changed(rev) }
