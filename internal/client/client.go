// Package client is a small client of the public API, as any program outside would write it: the demo, the tests and the
// benchmarks speak to the server through it and through nothing else. No type of the server may enter here.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Object is a JSON object.
type Object = map[string]any

// Client holds a token for one project.
type Client struct {
	URL     string // of the server, such as http://127.0.0.1:9696
	Token   string
	Project string // id
	User    string // id
	HTTP    *http.Client
}

// Error is an answer that was not the wanted one.
type Error struct {
	Call   string
	Status int
	Body   string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: HTTP %d: %s", e.Call, e.Status, e.Body) }

// Login asks for a token scoped to a project of the domain Default.
func Login(ctx context.Context, url, user, password, project string) (*Client, error) {
	c := &Client{URL: url, HTTP: http.DefaultClient}
	domain := Object{"name": "Default"}
	body := Object{"auth": Object{
		"identity": Object{"methods": []string{"password"}, "password": Object{"user": Object{"name": user, "domain": domain, "password": password}}},
		"scope":    Object{"project": Object{"name": project, "domain": domain}},
	}}
	resp, out, err := c.send(ctx, "POST", "/identity/v3/auth/tokens", body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusCreated {
		return nil, &Error{"login of " + user, resp.StatusCode, string(out)}
	}
	var token struct {
		Token struct{ Project, User struct{ ID string } }
	}
	if err := json.Unmarshal(out, &token); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	c.Token, c.Project, c.User = resp.Header.Get("X-Subject-Token"), token.Token.Project.ID, token.Token.User.ID
	return c, nil
}

// Do makes a call and returns its status and body, whatever they are.
func (c *Client) Do(ctx context.Context, method, path string, body any) (int, []byte, error) {
	resp, out, err := c.send(ctx, method, path, body)
	if err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, out, nil
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, []byte, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, in)
	if err != nil {
		return nil, nil, err
	}
	if c.Token != "" {
		req.Header.Set("X-Auth-Token", c.Token)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return resp, out, err
}

// Call makes a call that must succeed and decodes its answer.
func (c *Client) Call(ctx context.Context, method, path string, body any) (Object, error) {
	status, out, err := c.Do(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if status >= 300 {
		return nil, &Error{method + " " + path, status, string(out)}
	}
	if len(out) == 0 {
		return nil, nil
	}
	var o Object
	if err := json.Unmarshal(out, &o); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return o, nil
}

// Create posts {key: attributes} to a collection and returns the new resource.
func (c *Client) Create(ctx context.Context, collection, key string, attributes Object) (Object, error) {
	o, err := c.Call(ctx, "POST", "/v2.0/"+collection, Object{key: attributes})
	if err != nil {
		return nil, err
	}
	made, _ := o[key].(Object)
	return made, nil
}

// Await polls an item until its status is one of those wanted, and returns it; an error when ctx ends first.
func (c *Client) Await(ctx context.Context, path, key string, every time.Duration, statuses ...string) (Object, error) {
	var last Object
	for {
		o, err := c.Call(ctx, "GET", path, nil)
		if err != nil {
			if ctx.Err() != nil {
				return last, fmt.Errorf("%s is still %v (%v): %w", path, last["status"], last["status_reason"], ctx.Err())
			}
			return nil, err
		}
		last, _ = o[key].(Object)
		for _, s := range statuses {
			if last["status"] == s {
				return last, nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}
