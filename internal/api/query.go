package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Bounds of a query: far above what clients send, far below what a database minds.
const (
	maxQuery  = 32 << 10 // bytes
	maxParams = 500
)

// param is one name=value of a query, decoded.
type param struct{ name, value string }

// parseParams decodes a query in its order. Text that no resource can hold is refused here, so that no engine sees it.
func parseParams(raw string) ([]param, error) {
	if len(raw) > maxQuery {
		return nil, resource.Errorf(http.StatusRequestURITooLong, "HTTPRequestURITooLong", "The query is longer than %d bytes.", maxQuery)
	}
	var out []param
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || !printable(name) || !printable(value) {
			return nil, resource.BadRequest("The query is malformed: names and values must be percent-encoded UTF-8 without control characters")
		}
		out = append(out, param{name, value})
	}
	if len(out) > maxParams {
		return nil, resource.BadRequest("The query has %d parameters; allowed are %d", len(out), maxParams)
	}
	return out, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// values are those of one name, without the empty ones.
func values(params []param, name string) []string {
	var out []string
	for _, p := range params {
		if p.name == name && p.value != "" {
			out = append(out, p.value)
		}
	}
	return out
}

// last is the value that counts where only one can.
func last(params []param, name string) string {
	v := values(params, name)
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// parseList reads api-contract section 9: fields, filters, sort keys and the page. asked says that the client set a limit.
func parseList(k *resource.Kind, params []param, most int) (l crud.List, asked bool, err error) {
	l.Fields = fields(k, params)
	if l.Filters, l.Named, err = filters(k, params); err != nil {
		return l, false, err
	}
	if l.Order, err = order(k, values(params, "sort_key"), values(params, "sort_dir")); err != nil {
		return l, false, err
	}
	l.Limit, l.Marker, l.Reverse, asked, err = paging(params, most)
	return l, asked, err
}

// paging reads which page is asked for; size is never more than most.
func paging(params []param, most int) (size int, marker string, reverse, asked bool, err error) {
	if size, err = limit(last(params, "limit")); err != nil {
		return 0, "", false, false, err
	}
	asked = size > 0
	if !asked || size > most {
		size = most
	}
	if v := last(params, "page_reverse"); v != "" {
		reverse, err = resource.Boolean(v)
	}
	return size, last(params, "marker"), reverse, asked, err
}

// fieldNames are all that were asked for, known or not.
func fieldNames(params []param) (out []string) {
	for _, v := range values(params, "fields") {
		for name := range strings.SplitSeq(v, ",") {
			if name != "" {
				out = append(out, name)
			}
		}
	}
	return out
}

// fields are the names to answer, each once. Names that the kind does not have count for nothing, but where nothing else was
// asked for, nothing else is answered either: one of them stays.
func fields(k *resource.Kind, params []param) []string {
	var known, unknown []string
	for _, name := range fieldNames(params) {
		switch {
		case k.Attr(name) == nil:
			unknown = []string{name}
		case !slices.Contains(known, name):
			known = append(known, name)
		}
	}
	if known == nil {
		return unknown
	}
	return known
}

// filters are all other parameters: the values of one name are alternatives, the names all must match.
// Those that are no attribute but the kind's own come apart.
func filters(k *resource.Kind, params []param) (out []resource.Filter, named []crud.Filter, err error) {
	var bad []string
	at := map[string]int{}
	for _, p := range params {
		if reserved(p.name) {
			continue
		}
		if slices.Contains(k.Filters, p.name) {
			named = addValue(named, p)
			continue
		}
		a := k.Attr(alias(k, p.name))
		if a == nil || !a.Filter {
			bad = append(bad, clip(p.name))
			continue
		}
		v, err := filterValue(a, p.value)
		if err != nil {
			return nil, nil, err
		}
		i, seen := at[p.name]
		if !seen {
			i, at[p.name] = len(out), len(out)
			out = append(out, resource.Filter{Column: a.Column})
		}
		out[i].Values = append(out[i].Values, v)
	}
	if bad != nil {
		allowed := names(k, func(a *resource.Attr) bool { return a.Filter }, k.Filters...)
		return nil, nil, resource.BadRequest("%s is invalid attribute for filtering; allowed are %s", quoted(bad), allowed)
	}
	return out, named, nil
}

// addValue adds a value to the filter of its name. An empty one asks for nothing, as in Neutron.
func addValue(named []crud.Filter, p param) []crud.Filter {
	if p.value == "" {
		return named
	}
	for i := range named {
		if named[i].Name == p.name {
			named[i].Values = append(named[i].Values, p.value)
			return named
		}
	}
	return append(named, crud.Filter{Name: p.name, Values: []string{p.value}})
}

func reserved(name string) bool {
	return slices.Contains([]string{"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"}, name)
}

// alias is the attribute that a parameter names: openstacksdk sends endpoint_type for an endpoint group's type.
func alias(k *resource.Kind, name string) string {
	if k.Name == "endpoint_group" && name == "endpoint_type" {
		return "type"
	}
	return name
}

// filterValue converts as bodies are converted; it does not check further: a value that cannot be matches nothing.
func filterValue(a *resource.Attr, v string) (string, error) {
	switch a.Column.Type {
	case resource.Number:
		n, err := resource.Integer(v)
		return strconv.FormatInt(n, 10), err
	case resource.Bool:
		b, err := resource.Boolean(v)
		return strconv.FormatBool(b), err
	}
	return v, nil
}

// order pairs keys and directions, which must be equally many (api-contract section 9).
func order(k *resource.Kind, keys, dirs []string) ([]resource.Order, error) {
	var out []resource.Order
	var bad []string
	if len(keys) != len(dirs) {
		return nil, resource.BadRequest("The number of sort_keys and sort_dirs must be same")
	}
	for i, key := range keys {
		if dirs[i] != "asc" && dirs[i] != "desc" {
			return nil, badDirection(dirs[i])
		}
		a := k.Attr(key)
		if a == nil || !a.Sort {
			bad = append(bad, clip(key))
			continue
		}
		o := resource.Order{Column: a.Column, Desc: dirs[i] == "desc"}
		if !slices.ContainsFunc(out, func(x resource.Order) bool { return x.Column == o.Column }) {
			out = append(out, o)
		}
	}
	if bad != nil {
		allowed := names(k, func(a *resource.Attr) bool { return a.Sort })
		return nil, resource.BadRequest("%s is invalid attribute for sort_keys; allowed are %s", quoted(bad), allowed)
	}
	return out, nil
}

func badDirection(dir string) error {
	return resource.BadRequest("%s is invalid value for sort_dirs, valid value is 'asc' and 'desc'", quoted([]string{clip(dir)}))
}

// limit is 0 where none was asked for.
func limit(v string) (int, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, resource.Errorf(http.StatusBadRequest, "BadRequest", "Bad limit request: Limit must be an integer 0 or greater and not '%s'.", clip(v))
	}
	return int(n), nil
}

// quoted writes names as upstream's messages do: ['a', 'b'], each once.
func quoted(names []string) string {
	slices.Sort(names)
	return "['" + strings.Join(slices.Compact(names), "', '") + "']"
}

// names lists the attributes that a test holds for, and others.
func names(k *resource.Kind, holds func(*resource.Attr) bool, others ...string) string {
	out := slices.Clone(others)
	for _, a := range k.Attrs {
		if holds(a) {
			out = append(out, a.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
