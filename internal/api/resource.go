package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// kind serves one kind of resource.
type kind struct {
	*server
	*resource.Kind
}

// Buffers that are kept for the next answers. A sync.Pool would lose them to the collector just when lists are frequent.
const (
	keepBuffers = 8
	keepBuffer  = 4 << 20 // bytes of each at most
)

// answer lets fill append to a buffer that is used again, and sends it.
func (s *server) answer(c *call, code int, fill func([]byte) ([]byte, error)) error {
	var b []byte
	select {
	case b = <-s.buffers:
	default:
	}
	b, err := fill(b[:0])
	if err == nil {
		err = c.write(code, b)
	}
	if cap(b) <= keepBuffer {
		select {
		case s.buffers <- b:
		default:
		}
	}
	return err
}

// one answers {"<name>": <document>}.
func (k *kind) one(c *call, code int, d *crud.Document, fields []string) error {
	return k.answer(c, code, func(b []byte) ([]byte, error) {
		b = append(append(append(b, `{"`...), k.Name...), `":`...)
		b, err := d.Append(b, fields)
		return append(b, '}'), err
	})
}

func (k *kind) create(c *call) error {
	body, err := c.object()
	if err != nil {
		return err
	}
	if _, one := body[k.Name]; !one && body[k.Plural] != nil {
		return k.createAll(c, body[k.Plural])
	}
	in, err := resource.Unwrap(body, k.Name)
	if err != nil {
		return err
	}
	d, err := k.Resources.Create(c, c.caller, k.Name, in)
	if err != nil {
		return err
	}
	return k.one(c, http.StatusCreated, d, nil)
}

// sent are the attributes in the body; an empty object is legal.
func (k *kind) sent(c *call) (map[string]any, error) {
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	return resource.Unwrap(body, k.Name)
}

// id is the item's. A name instead of a UUID is a 404 as good as any (api-contract D12).
func (k *kind) id(c *call) (string, error) {
	text := c.r.PathValue("id")
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(id.String()) {
		return "", k.ErrNotFound(clip(text))
	}
	return id.String(), nil
}

func (k *kind) show(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	params, err := parseParams(c.r.URL.RawQuery)
	if err != nil {
		return err
	}
	d, err := k.Resources.Show(c, c.caller, k.Name, id)
	if err != nil {
		return err
	}
	return k.one(c, http.StatusOK, d, fields(k.Kind, params))
}

func (k *kind) update(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	in, err := k.sent(c)
	if err != nil {
		return err
	}
	d, err := k.Resources.Update(c, c.caller, k.Name, id, in, match)
	if err != nil {
		return err
	}
	return k.one(c, http.StatusOK, d, nil)
}

func (k *kind) delete(c *call) error {
	id, err := k.id(c)
	if err != nil {
		return err
	}
	if err := c.noBody(); err != nil {
		return err
	}
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	if err := k.Resources.Delete(c, c.caller, k.Name, id, match); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (k *kind) list(c *call) error {
	params, err := parseParams(c.r.URL.RawQuery)
	if err != nil {
		return err
	}
	l, asked, err := parseList(k.Kind, params, k.PageLimit)
	if err != nil {
		return err
	}
	return k.answer(c, http.StatusOK, func(b []byte) ([]byte, error) {
		b = append(append(append(b, `{"`...), k.Plural...), `":`...)
		b, page, err := k.Resources.List(c, c.caller, k.Name, l, b)
		if err != nil {
			return b, err
		}
		cut := page.HasNext
		if l.Reverse {
			cut = page.HasPrev
		}
		if asked || cut {
			b = appendLinks(b, k.Plural, k.origin(c.r)+"/v2.0/"+k.Path, params, page)
		}
		return append(b, '}'), nil
	})
}

// appendLinks names the pages of a collection at a URL before and after, as far as there are any (api-contract section 9).
func appendLinks(b []byte, name, base string, params []param, p crud.Page) []byte {
	var links []link
	base += "?"
	if p.HasNext {
		links = append(links, link{"next", base + pageQuery(params, p.Last, false)})
	}
	if p.HasPrev {
		links = append(links, link{"previous", base + pageQuery(params, p.First, true)})
	}
	if links == nil {
		return b
	}
	text, err := resource.Encode(links)
	if err != nil { // strings only: it cannot be
		return b
	}
	b = append(append(append(b, `,"`...), name...), `_links":`...)
	return append(b, text...)
}

type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// pageQuery is the request's query with another marker, everything else in its order.
func pageQuery(params []param, marker string, reverse bool) string {
	var b strings.Builder
	for _, p := range params {
		if p.name != "marker" && p.name != "page_reverse" {
			b.WriteString(url.QueryEscape(p.name) + "=" + url.QueryEscape(p.value) + "&")
		}
	}
	b.WriteString("marker=" + marker)
	if reverse {
		b.WriteString("&page_reverse=True")
	}
	return b.String()
}

// action serves one of a router's two actions.
func (k *kind) action(do routerFunc) func(*call) error {
	return func(c *call) error {
		id, err := k.id(c)
		if err != nil {
			return err
		}
		in, err := c.object()
		if err != nil {
			return err
		}
		out, err := do(c, c.caller, id, in)
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, out)
	}
}
