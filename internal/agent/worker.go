package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// worker is one router's: no other router waits for it. It exists while it has something to do.
type worker struct {
	next *job          // the mailbox: the newest wins
	wake chan struct{} // something new is in it
}

// job is a Spec to make true.
type job struct {
	spec    vpn.Spec
	unnamed bool // the server does not know the router: nobody waits for a report
}

// post puts a Spec into its router's mailbox, whatever was there.
func (a *Agent) post(ctx context.Context, s vpn.Spec, unnamed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.workers[s.Router]
	if w == nil {
		w = &worker{wake: make(chan struct{}, 1)}
		a.workers[s.Router] = w
		a.running.Go(func() { a.work(ctx, s.Router, w) })
	}
	w.next = &job{spec: s, unnamed: unnamed}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// busy are the routers with work to do or in progress.
func (a *Agent) busy() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for router := range a.workers {
		out = append(out, router)
	}
	return out
}

// take empties the mailbox; a worker that finds it empty ceases to exist.
func (a *Agent) take(router string, w *worker) *job {
	a.mu.Lock()
	defer a.mu.Unlock()
	j := w.next
	if w.next = nil; j == nil {
		delete(a.workers, router)
	}
	return j
}

// work makes Specs true until there is none left. One that fails is tried again until a newer one replaces it.
func (a *Agent) work(ctx context.Context, router string, w *worker) {
	wait := backoff{Pace: a.Retry}
	var first time.Time // of the failures in a row
	said := ""          // of them, what the log has already
	for ctx.Err() == nil {
		j := a.take(router, w)
		if j == nil {
			return
		}
		err := a.apply(ctx, j)
		if err == nil || ctx.Err() != nil {
			if err == nil && said != "" {
				a.Log.Info("the gateway works again", "router", router, "rev", j.spec.Rev)
			}
			wait.reset()
			first, said = time.Time{}, ""
			continue
		}
		if first.IsZero() {
			first = time.Now()
		}
		again := wait.next()
		said = a.failed(j, err, said, first, again)
		a.putBack(w, j)
		pause(ctx, again, w.wake) // a newer Spec does not wait
	}
}

// failed tells the server, and the log unless that has just been said; it answers what the log has now.
func (a *Agent) failed(j *job, err error, said string, first time.Time, again time.Duration) string {
	text, level := summary(err, j.spec), slog.LevelError
	if text == said {
		level = slog.LevelDebug
	}
	a.Log.Log(context.Background(), level, "the gateway failed; trying again until it works", "router", j.spec.Router, "rev", j.spec.Rev,
		"error", text, "again_in", again)
	if !j.unnamed {
		a.reports.add(failure(j.spec, outcome(err), hint(err), first))
	}
	return text
}

// hint is the error's own, or where to look.
func hint(err error) string {
	if h := (interface{ Hint() string })(nil); errors.As(err, &h) {
		return h.Hint()
	}
	return "the gateway tries again by itself; whoever runs it finds the cause in the agent's log"
}

// outcome is what anybody may read of an error. The error itself names interfaces, paths and programs of the gateway's host.
func outcome(err error) string {
	doing := "set the router up"
	if s := (interface{ Step() string })(nil); errors.As(err, &s) {
		doing = s.Step()
	}
	return "the gateway host could not " + doing + "; its log has the details"
}

// apply makes one Spec true.
func (a *Agent) apply(ctx context.Context, j *job) error {
	if !j.spec.Removed {
		err := a.Gateway.Set(ctx, j.spec)
		if err == nil {
			a.reports.prune(j.spec)
		}
		return err
	}
	if err := a.Gateway.Remove(ctx, j.spec.Router); err != nil {
		return err
	}
	if j.unnamed {
		a.reports.forget(j.spec.Router)
	} else {
		a.reports.last(vpn.Report{Router: j.spec.Router, Rev: j.spec.Rev, Ready: true})
	}
	return nil
}

// putBack returns a job that failed, unless a newer one has come.
func (a *Agent) putBack(w *worker, j *job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.next == nil {
		w.next = j
		select {
		case <-w.wake: // of the job itself
		default:
		}
	}
}

// failure is the report of a Spec that could not be made true.
func failure(s vpn.Spec, text, hint string, first time.Time) vpn.Report {
	return vpn.Report{Router: s.Router, Rev: s.Rev, Reason: &vpn.Reason{
		Code: "gateway_failed", Side: "ours", Phase: "local", Summary: text,
		Hint:      hint,
		FirstSeen: resource.FormatTime(first), LastSeen: resource.FormatTime(time.Now()),
	}}
}

// maxSummary is in characters.
const maxSummary = 400

// summary is an error's text for users. A gateway's errors hold no key; should one do so all the same, it goes no further.
func summary(err error, s vpn.Spec) string {
	text := err.Error()
	for _, c := range s.Connections {
		if c.PSK != "" {
			text = strings.ReplaceAll(text, string(c.PSK), resource.Masked)
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if r := []rune(text); len(r) > maxSummary {
		text = string(r[:maxSummary]) + "…"
	}
	return text
}
