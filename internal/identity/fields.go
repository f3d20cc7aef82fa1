package identity

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"culvert/internal/resource"
)

// Bounds of attributes that Keystone does not know and keeps.
const (
	maxExtras      = 16
	maxExtraText   = 1024
	maxPassword    = 4096 // characters, Keystone's own limit
	maxTags        = 80   // likewise
	maxTag         = 255
	maxName        = 255
	maxProjectName = 64
)

// fields reads the attributes of a request one by one; the first error stays. An attribute that was not sent leaves its
// destination as it is.
type fields struct {
	in    map[string]any
	known []string
	err   error
}

func (f *fields) take(name string) (any, bool) {
	f.known = append(f.known, name)
	v, given := f.in[name]
	return v, given && f.err == nil
}

func (f *fields) fail(name, why string) {
	if f.err == nil {
		f.err = BadRequest("Invalid input for field '%s': %s.", name, why)
	}
}

// text reads a string of min to max characters; null is "" where that is long enough.
func (f *fields) text(name string, min, max int, dst *string) {
	v, given := f.take(name)
	if !given {
		return
	}
	if v == nil && min == 0 {
		v = ""
	}
	s, err := resource.String(v, min, max)
	if err != nil {
		f.fail(name, err.Error())
		return
	}
	*dst = s
}

// name reads a name, which must not be blank.
func (f *fields) name(max int, dst *string) {
	f.text("name", 1, max, dst)
	if f.err == nil && strings.TrimSpace(*dst) == "" {
		f.fail("name", "it must be given and not be blank")
	}
}

// flag reads a JSON boolean, as strict as Keystone.
func (f *fields) flag(name string, dst *bool) {
	v, given := f.take(name)
	if !given {
		return
	}
	b, ok := v.(bool)
	if !ok {
		f.fail(name, "it must be true or false")
		return
	}
	*dst = b
}

// password reads a new password; no error shows it. null and an absent one are "", which nobody can log in with.
func (f *fields) password(name string, dst *string) {
	v, given := f.take(name)
	if !given || v == nil {
		return
	}
	s, ok := v.(string)
	if !ok || s == "" || utf8.RuneCountInString(s) > maxPassword {
		f.fail(name, "it must be a string of 1 to 4096 characters")
		return
	}
	*dst = s
}

func (f *fields) tags(dst *[]string) {
	v, given := f.take("tags")
	if !given {
		return
	}
	list, ok := v.([]any)
	if !ok || len(list) > maxTags {
		f.fail("tags", "it must be a list of at most 80 strings")
		return
	}
	tags := []string{}
	for _, x := range list {
		s, err := resource.String(x, 1, maxTag)
		if err != nil || strings.ContainsAny(s, ",/") {
			f.fail("tags", "each must be a string of 1 to 255 characters without ',' and '/'")
			return
		}
		if !slices.Contains(tags, s) {
			tags = append(tags, s)
		}
	}
	*dst = tags
}

// future reads a time that is yet to come, with or without a zone (UTC); null is none.
func (f *fields) future(name string, now time.Time, dst **time.Time) {
	v, given := f.take(name)
	if !given || v == nil {
		return
	}
	text, ok := v.(string)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05.999999999", text)
	}
	if t = t.UTC().Truncate(time.Microsecond); !ok || err != nil || !t.After(now) || t.Year() > 9999 {
		f.fail(name, "it must be a time to come, such as 2030-01-31T12:00:00Z")
		return
	}
	*dst = &t
}

// roles reads a list such as [{"id": …}, {"name": …}] of roles among these; absent or empty it is all of them.
func (f *fields) roles(have []Role, dst *[]string) {
	v, _ := f.take("roles")
	list, ok := v.([]any)
	if v != nil && !ok || len(list) > maxTags {
		f.fail("roles", "it must be a list of roles")
	}
	ids := []string{}
	for _, x := range list {
		m, _ := x.(map[string]any)
		id, _ := m["id"].(string)
		name, _ := m["name"].(string)
		i := slices.IndexFunc(have, func(r Role) bool { return id != "" && r.ID == id || id == "" && name != "" && r.Name == name })
		if i < 0 {
			f.fail("roles", "each must name, by id or name, a role that the token has")
			return
		}
		if !slices.Contains(ids, have[i].ID) {
			ids = append(ids, have[i].ID)
		}
	}
	if len(ids) == 0 {
		for _, r := range have {
			ids = append(ids, r.ID)
		}
	}
	*dst = ids
}

// noTags accepts tags only when there are none.
func (f *fields) noTags() {
	v, given := f.take("tags")
	if l, ok := v.([]any); given && (!ok || len(l) > 0) {
		f.fail("tags", "only projects have tags")
	}
}

// fixed accepts an attribute only with the value that it has anyway.
func (f *fields) fixed(name string, allowed ...any) {
	v, given := f.take(name)
	if given && (!scalar(v) || !slices.Contains(allowed, v)) {
		f.fail(name, "it cannot be set to this value")
	}
}

// options accepts Keystone's resource options only when there are none.
func (f *fields) options() {
	v, given := f.take("options")
	if m, ok := v.(map[string]any); given && (!ok || len(m) > 0) {
		f.fail("options", "no resource option is supported")
	}
}

// extras reads what no other call has read; null deletes.
func (f *fields) extras(dst *map[string]any) {
	out := map[string]any{}
	for k, v := range *dst {
		out[k] = v
	}
	for k, v := range f.in {
		switch {
		case slices.Contains(f.known, k):
		case !plain(k) || len(k) > maxName || !scalar(v):
			f.fail("extra", "further attributes must be a plain name with a string, number, boolean or null")
		case v == nil:
			delete(out, k)
		default:
			out[k] = v
		}
	}
	if len(out) > maxExtras {
		f.fail("extra", "there are more than 16 further attributes")
	}
	if *dst = out; len(out) == 0 {
		*dst = nil
	}
}

func scalar(v any) bool {
	switch x := v.(type) {
	case nil, bool:
		return true
	case json.Number:
		return len(x) < 64
	case string:
		return len(x) <= maxExtraText && plain(x)
	}
	return false
}

func plain(s string) bool { return !strings.ContainsFunc(s, unicode.IsControl) }
