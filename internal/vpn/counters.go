package vpn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// counters are the newest Statistics of each connection, by id. They are metrics: in memory alone, and told again by the
// agents after a restart.
type counters struct {
	mu     sync.Mutex
	of     map[string]Statistics
	pruned time.Time
}

// pruneEvery is how often those of deleted connections are dropped.
const pruneEvery = time.Minute

// Count takes what a gateway counted; the newest replaces what was there.
func (s *Service) Count(ctx context.Context, list []Statistics) error {
	s.counted.mu.Lock()
	defer s.counted.mu.Unlock()
	if s.counted.of == nil {
		s.counted.of = map[string]Statistics{}
	}
	for _, one := range list {
		if one.SAs == nil {
			one.SAs = []IKESA{}
		}
		s.counted.of[one.Connection] = one
	}
	if now := s.Resources.Now(); now.Sub(s.counted.pruned) >= pruneEvery {
		s.counted.pruned = now
		return s.prune(ctx)
	}
	return nil
}

// prune needs the counters' mu.
func (s *Service) prune(ctx context.Context) error {
	there := map[string]bool{}
	err := s.Resources.Store.View(ctx, func(r resource.Reader) error {
		return r.Find(ctx, resource.Query{Kind: KindConnection}, func(row *resource.Row) error {
			there[row.ID] = true
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("which connections there are: %w", err)
	}
	maps.DeleteFunc(s.counted.of, func(id string, _ Statistics) bool { return !there[id] })
	return nil
}

// Statistics answers the newest that a gateway told of a connection, zeros where none has yet.
func (s *Service) Statistics(ctx context.Context, c identity.Caller, id string) (Statistics, error) {
	err := s.Resources.Store.View(ctx, func(r resource.Reader) error {
		row, err := r.Get(ctx, KindConnection, id)
		if errors.Is(err, resource.ErrNotFound) || err == nil && !c.MayRead(row.ProjectID) {
			return s.connectionKind.ErrNotFound(id)
		}
		return err
	})
	if err != nil {
		return Statistics{}, err
	}
	return s.statisticsOf(id), nil
}

func (s *Service) statisticsOf(id string) Statistics {
	s.counted.mu.Lock()
	defer s.counted.mu.Unlock()
	if found, ok := s.counted.of[id]; ok {
		return found
	}
	return Statistics{Connection: id, Traffic: TrafficNone, SAs: []IKESA{}}
}
