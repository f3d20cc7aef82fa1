package vpn

import (
	"context"
	"log/slog"

	"culvert/internal/crud"
)

// transition is a status, or the code of its reason, that changed.
type transition struct {
	kind, id, project, from, to, code string
	why                               *Reason // of which code is
}

// transitions are those of one change.
type transitions []transition

// changeStatus runs fn as one change of the system's own, and tells the log of the transitions that it notes once they are
// stored. fn may run more than once. What a power cut takes back of it is said again: a gateway that finds the server
// again reports everything, and tells events a second time, Durable.
func (s *Service) changeStatus(ctx context.Context, fn func(*crud.Op, *transitions) error) error {
	return s.changeStatusBy(ctx, s.Resources.Observe, fn)
}

// changeStatusBy is changeStatus by Observe or Change.
func (s *Service) changeStatusBy(ctx context.Context, run func(context.Context, func(*crud.Op) error) (int64, error), fn func(*crud.Op, *transitions) error) error {
	var seen transitions
	_, err := run(ctx, func(op *crud.Op) error {
		seen = nil
		if err := fn(op, &seen); err != nil {
			return err
		}
		return s.noteFound(op, seen)
	})
	if err != nil {
		return err
	}
	for _, t := range seen {
		s.Log.LogAttrs(ctx, slog.LevelInfo, "status", slog.String("kind", t.kind), slog.String(t.kind+"_id", t.id),
			slog.String("project_id", t.project), slog.String("old", t.from), slog.String("new", t.to), slog.String("reason", t.code))
	}
	return nil
}

// note keeps what is news.
func (ts *transitions) note(kind, id, project, from, to string, before, after *Reason) {
	if from == to && code(before) == code(after) {
		return
	}
	name := "connection"
	if kind == KindService {
		name = "vpnservice"
	}
	*ts = append(*ts, transition{name, id, project, from, to, code(after), after})
}

func code(r *Reason) string {
	if r == nil {
		return ""
	}
	return r.Code
}
