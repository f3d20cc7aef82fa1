package neutron

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	"culvert/internal/identity"
)

// Pass hands a request to Neutron and its answer back. A request that may take away what a VPN stands on is asked about
// first; who then tells whose it is. An error is still to be answered: nothing was written.
func (n *Neutron) Pass(w http.ResponseWriter, r *http.Request, who func() (identity.Caller, error)) error {
	if may := n.guarded(r); may != nil {
		caller, err := who()
		if err == nil {
			err = may(r.Context(), caller)
		}
		if err != nil {
			return err
		}
	}
	var failed error
	n.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), failure{}, &failed)))
	if failed == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		n.look()
	}
	return failed
}

// failure is the context's key of where the proxy leaves its error.
type failure struct{}

// look makes Run look now.
func (n *Neutron) look() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

func (n *Neutron) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: direct(),
		ErrorLog:  slog.NewLogLogger(n.Log.Handler(), slog.LevelDebug), // of answers that break off; the client's end tells too
		Rewrite:   n.rewrite,
		ModifyResponse: func(a *http.Response) error {
			a.Header.Del("X-Openstack-Request-Id") // the answer has ours, which Neutron was told
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			*r.Context().Value(failure{}).(*error) = away(err)
		},
	}
}

// rewrite keeps path, query, body and headers, the token among them, but for those that are of one hop only. Where the
// request goes is ours to say alone: its own Host reaches Neutron as X-Forwarded-Host, for the links in answers.
func (n *Neutron) rewrite(p *httputil.ProxyRequest) {
	p.SetURL(n.base)
	p.SetXForwarded()
	if public, err := url.Parse(n.PublicURL); err == nil && public.Host != "" {
		p.Out.Header.Set("X-Forwarded-Host", public.Host)
		p.Out.Header.Set("X-Forwarded-Proto", public.Scheme)
	}
}

// Ask sends a request of our own to Neutron in the name of a token, and answers what it says. uri begins with /v2.0.
func (n *Neutron) Ask(ctx context.Context, method, uri, token string, body []byte) (code int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, n.base.String()+uri, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("neutron: %w", err)
	}
	r.Header.Set("X-Auth-Token", token)
	r.Header.Set("Content-Type", "application/json")
	a, err := n.proxy.Transport.RoundTrip(r)
	if err != nil {
		return 0, nil, away(err)
	}
	defer a.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(a.Body, maxAnswer)); err != nil {
		return 0, nil, away(err)
	}
	return a.StatusCode, answer, nil
}

const maxAnswer = 8 << 20 // bytes; a list of extensions is 50 kB
