package fault

import (
	"context"
	"strings"
	"time"

	"culvert/internal/client"
)

// Answer is what GET said of a laid connection, when that was news.
type Answer struct {
	*Laid
	At     time.Time // GET had answered it then
	Before time.Time // the last GET that answered otherwise had begun then; zero: there was none
	Status string
	Reason client.Object // status_reason; nil: none
	// Since is the time since the fault was there; negative: it was not yet.
	Since time.Duration
}

// ReasonCode is that of status_reason, "" where there is none.
func (a Answer) ReasonCode() string {
	code, _ := a.Reason["code"].(string)
	return code
}

// Right says that the answer is the one that the catalogue wants.
func (a Answer) Right() bool { return a.Status == a.Laid.Status && a.ReasonCode() == a.Code }

// Watch lists the connections again and again and tells of every status, or code of a status_reason, that is news, until
// ctx ends or tell answers false.
func (s *Scene) Watch(ctx context.Context, every time.Duration, tell func(Answer) bool) error {
	last := map[string]told{}
	for ; ctx.Err() == nil; pause(ctx, every) {
		for _, api := range []*client.Client{s.API, s.Hostless} {
			if api == nil {
				continue
			}
			asked := time.Now()
			o, err := api.Call(ctx, "GET", "/v2.0/vpn/ipsec-site-connections?fields=id&fields=status&fields=status_reason", nil)
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			for _, a := range s.news(o, last, asked) {
				if !tell(a) {
					return nil
				}
			}
		}
	}
	return nil
}

// told is what GET said last of a connection, and when it was asked.
type told struct {
	what  string
	asked time.Time
}

func (s *Scene) news(list client.Object, last map[string]told, asked time.Time) (out []Answer) {
	now := time.Now()
	rows, _ := list["ipsec_site_connections"].([]any)
	s.mu.Lock()
	defer s.mu.Unlock()
	byID := map[string]*Laid{}
	for _, l := range s.laid {
		byID[l.ID] = l
	}
	for _, row := range rows {
		o, _ := row.(client.Object)
		id, _ := o["id"].(string)
		l := byID[id]
		if l == nil || id == "" {
			continue // it is being made
		}
		a := Answer{Laid: l, At: now, Since: now.Sub(l.since)}
		if l.since.IsZero() {
			a.Since = -1
		}
		a.Status, _ = o["status"].(string)
		a.Reason, _ = o["status_reason"].(client.Object)
		before, what := last[id], a.Status+" "+a.ReasonCode()
		if last[id] = (told{what, asked}); before.what != what {
			a.Before = before.asked
			out = append(out, a)
		}
	}
	return out
}

// ServiceOf is the status of the VPN service of a fault's connection, and after a space the code of its status_reason.
func (s *Scene) ServiceOf(ctx context.Context, l *Laid) (string, error) {
	o, err := l.site.API.Call(ctx, "GET", l.site.ServicePath(), nil)
	if err != nil {
		return "", err
	}
	v, _ := o["vpnservice"].(client.Object)
	status, _ := v["status"].(string)
	why, _ := v["status_reason"].(client.Object)
	code, _ := why["code"].(string)
	return strings.TrimSpace(status + " " + code), nil
}
