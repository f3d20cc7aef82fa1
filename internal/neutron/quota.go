package neutron

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"culvert/internal/identity"
	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// Quotas are the limits of the VPN's kinds and Neutron's, in one document: vpn.Quotas again. The VPN says who may read and set
// limits, of Neutron's too: Neutron's policy is the same, and is asked as the service user.
type Quotas struct {
	vpn vpn.Quotas
	n   *Neutron
}

// Quotas joins Neutron's limits to the VPN's.
func (n *Neutron) Quotas(l vpn.Quotas) Quotas { return Quotas{l, n} }

// Quota answers a project's limits.
func (q Quotas) Quota(ctx context.Context, c identity.Caller, project string) (map[string]any, error) {
	return q.both(ctx, c, project, "", q.vpn.Quota)
}

// DefaultQuota answers the limits of projects without any of their own.
func (q Quotas) DefaultQuota(ctx context.Context, c identity.Caller, project string) (map[string]any, error) {
	return q.both(ctx, c, project, "/default", q.vpn.DefaultQuota)
}

// QuotaDetails answers limit, used and reserved.
func (q Quotas) QuotaDetails(ctx context.Context, c identity.Caller, project string) (map[string]any, error) {
	return q.both(ctx, c, project, "/details", q.vpn.QuotaDetails)
}

type limitsOf func(context.Context, identity.Caller, string) (map[string]any, error)

func (q Quotas) both(ctx context.Context, c identity.Caller, project, action string, own limitsOf) (map[string]any, error) {
	ours, err := own(ctx, c, project)
	if err != nil {
		return nil, err
	}
	var theirs struct {
		Quota map[string]any `json:"quota"`
	}
	if err := q.n.quota(ctx, http.MethodGet, project, action, nil, &theirs); err != nil {
		return nil, err
	}
	maps.Copy(ours, without(theirs.Quota, ours))
	return ours, nil
}

// without is what of m has no name in names.
func without(m, names map[string]any) map[string]any {
	out := maps.Clone(m)
	maps.DeleteFunc(out, func(name string, _ any) bool { _, has := names[name]; return has })
	return out
}

// Quotas answers every project that has limits of its own, here or there.
func (q Quotas) Quotas(ctx context.Context, c identity.Caller) ([]map[string]any, error) {
	ours, err := q.vpn.Quotas(ctx, c)
	if err != nil {
		return nil, err
	}
	var theirs struct {
		Quotas []map[string]any `json:"quotas"`
	}
	if err := q.n.quota(ctx, http.MethodGet, "", "", nil, &theirs); err != nil {
		return nil, err
	}
	var projects []string
	for _, one := range append(ours, theirs.Quotas...) {
		if id, _ := one["project_id"].(string); id != "" && !slices.Contains(projects, id) {
			projects = append(projects, id)
		}
	}
	slices.Sort(projects)
	out := []map[string]any{}
	for _, id := range projects {
		one, err := q.Quota(ctx, c, id)
		if err != nil {
			return nil, err
		}
		one["project_id"], one["tenant_id"] = id, id
		out = append(out, one)
	}
	return out, nil
}

// SetQuota sets each limit where it counts. Names that neither knows are refused before anything is set.
func (q Quotas) SetQuota(ctx context.Context, c identity.Caller, project string, limits map[string]any) (map[string]any, error) {
	if !c.Admin() {
		return q.vpn.SetQuota(ctx, c, project, nil) // which says why not
	}
	ours, err := q.vpn.DefaultQuota(ctx, c, project)
	if err != nil {
		return nil, err
	}
	all, err := q.DefaultQuota(ctx, c, project)
	if err != nil {
		return nil, err
	}
	mine, network, unknown := map[string]any{}, map[string]any{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		_, isOurs := ours[name]
		_, isKnown := all[name]
		switch {
		case isOurs || name == "force" || name == "check_limit":
			mine[name] = limits[name]
		case isKnown:
			network[name] = limits[name]
		default:
			unknown = append(unknown, resource.Clip(name))
		}
	}
	if len(unknown) > 0 {
		return nil, resource.BadRequest("Unrecognized attribute(s) '%s'", strings.Join(unknown, ", "))
	}
	if _, err := q.vpn.SetQuota(ctx, c, project, mine); err != nil {
		return nil, err
	}
	if len(network) > 0 {
		for _, how := range []string{"force", "check_limit"} {
			if v, given := limits[how]; given {
				network[how] = v
			}
		}
		if err := q.n.quota(ctx, http.MethodPut, project, "", map[string]any{"quota": network}, nil); err != nil {
			return nil, err
		}
	}
	return q.Quota(ctx, c, project)
}

// DeleteQuota takes a project's own limits away, here and there; a 404 says that there were none in either place.
func (q Quotas) DeleteQuota(ctx context.Context, c identity.Caller, project string) error {
	ours := q.vpn.DeleteQuota(ctx, c, project)
	if ours != nil && !isNotFound(ours) {
		return ours
	}
	theirs := q.n.quota(ctx, http.MethodDelete, project, "", nil, nil)
	if isNotFound(theirs) {
		return ours
	}
	return theirs
}

func isNotFound(err error) bool {
	var e *resource.Error
	return errors.As(err, &e) && e.Code == http.StatusNotFound
}

// quota is one request to Neutron's quotas as the service user. What Neutron refuses is refused in its own words.
func (n *Neutron) quota(ctx context.Context, method, project, action string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := n.client(ctx)
	if err != nil {
		return err
	}
	uri := client.ServiceURL("quotas")
	if project != "" {
		uri += "/" + url.PathEscape(project) + action
	}
	opts := &gophercloud.RequestOpts{JSONBody: body, JSONResponse: into, OkCodes: []int{200, 204}}
	answer, err := client.Request(ctx, method, uri, opts)
	if err == nil && into == nil {
		return answer.Body.Close()
	}
	var code gophercloud.ErrUnexpectedResponseCode
	var said struct {
		NeutronError struct{ Type, Message string }
	}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code) && code.Actual/100 == 4 && json.Unmarshal(code.Body, &said) == nil && said.NeutronError.Type != "":
		return resource.Errorf(code.Actual, said.NeutronError.Type, "%s", said.NeutronError.Message)
	case code.Actual != 0:
		err = fmt.Errorf("it answered %d", code.Actual)
	}
	return away(fmt.Errorf("neutron: %s quotas: %w", method, err))
}
