package identity

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"culvert/internal/resource"
)

// Error is what a caller may see, in Keystone's envelope: {"error": {"code", "title", "message"}}. Every other error is a 500
// with a fixed text. No message holds a password or a token.
type Error struct {
	Code       int // HTTP status; its text is the envelope's title
	Message    string
	RetryAfter time.Duration // of a 429
}

func (e *Error) Error() string { return e.Message }

func errorf(code int, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...)}
}

// Unauthorized is the one 401, whatever the reason: it must not tell a stranger which part was wrong.
func Unauthorized() *Error {
	return errorf(http.StatusUnauthorized, "The request you have made requires authentication.")
}

// BadRequest is a 400.
func BadRequest(format string, a ...any) *Error { return errorf(http.StatusBadRequest, format, a...) }

func forbidden(action string) *Error {
	return errorf(http.StatusForbidden, "You are not authorized to perform the requested action: identity:%s.", action)
}

func notFound(kind, id string) *Error {
	if len(id) > 64 {
		id = id[:64]
	}
	return errorf(http.StatusNotFound, "Could not find %s: %q.", kind, id)
}

func conflict(kind, name string) *Error {
	return errorf(http.StatusConflict, "Conflict occurred attempting to store %s - Duplicate entry found with name %s.", kind, name)
}

func tooMany(wait time.Duration) *Error {
	e := errorf(http.StatusTooManyRequests, "Too many failed logins. Try again later.")
	e.RetryAfter = max(wait, time.Second)
	return e
}

// found turns a missing row into a 404.
func found(err error, kind, id string) error {
	if errors.Is(err, resource.ErrNotFound) {
		return notFound(kind, id)
	}
	return err
}
