package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Int is an integer that remembers whether it was sent as a string, and is answered so (api-contract D5).
type Int struct {
	N      int64
	Quoted bool
}

// MarshalJSON writes the number in the JSON type that it was sent in.
func (i Int) MarshalJSON() ([]byte, error) {
	b := strconv.AppendInt(nil, i.N, 10)
	if i.Quoted {
		b = append(append([]byte{'"'}, b...), '"')
	}
	return b, nil
}

// UnmarshalJSON reads a number or its decimal text.
func (i *Int) UnmarshalJSON(b []byte) error {
	i.Quoted = bytes.HasPrefix(b, []byte{'"'})
	n, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil {
		return fmt.Errorf("integer: %w", err)
	}
	i.N = n
	return nil
}

var _ json.Unmarshaler = (*Int)(nil)
