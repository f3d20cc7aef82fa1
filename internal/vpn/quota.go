package vpn

import (
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

// KindQuota rows hold the limits of one project that has some of its own; they are no resource of the API.
const KindQuota = "quota"

// Unlimited is the limit of what has none.
const Unlimited = -1

// Quotas say how much each project may have (api-contract section 10). Maps go by the names of kinds. Service's are those of the
// VPN's kinds.
type Quotas interface {
	Quotas(ctx context.Context, c identity.Caller) ([]map[string]any, error)
	Quota(ctx context.Context, c identity.Caller, project string) (map[string]any, error)
	DefaultQuota(ctx context.Context, c identity.Caller, project string) (map[string]any, error)
	QuotaDetails(ctx context.Context, c identity.Caller, project string) (map[string]any, error)
	SetQuota(ctx context.Context, c identity.Caller, project string, limits map[string]any) (map[string]any, error)
	DeleteQuota(ctx context.Context, c identity.Caller, project string) error
}

// defaultQuotas are the limits that the server ships with (api-contract section 10).
func defaultQuotas() map[string]int64 {
	return map[string]int64{KindService: 10, KindConnection: 50, KindIKEPolicy: 50, KindIPsecPolicy: 50, KindEndpointGroup: 100}
}

// networkQuotas are the names that clients of a network service read beside the five (Horizon's quota page fails without
// them). They have no limit here, and say so; a foreign topology has limits of its own.
func (s *Service) networkQuotas() []string {
	if s.foreign != nil {
		return nil
	}
	return []string{"floatingip", "network", "port", "router", "security_group", "security_group_rule", "subnet"}
}

// CheckQuotas says what New would say of Config.Quotas.
func CheckQuotas(configured map[string]int64) error {
	_, err := limits(configured)
	return err
}

// limits checks configured limits and adds the defaults of the others.
func limits(configured map[string]int64) (map[string]int64, error) {
	out := defaultQuotas()
	for name, n := range configured {
		if _, known := out[name]; !known {
			return nil, fmt.Errorf("quota %q: allowed are %s", name, strings.Join(slices.Sorted(maps.Keys(out)), ", "))
		}
		if n < Unlimited || n > maxQuota {
			return nil, fmt.Errorf("quota %s=%d: allowed are -1 (no limit) to %d", name, n, maxQuota)
		}
		out[name] = n
	}
	return out, nil
}

const maxQuota = 1<<31 - 1

// ownLimits is the document of a KindQuota row.
type ownLimits struct {
	ProjectID string           `json:"project_id"`
	Limits    map[string]int64 `json:"limits"`
}

func quotaID(project string) string { return "quota:" + project }

// own reads a project's own limits; there is no row for most.
func own(ctx context.Context, r resource.Reader, project string) (limits ownLimits, row resource.Row, err error) {
	limits = ownLimits{ProjectID: project, Limits: map[string]int64{}}
	row, err = r.Get(ctx, KindQuota, quotaID(project))
	if errors.Is(err, resource.ErrNotFound) {
		return limits, resource.Row{}, nil
	}
	if err == nil {
		err = json.Unmarshal(row.Doc, &limits)
	}
	if err != nil {
		return limits, row, fmt.Errorf("quota of project %s: %w", project, err)
	}
	return limits, row, nil
}

// Admit refuses what would exceed the project's limit. It counts inside of the change, and changes are serial: no number of
// requests at once can pass it.
func (s *Service) Admit(op *crud.Op, kind, project string, n int) error {
	limit, limited := s.quotas[kind]
	if !limited {
		return nil
	}
	o, _, err := own(op, op.Tx, project)
	if err != nil {
		return err
	}
	if l, has := o.Limits[kind]; has {
		limit = l
	}
	if limit == Unlimited {
		return nil
	}
	used, err := op.Tx.Count(op, resource.Query{Kind: kind, ProjectID: project})
	if err != nil {
		return fmt.Errorf("count %s of project %s: %w", kind, project, err)
	}
	if used+int64(n) > limit {
		return resource.Errorf(409, "OverQuota", "Quota exceeded for resources: ['%s']. The project has %d, and %d more would exceed its limit of %d.", kind, used, n, limit)
	}
	return nil
}

// Quota answers the limits of a project by name. Anybody of the project may read them, and an admin.
func (s *Service) Quota(ctx context.Context, c identity.Caller, project string) (out map[string]any, err error) {
	if err := mayReadQuota(c, project); err != nil {
		return nil, err
	}
	err = s.Resources.Store.View(ctx, func(r resource.Reader) error {
		o, _, err := own(ctx, r, project)
		out = s.shown(o)
		return err
	})
	return out, err
}

// Quotas answers every project that has limits of its own; admins alone.
func (s *Service) Quotas(ctx context.Context, c identity.Caller) ([]map[string]any, error) {
	if !c.Admin() {
		return nil, quotaForbidden("get_quota")
	}
	out := []map[string]any{}
	err := s.Resources.Store.View(ctx, func(r resource.Reader) error {
		return r.Find(ctx, resource.Query{Kind: KindQuota}, func(row *resource.Row) error {
			var o ownLimits
			if err := json.Unmarshal(row.Doc, &o); err != nil {
				return fmt.Errorf("quota %s: %w", row.ID, err)
			}
			one := s.shown(o)
			one["project_id"], one["tenant_id"] = o.ProjectID, o.ProjectID
			out = append(out, one)
			return nil
		})
	})
	return out, err
}

// DefaultQuota answers the limits of a project that has none of its own.
func (s *Service) DefaultQuota(_ context.Context, c identity.Caller, project string) (map[string]any, error) {
	return s.shown(ownLimits{}), mayReadQuota(c, project)
}

// QuotaDetails answers limit, used and reserved for each name. Nothing is ever reserved: a create counts and inserts in one
// change.
func (s *Service) QuotaDetails(ctx context.Context, c identity.Caller, project string) (out map[string]any, err error) {
	if err := mayReadQuota(c, project); err != nil {
		return nil, err
	}
	err = s.Resources.Store.View(ctx, func(r resource.Reader) error {
		o, _, err := own(ctx, r, project)
		if err != nil {
			return err
		}
		out = s.shown(o)
		for name, limit := range out {
			used, err := s.used(ctx, r, name, project)
			if err != nil {
				return err
			}
			out[name] = map[string]any{"limit": limit, "used": used, "reserved": 0}
		}
		return nil
	})
	return out, err
}

// used is how many the project has; 0 for what this server does not have at all.
func (s *Service) used(ctx context.Context, r resource.Reader, kind, project string) (int64, error) {
	if s.Resources.Kinds()[kind] == nil || project == "" {
		return 0, nil
	}
	n, err := r.Count(ctx, resource.Query{Kind: kind, ProjectID: project})
	if err != nil {
		return 0, fmt.Errorf("count %s of project %s: %w", kind, project, err)
	}
	return n, nil
}

// shown is what a project's limits look like outside.
func (s *Service) shown(o ownLimits) map[string]any {
	out := map[string]any{}
	for _, name := range s.networkQuotas() {
		out[name] = Unlimited
	}
	for name, limit := range s.quotas {
		out[name] = limit
	}
	for name, limit := range o.Limits {
		out[name] = limit
	}
	return out
}

// SetQuota gives a project limits of its own: the names in the request; the others stay as they are. Unless force is true,
// none may be below what the project has already.
func (s *Service) SetQuota(ctx context.Context, c identity.Caller, project string, in map[string]any) (out map[string]any, err error) {
	if !c.Admin() {
		return nil, quotaForbidden("update_quota")
	}
	if _, err := resource.String(project, 1, 255); err != nil {
		return nil, resource.Invalid("project_id", "%v", err)
	}
	want, force, err := s.quotaSent(in)
	if err != nil {
		return nil, err
	}
	_, err = s.Resources.Change(ctx, func(op *crud.Op) error {
		o, row, err := own(op, op.Tx, project)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if err := s.checkLimit(op, project, name, want[name], force); err != nil {
				return err
			}
			o.Limits[name] = want[name]
		}
		out = s.shown(o)
		return saveQuota(op, row, o, len(want))
	})
	return out, err
}

func (s *Service) checkLimit(op *crud.Op, project, name string, limit int64, force bool) error {
	if force || limit == Unlimited {
		return nil
	}
	used, err := s.used(op, op.Tx, name, project)
	if err == nil && used > limit {
		err = resource.BadRequest("The limit %d of %s is below the %d that the project has; with force set to true it is set all the same", limit, name, used)
	}
	return err
}

func saveQuota(op *crud.Op, row resource.Row, o ownLimits, changed int) (err error) {
	if changed == 0 {
		return nil
	}
	write := op.Tx.Update
	if row.ID == "" {
		write = op.Tx.Insert
		row = resource.Row{ID: quotaID(o.ProjectID), Kind: KindQuota, ProjectID: o.ProjectID, CreatedAt: op.Now}
	}
	if row.Doc, err = json.Marshal(o); err == nil {
		err = write(op, row)
	}
	if err != nil {
		return fmt.Errorf("write the quota of project %s: %w", o.ProjectID, err)
	}
	return nil
}

// quotaSent checks the attributes of a PUT. The openstack command says force: true or check_limit: true, which is what
// happens without force.
func (s *Service) quotaSent(in map[string]any) (want map[string]int64, force bool, err error) {
	want = map[string]int64{}
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(in)) {
		_, limited := s.quotas[name]
		switch {
		case name == "force":
			force, err = resource.Boolean(in[name])
		case name == "check_limit":
			_, err = resource.Boolean(in[name])
		case limited:
			want[name], err = quotaValue(name, in[name], maxQuota)
		case slices.Contains(s.networkQuotas(), name):
			_, err = quotaValue(name, in[name], Unlimited)
		default:
			unknown = append(unknown, resource.Clip(name))
		}
		if err != nil {
			return nil, false, err
		}
	}
	if unknown != nil {
		return nil, false, resource.BadRequest("Unrecognized attribute(s) '%s'", strings.Join(unknown, ", "))
	}
	return want, force, nil
}

func quotaValue(name string, v any, most int64) (int64, error) {
	n, err := resource.Integer(v)
	if err == nil && most == Unlimited && n != most {
		err = resource.Invalid(name, "'%d' cannot be a limit: this server has none for it, and -1 is its only value", n)
	}
	if err == nil && (n < Unlimited || n > most) {
		err = resource.Invalid(name, "'%d' is not in the range -1 (no limit) to %d", n, most)
	}
	return n, err
}

// DeleteQuota takes a project's own limits away: the defaults count again.
func (s *Service) DeleteQuota(ctx context.Context, c identity.Caller, project string) error {
	if !c.Admin() {
		return quotaForbidden("delete_quota")
	}
	_, err := s.Resources.Change(ctx, func(op *crud.Op) error { return op.Tx.Delete(op, KindQuota, quotaID(project)) })
	if errors.Is(err, resource.ErrNotFound) {
		return resource.Errorf(404, "TenantQuotaNotFound", "Quota for tenant %s could not be found.", resource.Clip(project))
	}
	return err
}

func mayReadQuota(c identity.Caller, project string) error {
	if c.Admin() || project != "" && c.ProjectID == project {
		return nil
	}
	return resource.Errorf(403, "PolicyNotAuthorized", "get_quota is disallowed by policy: another project's limits are for the role admin")
}

func quotaForbidden(rule string) error {
	return resource.Errorf(403, "PolicyNotAuthorized", "%s is disallowed by policy: it needs the role admin", rule)
}
