package crud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Document is one resource as its caller may see it.
type Document struct {
	ID         string
	Doc        []byte // JSON object without its secret
	SecretName string // "" for kinds without one
	Secret     string // clear or resource.Masked
}

func (s *Service) document(c identity.Caller, k *resource.Kind, row *resource.Row) (*Document, error) {
	d := &Document{ID: row.ID, Doc: row.Doc}
	a := k.Secret()
	if a == nil {
		return d, nil
	}
	d.SecretName, d.Secret = a.Name, resource.Masked
	if !c.MayWrite(row.ProjectID) {
		return d, nil
	}
	clear, err := s.Secret(k, row)
	d.Secret = clear
	return d, err
}

// Secret opens the secret of a row, "" if it has none.
func (s *Service) Secret(k *resource.Kind, row *resource.Row) (string, error) {
	if row.Sealed == nil {
		return "", nil
	}
	b, err := s.Sealer.Open(k.Secret().Name, row.ID, row.Sealed)
	if err != nil {
		return "", fmt.Errorf("open the %s of %s %s: %w", k.Secret().Name, k.Name, row.ID, err)
	}
	return string(b), nil
}

// Append writes the document's JSON, or only these fields of it.
func (d *Document) Append(dst []byte, fields []string) ([]byte, error) {
	if len(fields) > 0 {
		return d.appendFields(dst, fields)
	}
	if d.SecretName == "" {
		return append(dst, d.Doc...), nil
	}
	dst = append(dst, bytes.TrimSuffix(d.Doc, []byte{'}'})...)
	dst = append(dst, ',')
	dst = appendPair(dst, d.SecretName, d.Secret)
	return append(dst, '}'), nil
}

// appendFields ignores names that the document does not have (api-contract section 9).
func (d *Document) appendFields(dst []byte, fields []string) ([]byte, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(d.Doc, &m); err != nil {
		return dst, fmt.Errorf("document %s: %w", d.ID, err)
	}
	dst = append(dst, '{')
	first := true
	for i, f := range fields {
		if slices.Contains(fields[:i], f) || m[f] == nil && (f != d.SecretName || f == "") {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if f == d.SecretName {
			dst = appendPair(dst, f, d.Secret)
			continue
		}
		dst = append(append(append(append(dst, '"'), f...), '"', ':'), m[f]...)
	}
	return append(dst, '}'), nil
}

func appendPair(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, '"'), name...), '"', ':')
	if isPlain(value) {
		return append(append(append(dst, '"'), value...), '"')
	}
	b, _ := resource.Encode(value)
	return append(dst, b...)
}

// isPlain says that the value is its own JSON string.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}
