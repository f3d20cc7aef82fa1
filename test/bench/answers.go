package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// connections is how many the list has.
const connections = 1000

// answers measures what HTTP answers take on a server with 1,000 connections and no gateway.
func (b *bench) answers(ctx context.Context) (err error) {
	c, err := b.startCulvert(ctx, "answers", "--gateway", "none")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	raw, limit, err := b.startRaw()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.stop()) }()
	begun := time.Now()
	middle, err := c.fill(ctx, connections)
	if err != nil {
		return fmt.Errorf("make %d connections: %w", connections, err)
	}
	progress("%d connections made through the API in %s", connections, time.Since(begun).Round(100*time.Millisecond))
	m := &compared{caller: newCaller(c.api.Token), server: c.api.URL + "/v2.0/vpn/", limit: limit + "/"}
	for _, r := range []struct {
		name, method, path, body string
		n                        int
		aim                      aim
	}{
		{"list_1000", "GET", "ipsec-site-connections", "", 200, aim{ratio: 10}},
		{"get_one", "GET", "ipsec-site-connections/" + middle, "", 2000, aim{ratio: 3}},
		{"page_100", "GET", "ipsec-site-connections?limit=100&marker=" + middle, "", 500, aim{}},
		{"create", "POST", "ikepolicies", `{"ikepolicy":{"name":"bench"}}`, 200, aim{}},
	} {
		got, raw, err := m.measure(ctx, r.n, r.method, r.path, []byte(r.body))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		b.add(newRow(r.name, r.aim, got, raw))
	}
	return m.checkList(ctx)
}

// compared asks the server and the raw handler the same.
type compared struct {
	*caller
	server, limit string // URLs, with a slash at the end
}

// measure sends n requests to each, in turns, after some that do not count. It fails when the two do not answer the same.
func (m *compared) measure(ctx context.Context, n int, method, path string, body []byte) (got, limit []time.Duration, err error) {
	if _, err := m.do(ctx, method, m.server+path, body); err != nil {
		return nil, nil, err
	}
	want := bytes.Clone(m.body.Bytes())
	if _, err := m.do(ctx, "PUT", m.limit+path, want); err != nil {
		return nil, nil, err
	}
	warmUp := n / 10
	for range warmUp + n {
		t, err := m.do(ctx, method, m.limit+path, body)
		if err == nil && !bytes.Equal(m.body.Bytes(), want) {
			err = errors.New("the raw handler answers something else")
		}
		if err != nil {
			return nil, nil, err
		}
		limit = append(limit, t)
		t, err = m.do(ctx, method, m.server+path, body)
		if err == nil && method == "GET" && !bytes.Equal(m.body.Bytes(), want) {
			err = errors.New("the answer changed")
		}
		if err != nil {
			return nil, nil, err
		}
		got = append(got, t)
	}
	return got[warmUp:], limit[warmUp:], nil
}

// checkList makes sure that the list is what the row says: all connections, each with its key in clear.
func (m *compared) checkList(ctx context.Context) error {
	if _, err := m.do(ctx, "GET", m.server+"ipsec-site-connections", nil); err != nil {
		return err
	}
	var list struct {
		Connections []struct{ ID, PSK, Status string } `json:"ipsec_site_connections"`
	}
	if err := json.Unmarshal(m.body.Bytes(), &list); err != nil {
		return fmt.Errorf("the list: %w", err)
	}
	if len(list.Connections) != connections {
		return fmt.Errorf("the list has %d connections, not %d", len(list.Connections), connections)
	}
	for _, c := range list.Connections {
		if len(c.PSK) < 20 || c.Status != "ACTIVE" {
			return fmt.Errorf("connection %s is listed as %s, with a key of %d characters", c.ID, c.Status, len(c.PSK))
		}
	}
	return nil
}
