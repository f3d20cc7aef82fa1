package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Rule converts and checks one decoded JSON value (string, json.Number, bool, []any, map[string]any). Its error is either an
// *Error, answered as it is, or the reason in "Invalid input for <attribute>. Reason: <reason>.".
type Rule func(v any) (any, error)

// baseRules are api-contract section 2.3; each takes the arguments that follow its name in the tag.
func baseRules(name string, args []string) Rule {
	switch name {
	case "string":
		return stringRule(0, atoi(args, 0, 1<<20))
	case "text":
		return stringRule(atoi(args, 0, 0), atoi(args, 1, 255))
	case "name":
		return nameRule
	case "uuid":
		return uuidRule
	case "bool":
		return func(v any) (any, error) { return Boolean(v) }
	case "int":
		return intRule(int64(atoi(args, 0, -1<<62)), int64(atoi(args, 1, 1<<62)))
	case "number":
		return numberRule(int64(atoi(args, 0, 0)), int64(atoi(args, 1, 1<<31)))
	case "strings":
		return stringsRule
	case "cidr":
		return func(v any) (any, error) { return CIDR(v) }
	case "ip":
		return func(v any) (any, error) { return IP(v) }
	}
	return nil
}

func ruleNamed(spec string, own map[string]Rule) (Rule, error) {
	f := strings.Fields(spec)
	if len(f) == 0 {
		return nil, errors.New("no rule")
	}
	if r := own[f[0]]; r != nil {
		return r, nil
	}
	if r := baseRules(f[0], f[1:]); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("unknown rule %q", f[0])
}

func atoi(args []string, i, fallback int) int {
	if i >= len(args) {
		return fallback
	}
	n, err := strconv.Atoi(args[i])
	if err != nil {
		return fallback
	}
	return n
}

// Clip shows a stranger's text in a message: short, and without control characters.
func Clip(s string) string {
	q := quote(s)
	return q[1 : len(q)-1]
}

// quote shows a value in a message without letting it fill the screen.
func quote(v any) string {
	if n, ok := v.(json.Number); ok {
		v = n.String()
	}
	s, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v)
		s = string(b)
	}
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:60]) + "…"
	}
	return "'" + strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s) + "'"
}

// String checks a string of min to max characters of UTF-8 without control characters. One of JSON is UTF-8 by itself, one
// that stood in a path may not be.
func String(v any, min, max int) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is not a string", quote(v))
	}
	if n := utf8.RuneCountInString(s); n < min || n > max {
		return "", fmt.Errorf("%s has %d characters; allowed are %d to %d", quote(v), n, min, max)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%s contains a control character (line breaks, tabs and NUL are not allowed)", quote(v))
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%s is not UTF-8", quote(v))
	}
	return s, nil
}

func stringRule(min, max int) Rule {
	return func(v any) (any, error) { return String(v, min, max) }
}

func nameRule(v any) (any, error) {
	s, err := String(v, 0, 255)
	if err == nil && strings.TrimSpace(s) != s {
		return nil, fmt.Errorf("%s begins or ends with a blank", quote(v))
	}
	if err == nil && strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, fmt.Errorf("%s contains a character that cannot be printed", quote(v))
	}
	return s, err
}

func uuidRule(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%s is not a valid UUID", quote(v))
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid UUID", quote(v))
	}
	return id.String(), nil
}

// Boolean converts what clients send for a boolean (api-contract section 2.2).
func Boolean(v any) (bool, error) {
	s := strings.ToLower(strings.Trim(quote(v), "'"))
	switch v.(type) {
	case bool, string, json.Number:
	default:
		s = ""
	}
	switch s {
	case "true", "1", "yes", "on", "t", "y":
		return true, nil
	case "false", "0", "no", "off", "f", "n":
		return false, nil
	}
	return false, InvalidInput("%s cannot be converted to boolean; allowed are true and false.", quote(v))
}

// Integer converts a JSON integer or its decimal text.
func Integer(v any) (int64, error) {
	var s string
	switch x := v.(type) {
	case json.Number:
		s = x.String()
	case string:
		s = x
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, InvalidInput("%s is not an integer.", quote(v))
	}
	return n, nil
}

func ranged(v any, min, max int64) (int64, error) {
	n, err := Integer(v)
	if err == nil && (n < min || n > max) {
		return 0, fmt.Errorf("'%d' is not in the range %d to %d", n, min, max)
	}
	return n, err
}

func intRule(min, max int64) Rule {
	return func(v any) (any, error) { return ranged(v, min, max) }
}

func numberRule(min, max int64) Rule {
	return func(v any) (any, error) {
		n, err := ranged(v, min, max)
		_, quoted := v.(string)
		return Int{N: n, Quoted: quoted}, err
	}
}

func enumRule(allowed []string) Rule {
	return func(v any) (any, error) {
		if s, ok := v.(string); ok && slices.Contains(allowed, s) {
			return s, nil
		}
		return nil, fmt.Errorf("%s is not in valid_values; allowed are %s", quote(v), strings.Join(allowed, ", "))
	}
}

// stringsRule takes a list of strings, or one bare string as a list of one (api-contract section 2.2).
func stringsRule(v any) (any, error) { return Strings(v) }

// Strings converts a list of strings, or one bare string; each without control characters.
func Strings(v any) ([]string, error) {
	if s, ok := v.(string); ok {
		v = []any{s}
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a list", quote(v))
	}
	out := make([]string, 0, len(list))
	for _, x := range list {
		s, err := String(x, 0, 255)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// CIDR checks an address with its prefix length; host bits are accepted and the text stays as it is (api-contract D6).
func CIDR(v any) (string, error) {
	s, _ := v.(string)
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Zone() != "" {
		return "", fmt.Errorf("%s is not a valid IP subnet (address/prefix length, such as 10.1.0.0/16 or 2001:db8::/64)", quote(v))
	}
	return s, nil
}

// IP checks an IP address literal.
func IP(v any) (string, error) {
	s, _ := v.(string)
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return "", fmt.Errorf("%s is not a valid IP address", quote(v))
	}
	return s, nil
}

func defaultValue(text string, t reflect.Type) (any, error) {
	if t.Kind() == reflect.String {
		return text, nil
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}
