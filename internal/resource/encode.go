package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Encode writes JSON as the API answers and stores it: without HTML escapes, without a line break at its end.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode a document: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
