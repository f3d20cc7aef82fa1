package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Difference is an attribute that got another value. A secret's values are Masked.
type Difference struct {
	Attribute string          `json:"attribute"`
	Old       json.RawMessage `json:"old"` // null where it had none
	New       json.RawMessage `json:"new"` // null where it has none any more
}

// Diff compares two values by the JSON that the API shows of them, and answers the attributes that differ, sorted by
// name. What every change touches is left out: updated_at, revision_number, tenant_id (project_id says it), and status
// with its reason, which are answers and no settings.
func Diff(before, after any) ([]Difference, error) {
	old, err := attributes(before)
	if err != nil {
		return nil, err
	}
	now, err := attributes(after)
	if err != nil {
		return nil, err
	}
	out := []Difference{}
	for name, v := range now {
		if !bytes.Equal(old[name], v) {
			out = append(out, Difference{name, orNull(old[name]), v})
		}
	}
	for name, v := range old {
		if _, still := now[name]; !still {
			out = append(out, Difference{name, v, orNull(nil)})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int { return bytes.Compare([]byte(a.Attribute), []byte(b.Attribute)) })
	return out, nil
}

func orNull(v json.RawMessage) json.RawMessage {
	if v == nil {
		return json.RawMessage("null")
	}
	return v
}

func attributes(v any) (map[string]json.RawMessage, error) {
	text, err := Encode(v)
	if err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("compare attributes: %w", err)
	}
	for _, name := range []string{"updated_at", "revision_number", "tenant_id", "status", "status_reason"} {
		delete(m, name)
	}
	return m, nil
}

// Different is one difference that no document shows.
func Different(attribute string, before, after any) (Difference, error) {
	old, err1 := Encode(before)
	now, err2 := Encode(after)
	if err1 != nil || err2 != nil {
		return Difference{}, fmt.Errorf("the values of %s cannot be written", attribute)
	}
	return Difference{attribute, old, now}, nil
}
