package api

import (
	"context"
	"net/http"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

type quotaFunc func(ctx context.Context, c identity.Caller, project string) (map[string]any, error)

func (s *server) quotaRoutes(mux *http.ServeMux) {
	const one = "/v2.0/quotas/{project}"
	s.serve(mux, "/v2.0/quotas", s.user, verbs{"GET": s.quotas})
	s.serve(mux, "/v2.0/quotas/project", s.user, verbs{"GET": ownProject("project")})
	s.serve(mux, "/v2.0/quotas/tenant", s.user, verbs{"GET": ownProject("tenant")})
	s.serve(mux, one, s.user, verbs{"GET": quota(s.Quotas.Quota), "PUT": s.setQuota, "DELETE": s.deleteQuota})
	s.serve(mux, one+"/default", s.user, verbs{"GET": quota(s.Quotas.DefaultQuota)})
	s.serve(mux, one+"/details", s.user, verbs{"GET": quota(s.Quotas.QuotaDetails)})
}

func (s *server) quotas(c *call) error {
	all, err := s.Quotas.Quotas(c, c.caller)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"quotas": all})
}

// ownProject tells whose quota GET /v2.0/quotas/{project} would be one's own.
func ownProject(key string) func(*call) error {
	return func(c *call) error {
		if c.caller.ProjectID == "" {
			return resource.Errorf(http.StatusBadRequest, "QuotaMissingTenant", "The token is not scoped to a project.")
		}
		return c.json(http.StatusOK, map[string]any{key: map[string]string{key + "_id": c.caller.ProjectID}})
	}
}

func quota(read quotaFunc) func(*call) error {
	return func(c *call) error {
		out, err := read(c, c.caller, c.r.PathValue("project"))
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, map[string]any{"quota": out})
	}
}

func (s *server) setQuota(c *call) error {
	body, err := c.object()
	if err != nil {
		return err
	}
	in, err := resource.Unwrap(body, "quota")
	if err != nil {
		return err
	}
	return quota(func(ctx context.Context, who identity.Caller, project string) (map[string]any, error) {
		return s.Quotas.SetQuota(ctx, who, project, in)
	})(c)
}

func (s *server) deleteQuota(c *call) error {
	if err := c.noBody(); err != nil {
		return err
	}
	if err := s.Quotas.DeleteQuota(c, c.caller, c.r.PathValue("project")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
