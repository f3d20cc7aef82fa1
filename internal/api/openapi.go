package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"

	"culvert/internal/openapi"
	"culvert/internal/resource"
)

// described is a handler that can say what it serves.
type described interface{ Routes() []openapi.Route }

// note puts what a pattern serves into the table that the OpenAPI document is made from. Patterns without verbs answer 404
// and are no part of the API.
func (s *server) note(pattern string, v verbs) {
	_, path, given := strings.Cut(pattern, " ")
	if !given {
		path = pattern
	}
	path = strings.TrimSuffix(path, "{$}")
	access := openapi.Anybody
	switch {
	case strings.HasPrefix(path, "/agent/"):
		access = openapi.Agent
	case path != "/" && strings.HasPrefix(path, "/v"):
		access = openapi.User
	case path == documentPath:
		path += ".json"
	}
	for method := range v {
		s.table = append(s.table, openapi.Route{Method: method, Path: path, Access: access})
	}
}

// documentPath is /openapi.json after the edge took .json off.
const documentPath = "/openapi"

// published is the document and its page, made once.
type published struct {
	document, page []byte
	tag            string // the document's ETag
}

func (s *server) documentRoutes(mux *http.ServeMux) {
	publish := sync.OnceValues(s.publish)
	document := func(c *call) error {
		p, err := publish()
		if err != nil {
			return err
		}
		return c.document(p)
	}
	page := func(c *call) error {
		p, err := publish()
		if err != nil {
			return err
		}
		c.file(p.page, "text/html; charset=utf-8")
		return nil
	}
	s.serve(mux, documentPath, anybody, verbs{"GET": document, "HEAD": document})
	s.serve(mux, "/docs", anybody, verbs{"GET": page, "HEAD": page})
	s.serve(mux, "/docs/{file}", anybody, verbs{"GET": docsFile, "HEAD": docsFile})
}

// publish runs when every route is noted.
func (s *server) publish() (*published, error) {
	routes := s.table
	if d, ok := s.Identity.(described); ok {
		routes = append(routes, d.Routes()...)
	}
	var kinds []*resource.Kind
	for _, k := range s.Resources.Kinds() {
		kinds = append(kinds, k.Info())
	}
	d := openapi.New(openapi.Config{Kinds: kinds, Routes: routes, PageLimit: s.PageLimit, BulkLimit: s.BulkLimit})
	document, err := d.JSON()
	if err != nil {
		return nil, err
	}
	page, err := d.Page()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(document)
	return &published{document, page, `"` + hex.EncodeToString(sum[:16]) + `"`}, nil
}

// document answers 304 to whoever has it already.
func (c *call) document(p *published) error {
	h := c.w.Header()
	h.Set("ETag", p.tag)
	h.Set("Cache-Control", "no-cache") // ask again, with the tag
	for have := range strings.SplitSeq(c.r.Header.Get("If-None-Match"), ",") {
		if have = strings.TrimSpace(have); have == "*" || strings.TrimPrefix(have, "W/") == p.tag {
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	return c.write(http.StatusOK, p.document)
}

func docsFile(c *call) error {
	text, mediaType, ok := openapi.File(c.r.PathValue("file"))
	if !ok {
		return errNoURI()
	}
	c.file(text, mediaType)
	return nil
}

// file sends a part of the page. Nothing in it may come from another host.
func (c *call) file(text []byte, mediaType string) {
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Security-Policy", "default-src 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(text) // its error is that of a client that has gone
}
