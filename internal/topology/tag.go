package topology

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Tagged is a resource with Neutron's tags, which have a sub-resource of their own.
type Tagged struct {
	Tags []string `json:"tags" rule:"strings"`
}

func (g *Tagged) tagged() *Tagged { return g }

// tagger changes the tags of one resource.
type tagger func(op *crud.Op, id string, change func([]string) ([]string, error)) ([]string, error)

func taggerOf[T any, P interface {
	resource.Of[T]
	tagged() *Tagged
}](t *Topology, kind string) tagger {
	return func(op *crud.Op, id string, change func([]string) ([]string, error)) ([]string, error) {
		v, row, err := seen[T](t, op, kind, id)
		if err != nil {
			return nil, err
		}
		if !op.Caller.MayWrite(row.ProjectID) {
			return nil, resource.Errorf(403, "PolicyNotAuthorized", "update_%ss_tags is disallowed by policy: it needs the role member (or admin) in the project", kind)
		}
		g, h := P(v).tagged(), P(v).Base()
		tags, err := change(slices.Clone(g.Tags))
		if err != nil || slices.Equal(tags, g.Tags) {
			return tags, err
		}
		g.Tags, h.UpdatedAt, h.RevisionNumber = tags, now(op), op.Tx.Next()
		return tags, crud.Save(op, row, v, false)
	}
}

// HasTags tells whether resources of this kind have tags.
func (t *Topology) HasTags(kind string) bool { return t.info[kind] != nil }

// SetTags replaces the tags of a network, subnet, router or port (PUT …/{id}/tags with {"tags":["…"]}, Neutron's extension
// standard-attr-tag) and answers the same object; an empty list removes them all. To read them is to show the attribute.
func (t *Topology) SetTags(ctx context.Context, c identity.Caller, kind, id string, body map[string]any) (map[string]any, error) {
	if err := keys(body, []string{"tags"}, "tags"); err != nil {
		return nil, resource.BadRequest("Invalid tags body: %v", err)
	}
	want, err := tagList(body["tags"])
	if err != nil {
		return nil, resource.Invalid("tags", "%v", err)
	}
	tags, err := t.changeTags(ctx, c, kind, id, func([]string) ([]string, error) { return want, nil })
	return map[string]any{"tags": tags}, err
}

// AddTag adds one tag (PUT …/{id}/tags/{tag}); one that is there already stays.
func (t *Topology) AddTag(ctx context.Context, c identity.Caller, kind, id, tag string) error {
	_, err := t.changeTags(ctx, c, kind, id, func(old []string) ([]string, error) {
		if slices.Contains(old, tag) {
			return old, nil
		}
		list := []any{tag}
		for _, x := range old {
			list = append(list, x)
		}
		if _, err := tagList(list); err != nil {
			return nil, resource.Invalid("tag", "%v", err)
		}
		return append(old, tag), nil
	})
	return err
}

// RemoveTag removes one tag (DELETE …/{id}/tags/{tag}); 404 TagNotFound if it is not there.
func (t *Topology) RemoveTag(ctx context.Context, c identity.Caller, kind, id, tag string) error {
	_, err := t.changeTags(ctx, c, kind, id, func(old []string) ([]string, error) {
		i := slices.Index(old, tag)
		if i < 0 {
			return nil, resource.Errorf(404, "TagNotFound", "Tag %s could not be found.", text(tag))
		}
		return slices.Delete(old, i, i+1), nil
	})
	return err
}

func (t *Topology) changeTags(ctx context.Context, c identity.Caller, kind, id string, change func([]string) ([]string, error)) (tags []string, err error) {
	tag := t.taggers[kind]
	if tag == nil {
		return nil, fmt.Errorf("topology: kind %q has no tags", kind)
	}
	_, err = t.svc.Change(ctx, func(op *crud.Op) (err error) {
		op.Caller = c
		tags, err = tag(op, id, change)
		return err
	})
	return tags, err
}

// tagList checks tags as Neutron does: texts of 1 to 255 characters without a comma. One given twice counts once.
func tagList(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok || len(list) > maxList {
		return nil, fmt.Errorf("%s is not a list of at most %d tags", text(v), maxList)
	}
	out := []string{}
	for _, x := range list {
		s, err := resource.String(x, 1, 255)
		if err != nil {
			return nil, err
		}
		if strings.ContainsRune(s, ',') {
			return nil, fmt.Errorf("%s contains a comma", text(s))
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}
