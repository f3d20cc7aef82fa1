package topology

import (
	"context"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Filters translates the list filters that are not about one scalar attribute into a filter of ids: `tags` (all of them,
// separated by commas), `fixed_ips` of ports (subnet_id=… and ip_address=…, all of them). ok is false for any other name:
// such a filter is the caller's to judge.
func (t *Topology) Filters(ctx context.Context, r resource.Reader, kind, name string, values []string) (f resource.Filter, ok bool, err error) {
	var ids []string
	switch {
	case t.info[kind] == nil:
		return f, false, nil
	case name == "tags":
		ids, err = taggedIDs(ctx, r, kind, values)
	case name == "fixed_ips" && kind == kindPort:
		ids, err = addressedIDs(ctx, r, values)
	default:
		return f, false, nil
	}
	return anyOf("id", ids)[0], true, err
}

// taggedIDs are the ids of the resources that have every tag of any of the values.
func taggedIDs(ctx context.Context, r resource.Reader, kind string, values []string) (ids []string, err error) {
	type doc struct {
		ID string `json:"id"`
		Tagged
	}
	all, err := crud.LoadAll[doc](ctx, r, resource.Query{Kind: kind})
	for _, d := range all {
		for _, v := range values {
			missing := slices.ContainsFunc(strings.Split(v, ","), func(tag string) bool { return !slices.Contains(d.Tags, tag) })
			if !missing {
				ids = append(ids, d.ID)
				break
			}
		}
	}
	return ids, err
}

// addressedIDs are the ids of the ports of which one address has all that the values say.
func addressedIDs(ctx context.Context, r resource.Reader, values []string) (ids []string, err error) {
	want := FixedIP{}
	for _, v := range values {
		key, text, _ := strings.Cut(v, "=")
		switch key {
		case "subnet_id":
			want.SubnetID = text
		case "ip_address":
			want.IPAddress = text
			if a, err := address(text); err == nil {
				want.IPAddress = a
			}
		default:
			return nil, resource.Invalid("fixed_ips", "'%s' is not a filter; allowed are subnet_id=… and ip_address=…", v)
		}
	}
	ports, err := portsOn(ctx, r, want.SubnetID)
	for _, p := range ports {
		hit := func(f FixedIP) bool {
			return (want.SubnetID == "" || f.SubnetID == want.SubnetID) && (want.IPAddress == "" || f.IPAddress == want.IPAddress)
		}
		if slices.ContainsFunc(p.FixedIPs, hit) {
			ids = append(ids, p.ID)
		}
	}
	return ids, err
}

func portsOn(ctx context.Context, r resource.Reader, subnet string) ([]*Port, error) {
	if subnet == "" {
		return crud.LoadAll[Port](ctx, r, resource.Query{Kind: kindPort})
	}
	return usersOf[Port](ctx, r, kindPort, subnet)
}
