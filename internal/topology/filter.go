package topology

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// filterNames are the list filters of a kind that are not about one scalar attribute.
func filterNames(kind string) []string {
	names := []string{"tags", "tags-any", "not-tags", "not-tags-any"}
	if kind == kindPort {
		names = append(names, "fixed_ips")
	}
	return names
}

// filter is the crud.Rules.Filter of a kind.
func (t *Topology) filter(kind string) func(context.Context, resource.Reader, string, []string) (resource.Filter, error) {
	return func(ctx context.Context, r resource.Reader, name string, values []string) (resource.Filter, error) {
		f, ok, err := t.Filters(ctx, r, kind, name, values)
		if err == nil && !ok {
			err = fmt.Errorf("%s has no filter %s", kind, name)
		}
		return f, err
	}
}

// Filters translates the filters of filterNames into a filter of ids. The tags of one value are separated by commas: `tags`
// wants all of them, `tags-any` one, and with `not-` before it exactly the others are meant; several values are alternatives.
// `fixed_ips` of ports is subnet_id=… and ip_address=…, all of them. ok is false for any other name.
func (t *Topology) Filters(ctx context.Context, r resource.Reader, kind, name string, values []string) (f resource.Filter, ok bool, err error) {
	if t.info[kind] == nil || !slices.Contains(filterNames(kind), name) {
		return f, false, nil
	}
	var ids []string
	if name == "fixed_ips" {
		ids, err = addressedIDs(ctx, r, values)
	} else {
		ids, err = taggedIDs(ctx, r, kind, name, values)
	}
	return anyOf("id", ids)[0], true, err
}

// taggedIDs are the ids of the resources that a filter by tags wants.
func taggedIDs(ctx context.Context, r resource.Reader, kind, filter string, values []string) (ids []string, err error) {
	type doc struct {
		ID string `json:"id"`
		Tagged
	}
	base, not := strings.CutPrefix(filter, "not-")
	all, err := crud.LoadAll[doc](ctx, r, resource.Query{Kind: kind})
	for _, d := range all {
		hit := slices.ContainsFunc(values, func(v string) bool { return d.carries(strings.Split(v, ","), base == "tags-any") })
		if hit != not {
			ids = append(ids, d.ID)
		}
	}
	return ids, err
}

// carries says whether it has all of the tags, or any of them.
func (g *Tagged) carries(tags []string, any bool) bool {
	if any {
		return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(g.Tags, tag) })
	}
	return !slices.ContainsFunc(tags, func(tag string) bool { return !slices.Contains(g.Tags, tag) })
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
