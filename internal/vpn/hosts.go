package vpn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// KindHost rows note which servers have a gateway host that watches: of several servers on one database each sees only
// those of its own. They are no resource of the API. CreatedAt is when the server last said so.
const KindHost = "gateway_host"

const (
	renewLease = 20 * time.Second // how often a server with a gateway host says so to others
	leaseHolds = time.Minute      // how long that is believed
	forsakeMax = 500              // rows in one change
)

// hosts is what this server knows of gateway hosts.
type hosts struct {
	mu    sync.Mutex
	open  int       // watches
	since time.Time // while one is open: that one is; else that none is, and nothing was reported
}

// Attach notes that an agent watches; the returned function that it stopped.
func (s *Service) Attach() (detach func()) {
	s.hosts.count(1, s.Resources.Now())
	return func() { s.hosts.count(-1, s.Resources.Now()) }
}

func (h *hosts) count(n int, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open += n; h.open == 0 || h.open == n {
		h.since = now
	}
}

// heard notes a sign of life of a gateway host, such as a report.
func (h *hosts) heard(now time.Time) { h.count(0, now) }

// watched says whether an agent watches this server, and since when it is so.
func (h *hosts) watched() (bool, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open > 0, h.since
}

// Attached says whether an agent watches this server.
func (s *Service) Attached() bool {
	watched, _ := s.hosts.watched()
	return watched
}

// hostWatch is what Run keeps of gateway hosts.
type hostWatch struct {
	leased time.Time // the lease was written; zero: there is none
	rev    int64     // everything up to here has been said to be without a gateway host; 0: nothing
}

// watchHosts says of everything that no gateway host is there to work on it, once that is so for HostGrace: a gateway that
// starts again, or whose server does, is back before.
func (s *Service) watchHosts(ctx context.Context, w *hostWatch) error {
	now := s.Resources.Now()
	watched, since := s.hosts.watched()
	if err := s.lease(ctx, w, watched && now.Sub(since) >= time.Second, now); err != nil {
		return err
	}
	if !watched {
		elsewhere, err := s.watchedElsewhere(ctx, now)
		if err != nil {
			return err
		}
		if elsewhere {
			s.hosts.heard(now)
		}
		watched = elsewhere
	}
	if watched || now.Sub(since) < s.HostGrace {
		w.rev = 0
		return nil
	}
	return s.forsakeAll(ctx, w)
}

// lease tells other servers on this database, if there may be any, whether a gateway host watches this one.
func (s *Service) lease(ctx context.Context, w *hostWatch, watched bool, now time.Time) error {
	if s.Instance == "" || watched == !w.leased.IsZero() && (!watched || now.Sub(w.leased) < renewLease) {
		return nil
	}
	_, err := s.Resources.Change(ctx, func(op *crud.Op) error {
		row := resource.Row{ID: KindHost + ":" + s.Instance, Kind: KindHost, CreatedAt: op.Now}
		_, err := op.Tx.Get(op, row.Kind, row.ID)
		if err == nil {
			err = op.Tx.Delete(op, row.Kind, row.ID)
		}
		if err = ignoreMissing(err); err != nil || !watched {
			return err
		}
		if row.Doc, err = json.Marshal(map[string]string{"id": row.ID}); err != nil {
			return err
		}
		return op.Tx.Insert(op, row)
	})
	if err != nil {
		return fmt.Errorf("note the gateway hosts of this server: %w", err)
	}
	if w.leased = now; !watched {
		w.leased = time.Time{}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, resource.ErrNotFound) {
		return nil
	}
	return err
}

// watchedElsewhere says whether another server on this database has a gateway host.
func (s *Service) watchedElsewhere(ctx context.Context, now time.Time) (yes bool, err error) {
	if s.Instance == "" {
		return false, nil
	}
	err = s.Resources.View(ctx, func(op *crud.Op) error {
		return op.Tx.Find(op, resource.Query{Kind: KindHost}, func(row *resource.Row) error {
			seen, err := time.Parse(resource.TimeFormat, row.CreatedAt)
			yes = yes || err == nil && now.Sub(seen) < leaseHolds && row.ID != KindHost+":"+s.Instance
			return nil
		})
	})
	return yes, err
}

// forsakeAll goes through everything that changed since it last did.
func (s *Service) forsakeAll(ctx context.Context, w *hostWatch) error {
	rows := map[string][]string{}
	var rev int64
	err := s.Resources.View(ctx, func(op *crud.Op) (err error) {
		for _, kind := range []string{KindService, KindConnection} {
			if err := op.Tx.Find(op, resource.Query{Kind: kind, After: w.rev}, func(row *resource.Row) error {
				rows[kind] = append(rows[kind], row.ID)
				return nil
			}); err != nil {
				return err
			}
		}
		if w.rev > 0 && len(rows[KindService]) > 0 { // a router that lost its gateway, or got one, changes services alone
			if err := op.Tx.Find(op, by(KindConnection, "vpnservice_id", rows[KindService]...), func(row *resource.Row) error {
				rows[KindConnection] = append(rows[KindConnection], row.ID)
				return nil
			}); err != nil {
				return err
			}
		}
		rev, err = op.Tx.Rev(op)
		return err
	})
	if err != nil {
		return err
	}
	for _, kind := range []string{KindService, KindConnection} {
		for ids := rows[kind]; len(ids) > 0; ids = ids[min(forsakeMax, len(ids)):] {
			if err := s.forsake(ctx, kind, ids[:min(forsakeMax, len(ids))]); err != nil {
				return err
			}
		}
	}
	w.rev = rev
	return nil
}

func (s *Service) forsake(ctx context.Context, kind string, ids []string) error {
	return s.changeStatus(ctx, func(op *crud.Op, seen *transitions) error {
		watched, since := s.hosts.watched()
		if watched || op.At.Sub(since) < s.HostGrace {
			return nil // it came back meanwhile, and what it reported is newer
		}
		for _, id := range ids {
			if err := s.forsakeOne(op, kind, id, since, seen); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) forsakeOne(op *crud.Op, kind, id string, since time.Time, seen *transitions) error {
	why := noGatewayHost(op.Now, since)
	grounded, err := s.grounded(op, kind, id)
	if err != nil {
		return err
	}
	if grounded {
		why = noGateway(op.Now)
	}
	if kind == KindService {
		return forsaken[VPNService](op, kind, id, why, seen)
	}
	return forsaken[Connection](op, kind, id, why, seen)
}

// forsaken leaves alone what a gateway host could change nothing about: what the configuration says of itself, unless it
// has just been changed. Whether the router has a gateway is known without a gateway host.
func forsaken[T any, P interface {
	*T
	stateful
}](op *crud.Op, kind, id string, why *Reason, seen *transitions) error {
	v, row, err := crud.Load[T](op, op.Tx, kind, id)
	if err != nil {
		return ignoreMissing(err)
	}
	status, now := P(v).state()
	if *now != nil && (*now).Phase == "config" && (*now).Code != withoutGateway && *status != PendingCreate && *status != PendingUpdate {
		return nil
	}
	return setStatus[T, P](op, kind, id, row.Intent, Down, why, seen)
}

func noGatewayHost(now string, since time.Time) *Reason {
	return reason(now, "no_gateway_host", "ours", "local",
		"no gateway host has watched this server since "+since.UTC().Format("2006-01-02 15:04:05")+" UTC: nothing is known of its tunnels, and those that were up may run on",
		"start an agent, or the server with --gateway=local")
}
