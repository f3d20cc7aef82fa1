package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Tagger changes Neutron's tags (extension standard-attr-tag) of the kinds that have the attribute tags.
type Tagger interface {
	SetTags(ctx context.Context, c identity.Caller, kind, id string, body map[string]any) (map[string]any, error)
	AddTag(ctx context.Context, c identity.Caller, kind, id, tag string) error
	RemoveTag(ctx context.Context, c identity.Caller, kind, id, tag string) error
}

// tagRoutes serves …/{id}/tags[/{tag}].
func (k *kind) tagRoutes(mux *http.ServeMux) {
	uri := "/v2.0/" + k.Path + "/{id}/tags"
	k.serve(mux, uri, k.user, verbs{"GET": k.showTags, "PUT": k.setTags, "DELETE": k.clearTags})
	k.serve(mux, uri+"/{tag}", k.user, verbs{
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
	d, err := k.Resources.Show(c, c.caller, k.Name, id)
	if err != nil {
		return err
	}
	var doc struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(d.Doc, &doc); err != nil {
		return fmt.Errorf("%s %s: %w", k.Name, id, err)
	}
	return c.json(http.StatusOK, doc)
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

// oneTag adds or removes the tag in the path.
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
