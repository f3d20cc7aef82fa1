package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
)

// edge is what every request passes first and last: its id, its path, panics, and the one line in the log.
type edge struct {
	next http.Handler
	log  *slog.Logger
	cors cors
	fail func(http.ResponseWriter, *http.Request, error)
	// observe is told of every request and of the pattern that served it.
	observe func(method, route string, code int, took time.Duration)
}

// trace is what the log line tells of a request.
type trace struct {
	id            string // req-<uuid>
	user, project string
	err           error
	stack         string
}

type traceKey struct{}

// traceOf never returns nil.
func traceOf(ctx context.Context) *trace {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		return t
	}
	return &trace{}
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	t := &trace{id: "req-" + uuid.NewString()}
	w.Header().Set("X-Openstack-Request-Id", t.id)
	rec := &recorder{ResponseWriter: w}
	r = r.WithContext(context.WithValue(r.Context(), traceKey{}, t))
	logged := r.URL.Path
	defer func() {
		p := recover()
		cut := e.caught(rec, r, t, p)
		took := time.Since(began)
		e.line(r, t, rec.status, logged, took)
		if e.observe != nil {
			e.observe(r.Method, r.Pattern, rec.status, took)
		}
		if cut {
			panic(http.ErrAbortHandler)
		}
	}()
	if e.cors.answer(rec, r) {
		return
	}
	if !normalise(r) {
		e.fail(rec, r, errNoURI())
		return
	}
	e.next.ServeHTTP(rec, r)
}

// caught answers a panic with a 500. Where an answer was begun already, it says that the connection must be cut instead, so
// that the client cannot take it for a whole one.
func (e *edge) caught(w *recorder, r *http.Request, t *trace, p any) (cut bool) {
	if p == nil {
		return false
	}
	if p == http.ErrAbortHandler {
		return true
	}
	t.stack = string(debug.Stack())
	err := fmt.Errorf("panic: %v", p)
	if w.status == 0 {
		e.fail(w, r, err)
		return false
	}
	t.err = err
	return true
}

// line never shows a query, a header or a body: they may hold secrets.
func (e *edge) line(r *http.Request, t *trace, status int, path string, took time.Duration) {
	level := slog.LevelInfo
	if path == "/healthz" || status < 300 && (r.Method == http.MethodGet || r.Method == http.MethodHead) { // polls would bury the rest
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("request", t.id), slog.String("method", r.Method), slog.String("path", path),
		slog.Int("status", status), slog.Duration("took", took)}
	if t.user != "" {
		attrs = append(attrs, slog.String("user", t.user), slog.String("project", t.project))
	}
	if t.err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", t.err.Error()))
		if errors.Is(t.err, context.Canceled) {
			level = slog.LevelInfo
		}
	}
	if t.stack != "" {
		attrs = append(attrs, slog.String("stack", t.stack))
	}
	e.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// normalise takes ".json" and trailing slashes off the path (api-contract section 1). It says no to a path that is not
// clean: ServeMux would redirect it, which no client of this API follows with its body.
func normalise(r *http.Request) bool {
	p := r.URL.EscapedPath()
	if p == "/identity" || strings.HasPrefix(p, "/identity/") {
		return clean(strings.TrimRight(p, "/"))
	}
	p = strings.TrimSuffix(strings.TrimRight(p, "/"), ".json")
	if p == "" {
		p = "/"
	}
	if !clean(p) {
		return false
	}
	decoded, err := url.PathUnescape(p)
	if err != nil || !clean(decoded) {
		return false
	}
	u := *r.URL
	u.Path, u.RawPath = decoded, p
	r.URL = &u
	return true
}

func clean(p string) bool { return path.Clean(p) == p }

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
