package api

import (
	"net/http"
	"slices"
	"strconv"

	"culvert/internal/identity"
)

// list answers documents below key with links: the whole list, or with limit and marker a part of it and where the rest is.
func (c *keystoneCall) list(key string, docs []object) error {
	q := c.r.URL.Query()
	if q.Has("marker") {
		at := slices.IndexFunc(docs, func(d object) bool { return d["id"] == q.Get("marker") })
		if at < 0 {
			return identity.BadRequest("The marker names nothing in this list.")
		}
		docs = docs[at+1:]
	}
	var next any
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 0 {
			return identity.BadRequest("Invalid input for query parameter 'limit': it must be a number from 0.")
		}
		if n > 0 && n < len(docs) && docs[n-1]["id"] != nil {
			q.Set("marker", docs[n-1]["id"].(string))
			next, docs = c.here(q.Encode()), docs[:n]
		}
	}
	if docs == nil {
		docs = []object{}
	}
	return c.json(http.StatusOK, object{key: docs, "links": object{"self": c.self(), "previous": nil, "next": next}})
}
