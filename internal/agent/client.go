package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"culvert/internal/vpn"
)

// ClientOptions are what a Client may be told besides where the server is.
type ClientOptions struct {
	TLS     *tls.Config   // nil: the system's authorities
	Silence time.Duration // a watch without any line for so long is given up; 0: 15 s, three signs of life
	Timeout time.Duration // of one call of Report; 0: 10 s
	Direct  bool          // never through the environment's proxy: the server is this very process
	// TokenFrom is where the token was read, for the error that the server refuses it.
	TokenFrom string
}

// ErrToken is a bearer token that the server refuses.
var ErrToken = errors.New("the server refuses the token")

// Client is a Server over HTTP.
type Client struct {
	url, token string
	o          ClientOptions
	http       *http.Client
}

var _ Server = (*Client)(nil)

// NewClient talks to the server at this URL (scheme and host) with the agents' bearer token. It follows no redirect: the
// token is for this server alone.
func NewClient(url, token string, o ClientOptions) *Client {
	if o.Silence <= 0 {
		o.Silence = 15 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: o.Silence,
		IdleConnTimeout:       time.Minute,
		Proxy:                 http.ProxyFromEnvironment,
	}
	if o.Direct {
		t.Proxy = nil
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{strings.TrimRight(url, "/"), token, o, &http.Client{Transport: t, CheckRedirect: stay}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

var errSilence = errors.New("the server was silent for too long")

// Watch reads the server's lines. It ends with an error when the server ends it or is silent for too long.
func (c *Client) Watch(ctx context.Context, after int64, each func(Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.o.Silence, func() { cancel(errSilence) })
	defer silence.Stop()
	query := url.Values{"after": {strconv.FormatInt(after, 10)}}
	resp, err := c.do(ctx, http.MethodGet, "/agent/v1/watch?"+query.Encode(), nil)
	if err != nil {
		return because(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.refusal(resp)
	}
	for dec := json.NewDecoder(resp.Body); ; {
		var l Line
		if err := dec.Decode(&l); err != nil {
			return because(ctx, fmt.Errorf("read the watch: %w", err))
		}
		silence.Reset(c.o.Silence)
		if err := each(l); err != nil {
			return err
		}
	}
}

// because prefers the reason for which the context was ended.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// Report sends what was seen.
func (c *Client) Report(ctx context.Context, b vpn.Batch) error {
	return c.tell(ctx, "/agent/v1/reports", b)
}

// Count sends what the tunnels carry.
func (c *Client) Count(ctx context.Context, list []vpn.Statistics) error {
	return c.tell(ctx, "/agent/v1/counters", list)
}

// tell posts what the server answers with 204.
func (c *Client) tell(ctx context.Context, path string, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encode for %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNoContent:
		return nil
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %w", ErrRejected, c.refusal(resp))
	}
	return c.refusal(resp)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request to the server: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call the server: %w", err)
	}
	return resp, nil
}

// refusal is an answer that was not hoped for, with the beginning of its text.
func (c *Client) refusal(resp *http.Response) error {
	if resp.StatusCode == http.StatusUnauthorized {
		from := ""
		if c.o.TokenFrom != "" {
			from = " in " + c.o.TokenFrom
		}
		return fmt.Errorf("%w%s", ErrToken, from)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	if err != nil {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return fmt.Errorf("the server answered %s: %s", resp.Status, bytes.TrimSpace(text))
}
