package resource

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is the only error that a user sees (api-contract sections 2.4 and 11): everything else is a 500 with a fixed text.
type Error struct {
	Code    int    // HTTP status
	Type    string // the contract's type, e.g. IKEPolicyNotFound
	Message string
	Detail  string
}

func (e *Error) Error() string { return e.Type + ": " + e.Message }

// Errorf makes an Error.
func Errorf(code int, typ, format string, a ...any) *Error {
	return &Error{Code: code, Type: typ, Message: fmt.Sprintf(format, a...)}
}

// BadRequest is the framework's 400.
func BadRequest(format string, a ...any) *Error {
	return Errorf(http.StatusBadRequest, "HTTPBadRequest", format, a...)
}

// InvalidInput is the 400 of a value that cannot be converted.
func InvalidInput(format string, a ...any) *Error {
	return Errorf(http.StatusBadRequest, "InvalidInput", "Invalid input for operation: "+format, a...)
}

// Invalid is the 400 of a value that breaks its attribute's rule.
func Invalid(attr, format string, a ...any) *Error {
	return BadRequest("Invalid input for %s. Reason: %s.", attr, fmt.Sprintf(format, a...))
}

// IsType says whether err is an Error of this type.
func IsType(err error, typ string) bool {
	var e *Error
	return errors.As(err, &e) && e.Type == typ
}
