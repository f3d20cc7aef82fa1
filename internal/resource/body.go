package resource

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"unicode/utf8"
)

// maxDepth is far above what any resource nests.
const maxDepth = 16

// ParseBody decodes a request's JSON object; numbers stay json.Number. Every error is a 400 *Error that shows nothing of the body.
func ParseBody(raw []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, BadRequest("Resource body required")
	}
	if !utf8.Valid(raw) || tooDeep(raw) {
		return nil, malformed("it must be UTF-8 and nest at most 16 levels")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, malformed("it is not JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, malformed("something follows the JSON value")
	}
	switch v := doc.(type) {
	case map[string]any:
		if len(v) > 0 {
			return v, nil
		}
	case []any:
		if len(v) > 0 {
			return nil, BadRequest("The body must be a JSON object, not a list")
		}
	default:
		return nil, BadRequest("The body must be a JSON object")
	}
	return nil, BadRequest("Resource body required")
}

// Unwrap returns the object below key in a body such as {"ikepolicy": {…}}.
func Unwrap(body map[string]any, key string) (map[string]any, error) {
	v, ok := body[key]
	if !ok {
		return nil, BadRequest("Unable to find '%s' in request body", key)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, BadRequest("Object '%s' contains invalid data: it must be an object", key)
	}
	return m, nil
}

func malformed(why string) *Error {
	return Errorf(http.StatusBadRequest, "MalformedRequestBody", "Malformed request body: %s.", why)
}

// tooDeep counts brackets outside of strings, so that the decoder never recurses for a stranger.
func tooDeep(raw []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
