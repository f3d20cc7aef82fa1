package api

import (
	"context"
	"net/http"

	"culvert/internal/identity"
)

// ConnectionTags are the key/value tags of IPsec site connections, below their project's URI (api-contract section 9).
type ConnectionTags interface {
	ConnectionTags(ctx context.Context, c identity.Caller, project, id string) (map[string]any, error)
	AddConnectionTag(ctx context.Context, c identity.Caller, project, id string, body map[string]any) error
	ChangeConnectionTags(ctx context.Context, c identity.Caller, project, id string, body map[string]any) error
	RemoveConnectionTag(ctx context.Context, c identity.Caller, project, id, key string) error
	ProjectTags(ctx context.Context, c identity.Caller, project string) (map[string]any, error)
	FindByTags(ctx context.Context, c identity.Caller, project string, body map[string]any) (map[string]any, error)
}

// projectRoutes serves what lies below /v2.0/{project}. It has a mux of its own, since to ServeMux {project} and the names
// of collections are alternatives of which none goes first.
func (s *server) projectRoutes() http.Handler {
	mux := http.NewServeMux()
	if s.Upstream != nil {
		s.serve(mux, "/", anybody, nil) // Neutron knows its callers
	} else {
		s.serve(mux, "/", s.user, nil)
	}
	k := s.Resources.Kinds()["ipsec_site_connection"]
	if s.ConnectionTags == nil || k == nil {
		return mux
	}
	h := &tagged{&kind{s, k.Info()}}
	const all = "/v2.0/{project}/ipsec-site-connections"
	const one = all + "/{id}/tags"
	s.serve(mux, all+"/tags", s.user, verbs{"GET": h.ofProject})
	s.serve(mux, all+"/resource_instances/action", s.user, verbs{"POST": h.find})
	s.serve(mux, one, s.user, verbs{"GET": h.list, "POST": h.change(s.ConnectionTags.AddConnectionTag)})
	s.serve(mux, one+"/{key}", s.user, verbs{"DELETE": h.remove})
	s.serve(mux, "POST "+one+"/action", s.user, verbs{"POST": h.change(s.ConnectionTags.ChangeConnectionTags)})
	return mux
}

// tagged serves the tags of connections.
type tagged struct{ *kind }

func (k *tagged) ofProject(c *call) error {
	out, err := k.ConnectionTags.ProjectTags(c, c.caller, c.r.PathValue("project"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}

func (k *tagged) find(c *call) error {
	body, err := c.object()
	if err != nil {
		return err
	}
	out, err := k.ConnectionTags.FindByTags(c, c.caller, c.r.PathValue("project"), body)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}

func (k *tagged) list(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	out, err := k.ConnectionTags.ConnectionTags(c, c.caller, c.r.PathValue("project"), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}

// change answers 204: there is nothing to say.
func (k *tagged) change(do func(ctx context.Context, c identity.Caller, project, id string, body map[string]any) error) func(*call) error {
	return func(c *call) error {
		id, err := k.id(c)
		if err != nil {
			return err
		}
		body, err := c.object()
		if err != nil {
			return err
		}
		if err := do(c, c.caller, c.r.PathValue("project"), id, body); err != nil {
			return err
		}
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

func (k *tagged) remove(c *call) error {
	id, err := k.id(c)
	if err == nil {
		err = c.noBody()
	}
	if err == nil {
		err = k.ConnectionTags.RemoveConnectionTag(c, c.caller, c.r.PathValue("project"), id, c.r.PathValue("key"))
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
