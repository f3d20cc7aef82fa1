package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// maxBody is the largest body of a user's request, in bytes.
const maxBody = 1 << 20

// call is one request on its way through a handler.
type call struct {
	context.Context
	w      http.ResponseWriter
	r      *http.Request
	trace  *trace
	caller identity.Caller
}

// verbs are the handlers of one URI, by method. An error is answered as fail does; until then nothing was written.
type verbs map[string]func(*call) error

// guard lets a call pass, and sets its caller.
type guard func(*call) error

func anybody(*call) error { return nil }

// serve answers 401, then 404 where there are no verbs, then 405.
func (s *server) serve(mux *http.ServeMux, pattern string, may guard, v verbs) {
	var methods []string
	for m := range v {
		methods = append(methods, m)
	}
	slices.Sort(methods)
	allow := strings.Join(methods, ", ")
	s.note(pattern, v)
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Context: r.Context(), w: w, r: r, trace: traceOf(r.Context())}
		err := may(c)
		switch do := v[r.Method]; {
		case err != nil:
		case do != nil:
			err = do(c)
		case v == nil:
			err = s.unserved(c)
		default:
			w.Header().Set("Allow", allow)
			err = resource.Errorf(http.StatusMethodNotAllowed, "HTTPMethodNotAllowed", "The method %s is not allowed for this resource; allowed are %s.", clip(r.Method), allow)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

func errNoURI() error {
	return resource.Errorf(http.StatusNotFound, "HTTPNotFound", "The resource could not be found.")
}

// user requires a valid token.
func (s *server) user(c *call) error {
	token := c.r.Header.Get("X-Auth-Token")
	if token == "" {
		return unauthorized("X-Auth-Token is missing: the request needs a token.")
	}
	who, err := s.Auth.Authenticate(c, token)
	if e := (*identity.Error)(nil); errors.As(err, &e) && e.Code == http.StatusUnauthorized {
		return unauthorized("The token is not valid, or it has expired or been revoked.")
	}
	if err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	c.caller, c.trace.user, c.trace.project = who, who.UserID, who.ProjectID
	c.caller.RequestID = c.trace.id
	return nil
}

func unauthorized(text string) error {
	return resource.Errorf(http.StatusUnauthorized, "Unauthorized", "%s", text)
}

// body reads the request's body, at most max bytes of it.
func (c *call) body(max int64) ([]byte, error) {
	tooLarge := resource.Errorf(http.StatusRequestEntityTooLarge, "HTTPRequestEntityTooLarge", "The body is larger than %d bytes.", max)
	if c.r.ContentLength > max {
		c.w.Header().Set("Connection", "close")
		return nil, tooLarge
	}
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, max))
	if e := (*http.MaxBytesError)(nil); errors.As(err, &e) {
		return nil, tooLarge
	}
	if err != nil {
		return nil, resource.BadRequest("The body could not be read to its end.")
	}
	return raw, nil
}

// object reads the body as a JSON object.
func (c *call) object() (map[string]any, error) {
	raw, err := c.body(maxBody)
	if err != nil {
		return nil, err
	}
	return resource.ParseBody(raw)
}

// noBody refuses a body where upstream does.
func (c *call) noBody() error {
	n, _ := io.ReadFull(http.MaxBytesReader(c.w, c.r.Body, 1), make([]byte, 1))
	if n > 0 {
		return resource.BadRequest("body not supported in %s", c.r.Method)
	}
	return nil
}

// ifMatch reads "revision_number=N" (api-contract section 9); nil without the header.
func (c *call) ifMatch() (*int64, error) {
	given := c.r.Header.Values("If-Match")
	if len(given) == 0 {
		return nil, nil
	}
	text, ok := strings.CutPrefix(strings.Trim(given[0], `" `), "revision_number=")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || len(given) > 1 {
		return nil, resource.BadRequest("Invalid value in the If-Match header: it must be one revision_number=N")
	}
	return &n, nil
}

// write sends a whole JSON answer at once.
func (c *call) write(code int, body []byte) error {
	write(c.w, code, body)
	return nil
}

func (c *call) json(code int, v any) error {
	b, err := resource.Encode(v)
	if err != nil {
		return err
	}
	return c.write(code, b)
}

// write ignores the error of a client that has gone.
func write(w http.ResponseWriter, code int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// origin is scheme://host as the client sees them, without a path.
func (s *server) origin(r *http.Request) string { return origin(s.PublicURL, r) }

func origin(public string, r *http.Request) string {
	if public != "" {
		return strings.TrimRight(public, "/")
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if p := forwarded(r, "X-Forwarded-Proto"); p == "http" || p == "https" {
		scheme = p
	}
	if h := forwarded(r, "X-Forwarded-Host"); isHost(h) {
		host = h
	}
	if !isHost(host) {
		host = "localhost"
	}
	return scheme + "://" + host
}

// forwarded takes what the first proxy saw.
func forwarded(r *http.Request, name string) string {
	v, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(v)
}

// isHost keeps quotes and the like out of headers and links.
func isHost(s string) bool {
	strange := func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("._:[]-", r))
	}
	return s != "" && len(s) < 256 && !strings.ContainsFunc(s, strange)
}

// clip keeps a stranger's text short, and on one line.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 255 {
		return string(r[:255]) + "…"
	}
	return s
}
