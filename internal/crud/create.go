package crud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Quota says how much a project may have.
type Quota interface {
	// Admit is asked inside of a change, before n more resources of the kind are made for the project. Changes are serial:
	// what it counts stands until the change ends.
	Admit(op *Op, kind, project string, n int) error
}

// SetQuota sets the quota once, before the service answers anybody. Without one there is none.
func (s *Service) SetQuota(q Quota) { s.quota = q }

// Create makes a resource from the attributes of a POST.
func (s *Service) Create(ctx context.Context, c identity.Caller, kind string, in map[string]any) (*Document, error) {
	docs, err := s.create(ctx, c, kind, []map[string]any{in}, func(_ int, err error) error { return err })
	if err != nil {
		return nil, err
	}
	return docs[0], nil
}

// CreateAll makes many resources of one kind in one change: all of them, in this order, or none. What is wrong with one of
// them names its index, as in "ikepolicies[3]: …".
func (s *Service) CreateAll(ctx context.Context, c identity.Caller, kind string, in []map[string]any) ([]*Document, error) {
	plural := s.kinds[kind].Info().Plural
	return s.create(ctx, c, kind, in, func(i int, err error) error {
		var e *resource.Error
		if !errors.As(err, &e) {
			return err
		}
		at := *e
		at.Message = fmt.Sprintf("%s[%d]: %s", plural, i, e.Message)
		return &at
	})
}

// create reports an error of one resource through at, with its index.
func (s *Service) create(ctx context.Context, c identity.Caller, kind string, in []map[string]any, at func(int, error) error) ([]*Document, error) {
	k := s.kinds[kind]
	all, more := make([]resource.Attrs, len(in)), map[string]int{}
	for i := range in {
		attrs, err := s.given(c, k, in[i])
		if err != nil {
			return nil, at(i, err)
		}
		if err := k.prepare(ctx, "", attrs); err != nil {
			return nil, at(i, err)
		}
		all[i] = attrs
		more[attrs["project_id"].(string)]++
	}
	rows := make([]resource.Row, len(in))
	_, err := s.Store.Change(ctx, func(tx resource.Tx) (err error) {
		if err := s.admit(s.op(ctx, c, tx), kind, more); err != nil {
			return err
		}
		for i, attrs := range all {
			op := s.op(ctx, c, tx)
			op.Sent = attrs
			if rows[i], err = k.create(op); err != nil {
				return at(i, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	docs := make([]*Document, len(rows))
	for i := range rows {
		if docs[i], err = s.document(c, k.Info(), &rows[i]); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// given checks the attributes of one POST, and whether the caller may make such a thing in its project.
func (s *Service) given(c identity.Caller, k Kind, in map[string]any) (resource.Attrs, error) {
	attrs, err := k.Info().ForPost(in)
	if err != nil {
		return nil, err
	}
	project, err := owner(c, attrs)
	if err != nil {
		return nil, err
	}
	if !c.MayWrite(project) {
		return nil, forbidden("create", k.Info().Name)
	}
	attrs["project_id"], attrs["tenant_id"] = project, project
	return attrs, nil
}

// admit asks the quota, for each project once.
func (s *Service) admit(op *Op, kind string, more map[string]int) error {
	if s.quota == nil {
		return nil
	}
	for _, project := range slices.Sorted(maps.Keys(more)) {
		if err := s.quota.Admit(op, kind, project, more[project]); err != nil {
			return err
		}
	}
	return nil
}

// owner is the project of a new resource (api-contract section 2.1).
func owner(c identity.Caller, in resource.Attrs) (string, error) {
	p, _ := in["project_id"].(string)
	t, _ := in["tenant_id"].(string)
	switch {
	case p != "" && t != "" && p != t:
		return "", resource.BadRequest("project_id and tenant_id do not match")
	case p == "":
		p = t
	}
	if p == "" {
		p = c.ProjectID
	}
	if p == "" {
		return "", resource.BadRequest("project_id is needed: the token is not scoped to a project")
	}
	if p != c.ProjectID && !c.Admin() {
		return "", resource.BadRequest("project_id '%s' is not the token's project '%s'; only an admin may name another", p, c.ProjectID)
	}
	return p, nil
}
