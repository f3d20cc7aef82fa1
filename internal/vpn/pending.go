package vpn

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Run ends every PENDING_* that no gateway answers in time (api-contract D10), and every status that no gateway host
// stands for any more, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	p, w := pendings{since: map[string]pending{}}, hostWatch{}
	s.hosts.heard(s.Resources.Now())
	lost := s.Lost()
	for ctx.Err() == nil {
		changed := s.Changed(p.rev)
		if err := s.watchHosts(ctx, &w); err != nil && ctx.Err() == nil {
			s.Log.Error("watch over gateway hosts", "error", err)
		}
		if err := s.watchPendings(ctx, &p); err != nil && ctx.Err() == nil {
			s.Log.Error("watch over pending resources", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-lost: // what was pending once may be so again
			lost = s.Lost()
			p, w = pendings{since: map[string]pending{}}, hostWatch{leased: w.leased}
		case <-changed:
			s.pause(ctx, 100*time.Millisecond) // a burst of changes is looked at once
		case <-time.After(time.Second):
		}
	}
	return nil
}

// Watched is the revision up to which Run knows of everything that is pending: its deadlines run.
func (s *Service) Watched() int64 { return s.watched.Load() }

func (s *Service) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// pendings are the rows that wait for a gateway.
type pendings struct {
	rev   int64
	since map[string]pending
}

type pending struct {
	kind   string
	intent int64
	since  time.Time
}

func (s *Service) watchPendings(ctx context.Context, p *pendings) error {
	err := s.Resources.Store.View(ctx, func(r resource.Reader) (err error) {
		for _, kind := range []string{KindService, KindConnection} {
			if err := r.Find(ctx, resource.Query{Kind: kind, After: p.rev}, func(row *resource.Row) error {
				return p.note(row, s.Resources.Now())
			}); err != nil {
				return err
			}
		}
		p.rev, err = r.Rev(ctx)
		return err
	})
	if err != nil {
		return err
	}
	s.watched.Store(p.rev)
	for id, w := range p.since {
		if s.Resources.Now().Sub(w.since) < s.PendingDeadline {
			continue
		}
		if err := s.giveUp(ctx, id, w); err != nil {
			return err
		}
		delete(p.since, id)
	}
	return nil
}

func (p *pendings) note(row *resource.Row, now time.Time) error {
	var v struct{ Status string }
	if err := json.Unmarshal(row.Doc, &v); err != nil {
		return err
	}
	old, known := p.since[row.ID]
	switch {
	case !slices.Contains([]string{PendingCreate, PendingUpdate}, v.Status):
		delete(p.since, row.ID)
	case !known || old.intent != row.Intent:
		p.since[row.ID] = pending{row.Kind, row.Intent, now}
	}
	return nil
}

// giveUp says that no gateway has answered.
func (s *Service) giveUp(ctx context.Context, id string, w pending) error {
	return s.changeStatus(ctx, func(op *crud.Op, seen *transitions) error {
		watched, alone := s.hosts.watched()
		status, why := Down, noGatewayHost(op.Now, alone)
		if watched {
			status, why = Errored, reason(op.Now, "gateway_silent", "ours", "local", "the gateway host did not answer in time", "look at the agent's log")
		}
		grounded, err := s.grounded(op, w.kind, id)
		if err != nil {
			return err
		}
		if grounded {
			status, why = Down, noGateway(op.Now)
		}
		if w.kind == KindService {
			return givenUp[VPNService](op, w.kind, id, w.intent, status, why, seen)
		}
		return givenUp[Connection](op, w.kind, id, w.intent, status, why, seen)
	})
}

// grounded says that a service, or that of a connection, stands on a router without an external gateway: that, and no gateway
// host, is what it lacks.
func (s *Service) grounded(op *crud.Op, kind, id string) (bool, error) {
	if kind == KindConnection {
		c, _, err := crud.Load[Connection](op, op.Tx, KindConnection, id)
		if err != nil {
			return false, ignoreMissing(err)
		}
		id = c.VPNServiceID
	}
	v, _, err := crud.Load[VPNService](op, op.Tx, KindService, id)
	if errors.Is(err, resource.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r, err := s.Topology.Router(op, op.Tx, v.RouterID)
	if s.foreign != nil && err != nil { // it is gone, or is not known while somebody else's topology is away: nothing waits for that
		return false, nil
	}
	return err == nil && r.External == nil, err
}

func givenUp[T any, P interface {
	*T
	stateful
}](op *crud.Op, kind, id string, intent int64, status string, why *Reason, seen *transitions) error {
	v, row, err := crud.Load[T](op, op.Tx, kind, id)
	if errors.Is(err, resource.ErrNotFound) {
		return nil
	}
	st, _ := P(v).state()
	if err != nil || row.Intent != intent || *st != PendingCreate && *st != PendingUpdate {
		return err
	}
	return setStatus[T, P](op, kind, id, intent, status, why, seen)
}
