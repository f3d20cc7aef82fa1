package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// Gateways is the agents' side of the domain.
type Gateways interface {
	// Specs are the Specs that changed after a revision, of every router for 0, and the revision that they are of.
	Specs(ctx context.Context, after int64) (specs []vpn.Spec, rev int64, err error)
	// Changed returns a channel that is closed as soon as there may be something after rev.
	Changed(rev int64) <-chan struct{}
	// Lost returns a channel that is closed when reports may be lost that were taken before.
	Lost() <-chan struct{}
	Report(ctx context.Context, b vpn.Batch) error
	// Count takes what the tunnels carry.
	Count(ctx context.Context, list []vpn.Statistics) error
	// Attach says that an agent's watch is open, until detach is called.
	Attach() (detach func())
}

const (
	maxReports = 16 << 20         // bytes of a POST of reports
	writeTime  = 15 * time.Second // an agent that takes no line for so long has gone
)

// agent requires the agents' token. Digests are compared, so that not even its length shows.
func (s *server) agent(c *call) error {
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.AgentToken))
	if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		c.w.Header().Set("WWW-Authenticate", "Bearer")
		return unauthorized("The agent's bearer token is missing or wrong.")
	}
	c.trace.user = "agent"
	return nil
}

// line is one line of the watch; one of its fields is set.
type line struct {
	Spec   *vpn.Spec `json:"spec,omitempty"`
	Synced *int64    `json:"synced,omitempty"`
	Rev    *int64    `json:"rev,omitempty"`
}

// watch streams Specs as newline-delimited JSON: what changed after ?after=, then that it is synced, then every change, with
// a sign of life in between. Each Spec is a router's whole wanted state, so a change that another one overtakes is never sent.
func (s *server) watch(c *call) error {
	after, err := watchAfter(c.r)
	if err != nil {
		return err
	}
	lost := s.Gateways.Lost()
	specs, rev, err := s.Gateways.Specs(c, after)
	if err != nil {
		return fmt.Errorf("specs after %d: %w", after, err)
	}
	defer s.Gateways.Attach()()
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.Header().Set("X-Accel-Buffering", "no") // or nginx would keep the lines back
	out := &stream{w: c.w, ctl: http.NewResponseController(c.w)}
	out.begin()
	out.specs(specs)
	out.line(line{Synced: &rev})
	c.trace.err = s.follow(c, out, rev, lost)
	return nil
}

// errLost ends a watch: an agent that begins another one tells everything that it knows.
var errLost = errors.New("reports may be lost: the agent is to tell everything again")

// follow goes on until the agent has gone, reports were lost, or the domain fails.
func (s *server) follow(c *call, out *stream, rev int64, lost <-chan struct{}) error {
	beat := time.NewTicker(s.Heartbeat)
	defer beat.Stop()
	changed := s.Gateways.Changed(rev)
	for out.flush() {
		select {
		case <-c.Done():
			return nil
		case <-lost:
			return errLost
		case <-beat.C:
			out.line(line{Rev: &rev})
		case <-changed:
			specs, now, err := s.Gateways.Specs(c, rev)
			if c.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("specs after %d: %w", rev, err)
			}
			out.specs(specs)
			rev = now
			changed = s.Gateways.Changed(rev)
		}
	}
	return nil
}

func watchAfter(r *http.Request) (int64, error) {
	v := r.URL.Query().Get("after")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, resource.BadRequest("Invalid input for after. Reason: it must be a revision, 0 or greater.")
	}
	return n, nil
}

// stream writes lines until the agent has gone.
type stream struct {
	w    http.ResponseWriter
	ctl  *http.ResponseController
	gone bool
}

// begin takes away the deadline that servers set for a whole request: the agent's end is read until it closes.
func (s *stream) begin() { s.check(s.ctl.SetReadDeadline(time.Time{})) }

func (s *stream) check(err error) {
	s.gone = s.gone || err != nil && !errors.Is(err, http.ErrNotSupported)
}

func (s *stream) specs(specs []vpn.Spec) {
	for i := range specs {
		s.line(line{Spec: &specs[i]})
	}
}

// line has a deadline of its own.
func (s *stream) line(l line) {
	if s.gone {
		return
	}
	b, err := json.Marshal(l)
	s.check(err)
	s.check(s.ctl.SetWriteDeadline(time.Now().Add(writeTime)))
	_, err = s.w.Write(append(b, '\n'))
	s.check(err)
}

// flush says whether the agent is still there.
func (s *stream) flush() bool {
	if !s.gone {
		s.check(s.ctl.Flush())
	}
	return !s.gone
}

// reports takes what a gateway saw. 204 means that it is stored; of a durable batch, that it is on the disk.
func (s *server) reports(c *call) error {
	raw, err := c.body(maxReports)
	if err != nil {
		return err
	}
	var b vpn.Batch
	err = json.Unmarshal(raw, &b)
	if err != nil {
		err = json.Unmarshal(raw, &b.Reports) // or a list of reports alone
	}
	if err != nil || b.Reports == nil && b.Events == nil {
		return resource.Errorf(http.StatusBadRequest, "MalformedRequestBody", "The body must be a JSON object with reports and events, or a list of reports.")
	}
	if err := s.Gateways.Report(c, b); err != nil {
		return fmt.Errorf("%d reports, %d events: %w", len(b.Reports), len(b.Events), err)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// counters takes what the tunnels carry.
func (s *server) counters(c *call) error {
	raw, err := c.body(maxReports)
	if err != nil {
		return err
	}
	var list []vpn.Statistics
	if err := json.Unmarshal(raw, &list); err != nil {
		return resource.Errorf(http.StatusBadRequest, "MalformedRequestBody", "The body must be a JSON list of statistics.")
	}
	if err := s.Gateways.Count(c, list); err != nil {
		return fmt.Errorf("statistics of %d connections: %w", len(list), err)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
