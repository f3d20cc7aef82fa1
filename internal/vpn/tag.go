package vpn

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Tag is a key with a value that a user hangs on a connection (api-contract section 9, "OTC key/value tags"). Tags are
// labels: no gateway learns of them, and neither revision_number nor updated_at changes with them.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Tags are those of one connection, ordered by key.
type Tags []Tag

// MarshalJSON writes no tags as an empty list.
func (t Tags) MarshalJSON() ([]byte, error) {
	if t == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]Tag(t))
}

// with returns the tags with others added, or their values replaced.
func (t Tags) with(others []Tag) Tags {
	out := t.without(others)
	out = append(out, others...)
	slices.SortFunc(out, func(a, b Tag) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// without returns the tags without those of these keys.
func (t Tags) without(others []Tag) Tags {
	return slices.DeleteFunc(slices.Clone(t), func(x Tag) bool { return has(others, x.Key) })
}

func has(tags []Tag, key string) bool {
	return slices.ContainsFunc(tags, func(t Tag) bool { return t.Key == key })
}

// Bounds of tags; the first three are the contract's.
const (
	maxTagKey     = 36
	maxTagValue   = 43
	maxTagsSent   = 10 // in one request
	maxTagsOfOne  = 20 // on one connection
	maxForeignKey = 255
)

func tagRule(v any, min, max int) (string, error) {
	s, err := resource.String(v, min, max)
	strange := func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_')
	}
	if err == nil && strings.ContainsFunc(s, strange) {
		err = fmt.Errorf("'%s' contains a character that is not allowed; allowed are A-Z, a-z, 0-9, - and _", s)
	}
	return s, err
}

// tagSent checks one tag of a request; to delete one, its key is enough, and any text may be a key.
func tagSent(v any, remove bool) (t Tag, err error) {
	m, err := object(v, "tag", "key", "value")
	if err != nil {
		return t, err
	}
	if remove {
		t.Key, err = resource.String(m["key"], 1, maxForeignKey)
	} else {
		t.Key, err = tagRule(m["key"], 1, maxTagKey)
	}
	if err != nil {
		return t, resource.Invalid("key", "%v", err)
	}
	if remove {
		return t, nil
	}
	if t.Value, err = tagRule(m["value"], 0, maxTagValue); err != nil {
		return t, resource.Invalid("value", "%v", err)
	}
	return t, nil
}

// object checks that v is a JSON object with no other keys than these.
func object(v any, name string, keys ...string) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, resource.Invalid(name, "it must be an object with %s", strings.Join(keys, ", "))
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(keys, k) {
			return nil, resource.BadRequest("Unrecognized attribute(s) '%s'", resource.Clip(k))
		}
	}
	return m, nil
}

// ConnectionTags answers {"tags": […]} of one connection.
func (s *Service) ConnectionTags(ctx context.Context, c identity.Caller, project, id string) (map[string]any, error) {
	var conn *Connection
	err := s.Resources.Store.View(ctx, func(r resource.Reader) (err error) {
		conn, _, err = s.ofProject(ctx, c, r, project, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"tags": conn.Tags}, nil
}

// ofProject finds a connection below its project's URI; in another project's there is none.
func (s *Service) ofProject(ctx context.Context, c identity.Caller, r resource.Reader, project, id string) (*Connection, resource.Row, error) {
	conn, row, err := crud.Load[Connection](ctx, r, KindConnection, id)
	if errors.Is(err, resource.ErrNotFound) || err == nil && (row.ProjectID != project || !c.MayRead(project)) {
		return nil, row, s.connectionKind.ErrNotFound(id)
	}
	return conn, row, err
}

// AddConnectionTag adds {"tag": {"key", "value"}} to a connection, or replaces the key's value.
func (s *Service) AddConnectionTag(ctx context.Context, c identity.Caller, project, id string, body map[string]any) error {
	m, err := object(body, "body", "tag")
	if err != nil {
		return err
	}
	t, err := tagSent(m["tag"], false)
	if err != nil {
		return err
	}
	return s.changeTags(ctx, c, project, id, func(old Tags) (Tags, error) { return old.with([]Tag{t}), nil })
}

// ChangeConnectionTags carries out {"action": "create" or "delete", "tags": […]}. To create replaces values, and to delete
// what is not there succeeds.
func (s *Service) ChangeConnectionTags(ctx context.Context, c identity.Caller, project, id string, body map[string]any) error {
	m, err := object(body, "body", "action", "tags")
	if err != nil {
		return err
	}
	action, _ := m["action"].(string)
	if action != "create" && action != "delete" {
		return resource.Invalid("action", "allowed are create and delete")
	}
	list, ok := m["tags"].([]any)
	if !ok || len(list) < 1 || len(list) > maxTagsSent {
		return resource.Invalid("tags", "it must be a list of 1 to %d tags", maxTagsSent)
	}
	var tags []Tag
	for _, v := range list {
		t, err := tagSent(v, action == "delete")
		if err != nil {
			return err
		}
		if has(tags, t.Key) {
			return resource.Invalid("tags", "the key '%s' is given twice", t.Key)
		}
		tags = append(tags, t)
	}
	return s.changeTags(ctx, c, project, id, func(old Tags) (Tags, error) {
		if action == "delete" {
			return old.without(tags), nil
		}
		return old.with(tags), nil
	})
}

// RemoveConnectionTag takes one tag off a connection; 404 TagNotFound if it is not there.
func (s *Service) RemoveConnectionTag(ctx context.Context, c identity.Caller, project, id, key string) error {
	return s.changeTags(ctx, c, project, id, func(old Tags) (Tags, error) {
		if !has(old, key) {
			return nil, resource.Errorf(404, "TagNotFound", "Tag %s could not be found.", resource.Clip(key))
		}
		return old.without([]Tag{{Key: key}}), nil
	})
}

func (s *Service) changeTags(ctx context.Context, c identity.Caller, project, id string, change func(Tags) (Tags, error)) error {
	_, err := s.Resources.Change(ctx, func(op *crud.Op) error {
		conn, row, err := s.ofProject(op, c, op.Tx, project, id)
		if err != nil {
			return err
		}
		if !c.MayWrite(project) {
			return resource.Errorf(403, "PolicyNotAuthorized", "update_%s_tags is disallowed by policy: it needs the role member (or admin) in the project", KindConnection)
		}
		tags, err := change(conn.Tags)
		if err != nil || slices.Equal(tags, conn.Tags) {
			return err
		}
		if len(tags) > maxTagsOfOne && len(tags) > len(conn.Tags) {
			return resource.BadRequest("The connection would have %d tags; allowed are %d", len(tags), maxTagsOfOne)
		}
		was := *conn
		conn.Tags = tags
		changes, err := resource.Diff(&was, conn)
		if err != nil {
			return err
		}
		op.Caller = c
		return errors.Join(crud.Save(op, row, conn, false), s.note(op, id, updated(KindConnection, &conn.Head, changes, "")))
	})
	return err
}
