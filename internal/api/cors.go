package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cors lets web pages of some origins call the API (Fetch standard, "CORS protocol"). Tokens travel in a header and not in a
// cookie, so no page is ever allowed credentials.
type cors struct {
	origins []string // scheme://host[:port] as browsers send them, or *
}

// CheckOrigins says what New would say of Config.CORSOrigins.
func CheckOrigins(origins []string) error {
	_, err := newCORS(origins)
	return err
}

// newCORS fails on what no browser would send as an origin: it could never match.
func newCORS(origins []string) (cors, error) {
	for _, o := range origins {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != o || o != strings.ToLower(o)) {
			return cors{}, fmt.Errorf("CORS origin %q: it must be scheme://host or scheme://host:port in lower case and without a path, or *", o)
		}
	}
	return cors{origins}, nil
}

// answer sets the headers of an answer to a page, and says whether the request was a preflight, which needs nothing more.
func (o cors) answer(w http.ResponseWriter, r *http.Request) (done bool) {
	if len(o.origins) == 0 || strings.HasPrefix(r.URL.Path, "/agent/") {
		return false
	}
	h, origin := w.Header(), r.Header.Get("Origin")
	h.Add("Vary", "Origin")
	if origin == "" || !slices.Contains(o.origins, origin) && !slices.Contains(o.origins, "*") {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", "X-Auth-Token, X-Subject-Token, X-Openstack-Request-Id, Allow, Www-Authenticate")
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
	h.Set("Access-Control-Allow-Headers", "X-Auth-Token, X-Subject-Token, X-Openstack-Request-Id, Content-Type, If-Match")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
