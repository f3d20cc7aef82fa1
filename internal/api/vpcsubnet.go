package api

import (
	"context"
	"net/http"
	"slices"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// VPCs are the network as Open Telekom Cloud's v1 API shows it.
type VPCs interface {
	// VPCSubnets are a project's subnets, attribute by attribute.
	VPCSubnets(ctx context.Context, c identity.Caller, project string) ([]map[string]string, error)
}

// vpcSubnets takes vpc_id, limit and marker, as that API does; an unknown marker is a 400 as everywhere.
func (s *server) vpcSubnets(c *call) error {
	params, err := parseParams(c.r.URL.RawQuery)
	if err != nil {
		return err
	}
	for _, p := range params {
		if !slices.Contains([]string{"vpc_id", "limit", "marker"}, p.name) {
			return resource.BadRequest("%s is invalid attribute for filtering; allowed are limit, marker, vpc_id", quoted([]string{clip(p.name)}))
		}
	}
	most, err := limit(last(params, "limit"))
	if err != nil {
		return err
	}
	all, err := s.VPCs.VPCSubnets(c, c.caller, c.r.PathValue("project"))
	if err != nil {
		return err
	}
	if vpcs := values(params, "vpc_id"); vpcs != nil {
		all = slices.DeleteFunc(all, func(one map[string]string) bool { return !slices.Contains(vpcs, one["vpc_id"]) })
	}
	if marker := last(params, "marker"); marker != "" {
		if all, err = after(all, marker); err != nil {
			return err
		}
	}
	if most == 0 || most > s.PageLimit {
		most = s.PageLimit
	}
	return c.json(http.StatusOK, map[string]any{"subnets": all[:min(most, len(all))]})
}

// after are the subnets behind the last one with this id: several of a network share its id.
func after(all []map[string]string, id string) ([]map[string]string, error) {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i]["id"] == id {
			return all[i+1:], nil
		}
	}
	return nil, resource.Errorf(http.StatusBadRequest, "BadRequest", "Bad marker request: '%s' is not the id of a subnet.", clip(id))
}
