package vpn

import (
	"context"
	"maps"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
)

// tagQuery asks for connections by their tags and name; what is left out asks for nothing.
type tagQuery struct {
	count         bool // their number alone
	limit, offset int64
	tags          []tagMatch // all of them
	name          string     // pattern; "" is any
}

// tagMatch is a key with any of these values; none given is any value.
type tagMatch struct {
	key    string
	values []string // patterns
}

// Bounds of a query (api-contract section 9).
const (
	maxQueryKey    = 127
	maxQueryValue  = 255
	maxQueryValues = 10 // of one key
	maxInstances   = 1000
)

// ProjectTags answers every key that the project's connections have, each with all of its values.
func (s *Service) ProjectTags(ctx context.Context, c identity.Caller, project string) (map[string]any, error) {
	conns, err := s.ofWholeProject(ctx, c, project)
	if err != nil {
		return nil, err
	}
	known := map[string][]string{}
	for _, conn := range conns {
		for _, t := range conn.Tags {
			if !slices.Contains(known[t.Key], t.Value) {
				known[t.Key] = append(known[t.Key], t.Value)
			}
		}
	}
	type keyed struct {
		Key    string   `json:"key"`
		Values []string `json:"values"`
	}
	out := []keyed{}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		slices.Sort(known[key])
		out = append(out, keyed{key, known[key]})
	}
	return map[string]any{"tags": out}, nil
}

// ofWholeProject are a project's connections, oldest first.
func (s *Service) ofWholeProject(ctx context.Context, c identity.Caller, project string) (conns []*Connection, err error) {
	if project == "" || !c.MayRead(project) {
		return nil, resource.Errorf(403, "PolicyNotAuthorized", "get_%s_tags is disallowed by policy: it needs a role in the project", KindConnection)
	}
	err = s.Resources.Store.View(ctx, func(r resource.Reader) error {
		conns, err = crud.LoadAll[Connection](ctx, r, resource.Query{Kind: KindConnection, ProjectID: project})
		return err
	})
	return conns, err
}

// FindByTags answers the project's connections that a query {"action": "filter" or "count", …} names, or their number.
func (s *Service) FindByTags(ctx context.Context, c identity.Caller, project string, body map[string]any) (map[string]any, error) {
	q, err := tagQuerySent(body)
	if err != nil {
		return nil, err
	}
	conns, err := s.ofWholeProject(ctx, c, project)
	if err != nil {
		return nil, err
	}
	conns = slices.DeleteFunc(conns, func(conn *Connection) bool { return !q.matches(conn) })
	out := map[string]any{"total_count": len(conns)}
	if q.count {
		return out, nil
	}
	resources := []map[string]any{}
	total := int64(len(conns))
	from := min(q.offset, total)
	for _, conn := range conns[from:min(from+q.limit, total)] {
		resources = append(resources, map[string]any{"resource_id": conn.ID, "resource_name": conn.Name, "resource_detail": nil, "tags": conn.Tags})
	}
	out["resources"] = resources
	return out, nil
}

func (q tagQuery) matches(c *Connection) bool {
	for _, m := range q.tags {
		if !slices.ContainsFunc(c.Tags, m.matches) {
			return false
		}
	}
	return q.name == "" || like(q.name, c.Name)
}

func (m tagMatch) matches(t Tag) bool {
	if t.Key != m.key {
		return false
	}
	return len(m.values) == 0 || slices.ContainsFunc(m.values, func(pattern string) bool { return like(pattern, t.Value) })
}

// like compares text with a pattern in which * is any number of any characters.
func like(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, p := range parts[1:last] {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return strings.HasSuffix(text, parts[last])
}

// tagQuerySent checks the body of a query. Numbers may come as strings.
func tagQuerySent(body map[string]any) (q tagQuery, err error) {
	if body, err = object(body, "body", "action", "limit", "offset", "tags", "matches"); err != nil {
		return q, err
	}
	action, _ := body["action"].(string)
	if action != "filter" && action != "count" {
		return q, resource.Invalid("action", "allowed are filter and count")
	}
	q.count = action == "count"
	if q.limit, err = numberSent(body, "limit", maxInstances, 1, maxInstances); err != nil {
		return q, err
	}
	if q.offset, err = numberSent(body, "offset", 0, 0, 1<<31-1); err != nil {
		return q, err
	}
	if q.tags, err = tagMatchesSent(body["tags"]); err != nil {
		return q, err
	}
	q.name, err = nameMatchSent(body["matches"])
	return q, err
}

func numberSent(body map[string]any, name string, fallback, min, max int64) (int64, error) {
	v := body[name]
	if v == nil {
		return fallback, nil
	}
	n, err := resource.Integer(v)
	if err == nil && (n < min || n > max) {
		err = resource.Invalid(name, "'%d' is not in the range %d to %d", n, min, max)
	}
	return n, err
}

// listSent is a list of at most max; nil for none.
func listSent(v any, name string, max int) ([]any, error) {
	list, ok := v.([]any)
	if v != nil && !ok || len(list) > max {
		return nil, resource.Invalid(name, "it must be a list of at most %d", max)
	}
	return list, nil
}

func tagMatchesSent(v any) (out []tagMatch, err error) {
	list, err := listSent(v, "tags", maxTagsSent)
	for _, x := range list {
		m, err := object(x, "tags", "key", "values")
		if err != nil {
			return nil, err
		}
		one := tagMatch{}
		if one.key, err = resource.String(m["key"], 1, maxQueryKey); err != nil {
			return nil, resource.Invalid("key", "%v", err)
		}
		if slices.ContainsFunc(out, func(o tagMatch) bool { return o.key == one.key }) {
			return nil, resource.Invalid("tags", "the key '%s' is given twice", one.key)
		}
		if one.values, err = tagValuesSent(m["values"]); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, err
}

func tagValuesSent(v any) (out []string, err error) {
	if v == nil {
		return nil, resource.Invalid("values", "it is needed; an empty list is any value")
	}
	list, err := listSent(v, "values", maxQueryValues)
	for _, x := range list {
		s, err := resource.String(x, 0, maxQueryValue)
		if err != nil {
			return nil, resource.Invalid("values", "%v", err)
		}
		if slices.Contains(out, s) {
			return nil, resource.Invalid("values", "the value '%s' is given twice", s)
		}
		out = append(out, s)
	}
	return out, err
}

// nameMatchSent is the one thing besides tags that can be asked for.
func nameMatchSent(v any) (name string, err error) {
	list, err := listSent(v, "matches", 1)
	for _, x := range list {
		m, err := object(x, "matches", "key", "value")
		if err != nil {
			return "", err
		}
		if m["key"] != "resource_name" {
			return "", resource.Invalid("matches", "the only key is resource_name")
		}
		if name, err = resource.String(m["value"], 1, maxQueryValue); err != nil {
			return "", resource.Invalid("value", "%v", err)
		}
	}
	return name, err
}
