package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Tagger changes Neutron's tags (extension standard-attr-tag) of the kinds that have the attribute tags.
type Tagger interface {
	HasTags(kind string) bool
	SetTags(ctx context.Context, c identity.Caller, kind, id string, body map[string]any) (map[string]any, error)
	AddTag(ctx context.Context, c identity.Caller, kind, id, tag string) error
	RemoveTag(ctx context.Context, c identity.Caller, kind, id, tag string) error
}

// tagRoutes serves …/{id}/tags[/{tag}].
func (k *kind) tagRoutes(mux *http.ServeMux) {
	uri := "/v2.0/" + k.Path + "/{id}/tags"
	k.serve(mux, uri, k.user, verbs{"GET": k.showTags, "PUT": k.setTags, "DELETE": k.clearTags})
	k.serve(mux, uri+"/{tag}", k.user, verbs{
		"GET":    k.oneTag(k.hasTag, http.StatusNoContent),
		"PUT":    k.oneTag(k.Tags.AddTag, http.StatusCreated),
		"DELETE": k.oneTag(k.Tags.RemoveTag, http.StatusNoContent),
	})
}

// showTags answers the attribute alone.
func (k *kind) showTags(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	tags, err := k.tags(c, c.caller, id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string][]string{"tags": tags})
}

func (k *kind) tags(ctx context.Context, c identity.Caller, id string) ([]string, error) {
	d, err := k.Resources.Show(ctx, c, k.Name, id)
	if err != nil {
		return nil, err
	}
	var doc struct{ Tags []string }
	if err := json.Unmarshal(d.Doc, &doc); err != nil {
		return nil, fmt.Errorf("%s %s: %w", k.Name, id, err)
	}
	return doc.Tags, nil
}

// hasTag is an error unless the resource has the tag.
func (k *kind) hasTag(ctx context.Context, c identity.Caller, _, id, tag string) error {
	tags, err := k.tags(ctx, c, id)
	if err == nil && !slices.Contains(tags, tag) {
		err = resource.Errorf(http.StatusNotFound, "TagNotFound", "Tag '%s' could not be found.", clip(tag))
	}
	return err
}

func (k *kind) setTags(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	in, err := c.object()
	if err != nil {
		return err
	}
	out, err := k.Tags.SetTags(c, c.caller, k.Name, id, in)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}

func (k *kind) clearTags(c *call) error {
	id, err := k.id(c)
	if err == nil {
		err = c.noBody()
	}
	if err == nil {
		_, err = k.Tags.SetTags(c, c.caller, k.Name, id, map[string]any{"tags": []any{}})
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// oneTag looks for, adds or removes the tag in the path.
func (k *kind) oneTag(do func(context.Context, identity.Caller, string, string, string) error, code int) func(*call) error {
	return func(c *call) error {
		id, err := k.id(c)
		if err != nil {
			return err
		}
		tag := c.r.PathValue("tag")
		if !printable(tag) {
			return resource.Invalid("tag", "it contains a control character, or is not UTF-8")
		}
		if err := do(c, c.caller, k.Name, id, tag); err != nil {
			return err
		}
		c.w.WriteHeader(code)
		return nil
	}
}
