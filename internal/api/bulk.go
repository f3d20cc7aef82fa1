package api

import (
	"net/http"

	"culvert/internal/resource"
)

// createAll makes every resource of a list, or none, and answers them in the list's order (api-contract section 9).
func (k *kind) createAll(c *call, sent any) error {
	in, err := k.many(sent)
	if err != nil {
		return err
	}
	docs, err := k.Resources.CreateAll(c, c.caller, k.Name, in)
	if err != nil {
		return err
	}
	return k.answer(c, http.StatusCreated, func(b []byte) (_ []byte, err error) {
		b = append(append(append(b, `{"`...), k.Plural...), `":[`...)
		for i, d := range docs {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = d.Append(b, nil); err != nil {
				return b, err
			}
		}
		return append(b, "]}"...), nil
	})
}

func (k *kind) many(sent any) ([]map[string]any, error) {
	list, ok := sent.([]any)
	if !ok {
		return nil, resource.BadRequest("Object '%s' contains invalid data: it must be a list of objects", k.Plural)
	}
	if len(list) == 0 || len(list) > k.BulkLimit {
		return nil, resource.BadRequest("The list '%s' has %d objects; allowed are 1 to %d in one request", k.Plural, len(list), k.BulkLimit)
	}
	in := make([]map[string]any, len(list))
	for i, v := range list {
		if in[i], ok = v.(map[string]any); !ok {
			return nil, resource.BadRequest("%s[%d]: it must be an object", k.Plural, i)
		}
	}
	return in, nil
}
