package crud

import (
	"context"
	"errors"
	"slices"

	"culvert/internal/identity"
	"culvert/internal/resource"
)

// List is what a list request asks for. Query.Kind and its project are set by the service.
type List struct {
	resource.Query
	Named  []Filter // further filters
	Fields []string
}

// Filter is one of the Kind's Filters with the values that were asked for.
type Filter struct {
	Name   string
	Values []string
}

// Page says what lies around the rows of a limited list; all false and empty without a limit.
type Page struct {
	First, Last      string // ids of the page's ends, "" when it is empty
	HasNext, HasPrev bool
}

// Show answers one resource that the caller may see.
func (s *Service) Show(ctx context.Context, c identity.Caller, kind, id string) (*Document, error) {
	k := s.kinds[kind]
	var doc *Document
	err := s.Store.View(ctx, func(r resource.Reader) error {
		row, err := s.visible(ctx, c, r, k, id)
		if err != nil {
			return err
		}
		doc, err = s.document(c, k.Info(), &row)
		return err
	})
	return doc, err
}

// List appends the JSON list of the resources that the caller may see.
func (s *Service) List(ctx context.Context, c identity.Caller, kind string, l List, dst []byte) ([]byte, Page, error) {
	k := s.kinds[kind].Info()
	asked := l.Filters
	var page Page
	if err := scope(&l.Query, c, kind); err != nil {
		return dst, page, err
	}
	err := s.Store.View(ctx, func(r resource.Reader) (err error) {
		if l.Filters, err = s.named(ctx, r, kind, asked, l.Named); err != nil {
			return err
		}
		q := l.Query
		if q.Limit > 0 {
			q.Limit++ // one more tells whether there is a next page
		}
		w := &listWriter{s: s, c: c, k: k, l: l, dst: append(dst, '[')}
		if err := r.Find(ctx, q, w.row); err != nil {
			return err
		}
		w.finish()
		dst = w.dst
		page, err = w.page(ctx, r)
		return err
	})
	if errors.Is(err, resource.ErrNotFound) {
		err = resource.Errorf(400, "BadRequest", "Bad marker request: '%s' is not the id of %s.", l.Marker, k.Title)
	}
	return dst, page, err
}

// named adds the filters that only the kind's rules understand.
func (s *Service) named(ctx context.Context, r resource.Reader, kind string, filters []resource.Filter, named []Filter) ([]resource.Filter, error) {
	out := slices.Clone(filters)
	for _, n := range named {
		f, err := s.kinds[kind].filter(ctx, r, n.Name, n.Values)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// scope narrows a query to what the caller may see.
func scope(q *resource.Query, c identity.Caller, kind string) error {
	q.Kind = kind
	if c.Admin() {
		return nil
	}
	if !c.MayRead(c.ProjectID) {
		return resource.Errorf(403, "PolicyNotAuthorized", "get_%s is disallowed by policy: it needs a token with the role reader, member or admin in a project", kind)
	}
	q.ProjectID, q.WithShared = c.ProjectID, true
	return nil
}

// listWriter appends rows; of a limited list it drops the one row that is too many.
type listWriter struct {
	s    *Service
	c    identity.Caller
	k    *resource.Kind
	l    List
	dst  []byte
	base int // where the first row begins
	n    int
	ends []int    // of a limited list: where each row ends
	ids  []string // likewise
	more bool
}

func (w *listWriter) row(row *resource.Row) error {
	d, err := w.s.document(w.c, w.k, row)
	if err != nil {
		return err
	}
	if w.n == 0 {
		w.base = len(w.dst)
	} else {
		w.dst = append(w.dst, ',')
	}
	w.n++
	if w.dst, err = d.Append(w.dst, w.l.Fields); err != nil {
		return err
	}
	if w.l.Limit > 0 {
		w.ends, w.ids = append(w.ends, len(w.dst)), append(w.ids, row.ID)
	}
	return nil
}

func (w *listWriter) finish() {
	limit := w.l.Limit
	switch w.more = limit > 0 && w.n > limit; {
	case w.more && w.l.Reverse: // rows come in the order asked for: the one too many is the first
		w.dst, w.ids = append(w.dst[:w.base], w.dst[w.ends[0]+1:]...), w.ids[1:]
	case w.more:
		w.dst, w.ids = w.dst[:w.ends[limit-1]], w.ids[:limit]
	}
	w.dst = append(w.dst, ']')
}

// page says whether rows lie before and after; links exist only where they lead somewhere.
func (w *listWriter) page(ctx context.Context, r resource.Reader) (Page, error) {
	if len(w.ids) == 0 {
		return Page{}, nil
	}
	p := Page{First: w.ids[0], Last: w.ids[len(w.ids)-1]}
	beyond := w.l.Query
	beyond.Limit, beyond.Reverse, beyond.Marker = 1, !w.l.Reverse, p.First
	if w.l.Reverse {
		beyond.Marker = p.Last
	}
	other := false
	if w.l.Marker != "" {
		if err := r.Find(ctx, beyond, func(*resource.Row) error { other = true; return nil }); err != nil {
			return p, err
		}
	}
	p.HasNext, p.HasPrev = w.more, other
	if w.l.Reverse {
		p.HasNext, p.HasPrev = other, w.more
	}
	return p, nil
}
