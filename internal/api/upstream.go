package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// Upstream is a Neutron that we stand in front of.
type Upstream interface {
	// Pass answers a request that is not ours. It calls who where it must know the caller. After an error nothing was written.
	Pass(w http.ResponseWriter, r *http.Request, who func() (identity.Caller, error)) error
	// Ask answers what it says to a request in the name of a token; uri begins with /v2.0.
	Ask(ctx context.Context, method, uri, token string, body []byte) (code int, answer []byte, err error)
}

// unserved answers for a URI that is not ours.
func (s *server) unserved(c *call) error {
	if p := c.r.URL.Path; s.Upstream == nil || p != "/v2.0" && !strings.HasPrefix(p, "/v2.0/") {
		return errNoURI()
	}
	return s.Upstream.Pass(c.w, c.r, func() (identity.Caller, error) {
		err := s.user(c)
		return c.caller, err
	})
}

// merged answers {key: ours and theirs}: of entries whose attribute id is the same, ours. Theirs follow in their own order.
func merged[T any](s *server, c *call, key, id string, ours []T) error {
	if s.Upstream == nil {
		return c.json(http.StatusOK, map[string][]T{key: ours})
	}
	theirs, err := s.theirs(c, key)
	if err != nil {
		return err
	}
	all, known := []any{}, map[any]bool{}
	for _, one := range ours {
		var m map[string]any
		if err := again(one, &m); err != nil {
			return err
		}
		known[m[id]] = true
		all = append(all, one)
	}
	for _, one := range theirs {
		if !known[one[id]] {
			all = append(all, one)
		}
	}
	return c.json(http.StatusOK, map[string]any{key: all})
}

// theirs is what Neutron lists below key at the call's own URI.
func (s *server) theirs(c *call, key string) ([]map[string]any, error) {
	uri := c.r.URL.Path
	if uri == "/v2.0" {
		uri += "/"
	}
	body, err := s.ask(c, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	var doc map[string]json.RawMessage
	var list []map[string]any
	if json.Unmarshal(body, &doc) != nil || json.Unmarshal(doc[key], &list) != nil {
		return nil, errUpstream(http.StatusOK)
	}
	return list, nil
}

// ask is a request to Neutron in the caller's name. What Neutron refuses is refused in its own words.
func (s *server) ask(c *call, method, uri string, body []byte) ([]byte, error) {
	code, answer, err := s.Upstream.Ask(c, method, uri, c.r.Header.Get("X-Auth-Token"), body)
	if err != nil {
		return nil, err
	}
	if code/100 == 2 {
		return answer, nil
	}
	var said envelope
	if json.Unmarshal(answer, &said) == nil && said.NeutronError.Type != "" && code/100 == 4 {
		return nil, resource.Errorf(code, said.NeutronError.Type, "%s", said.NeutronError.Message)
	}
	return nil, errUpstream(code)
}

func errUpstream(code int) error {
	return resource.Errorf(http.StatusBadGateway, "BadGateway", "The network service (Neutron) gave an answer that cannot be used, with the status %d.", code)
}

// again reads a value as its own JSON.
func again(from, into any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// keystoneURL is where tokens come from.
func (s *server) keystoneURL(r *http.Request) string {
	if s.Keystone != "" {
		return s.Keystone
	}
	return s.origin(r) + "/identity"
}

// keystoneElsewhere answers where identity would be, were it ours.
func (s *server) keystoneElsewhere(*call) error {
	return resource.Errorf(http.StatusNotFound, "HTTPNotFound", "Identity is not served here: the Keystone at %s is asked about tokens. Log in there.", s.Keystone)
}
