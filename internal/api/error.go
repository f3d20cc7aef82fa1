package api

import (
	"context"
	"errors"
	"net/http"

	"culvert/internal/resource"
)

// envelope is the body of every error but 401 (api-contract section 2.4).
type envelope struct {
	NeutronError fault `json:"NeutronError"`
}

type fault struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
}

// challenge is the body of a 401, which Keystone's middleware defines (api-contract section 2.1).
type challenge struct {
	Error struct {
		Code    int    `json:"code"`
		Title   string `json:"title"`
		Message string `json:"message"`
	} `json:"error"`
}

// fail answers an error. What is not a *resource.Error is for the log only.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := public(traceOf(r.Context()), err)
	var doc any = envelope{fault{e.Type, e.Message, e.Detail}}
	if e.Code == http.StatusUnauthorized {
		var ch challenge
		ch.Error.Code, ch.Error.Title, ch.Error.Message = e.Code, "Unauthorized", e.Message
		doc = ch
		if w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", `Keystone uri="`+s.keystoneURL(r)+`"`)
		}
	}
	body, err := resource.Encode(doc)
	if err != nil { // strings only: it cannot be
		body = []byte("{}")
	}
	write(w, e.Code, body)
}

// public is what a stranger may see of an error; the rest is left for the log.
func public(t *trace, err error) *resource.Error {
	var e *resource.Error
	if errors.As(err, &e) {
		if e.Code >= http.StatusInternalServerError && t.err == nil {
			t.err = err
		}
		return e
	}
	t.err = err
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return resource.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable", "The request was given up before it was done.")
	}
	return resource.Errorf(http.StatusInternalServerError, "HTTPInternalServerError",
		"An unexpected error stopped the request. The server's log tells more under %s.", t.id)
}
