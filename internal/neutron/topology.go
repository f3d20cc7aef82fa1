package neutron

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"culvert/internal/resource"
	"culvert/internal/vpn"
)

const (
	// fresh is how long what was read is answered again without asking. Routers and subnets in use are read by Run alone:
	// who asks for one stands in a change, or on a snapshot, and must not wait for another host.
	fresh = 10 * time.Second
	// kept is how long what is not in use is remembered.
	kept = time.Minute
	// rest is how long a Neutron that failed is left alone: whoever needs it is answered at once.
	rest = 2 * time.Second
	// patience is how long one look may take. A client of ours waits for it.
	patience = 10 * time.Second
)

// shelf holds what was read, by id.
type shelf[T any] map[string]held[T]

type held[T any] struct {
	v  *T // nil: there is no such thing
	at time.Time
}

// Router answers a router that a VPN stands on as Run last saw it, and any other as it was read in the last seconds, or asks.
// While Neutron is away, tunnels can thus go on being worked on; what is not known is a 503, and what is in use and was never
// read (Neutron was away at the start) is one at once.
func (n *Neutron) Router(ctx context.Context, _ resource.Reader, id string) (*vpn.Router, error) {
	return look(ctx, n, n.routers, id, n.fetchRouters)
}

// Subnet is as Router.
func (n *Neutron) Subnet(ctx context.Context, _ resource.Reader, id string) (*vpn.Subnet, error) {
	return look(ctx, n, n.subnets, id, n.fetchSubnets)
}

func look[T any](ctx context.Context, n *Neutron, s shelf[T], id string, fetch func(context.Context, []string) error) (*T, error) {
	get := func() (h held[T], known, used bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		h, known = s[id]
		return h, known, n.used[id]
	}
	h, known, used := get()
	if used && !known {
		return nil, away(errors.New("it could not be read since this server began"))
	}
	if !used && (!known || n.Now().Sub(h.at) > fresh) {
		if err := fetch(ctx, []string{id}); err != nil {
			return nil, err
		}
		h, _, _ = get()
	}
	if h.v == nil {
		return nil, resource.ErrNotFound
	}
	v := *h.v
	return &v, nil
}

// Refresh asks for these routers and subnets now. While Neutron is away, those in use stay as they were last seen.
func (n *Neutron) Refresh(ctx context.Context, routers, subnets []string) error {
	return errors.Join(known(n, n.routers, routers, n.fetchRouters(ctx, routers)), known(n, n.subnets, subnets, n.fetchSubnets(ctx, subnets)))
}

// known takes an error for none where all of the ids are in use and were seen.
func known[T any](n *Neutron, s shelf[T], ids []string, err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		if _, seen := s[id]; !seen || !n.used[id] {
			return err
		}
	}
	return nil
}

func (n *Neutron) fetchRouters(ctx context.Context, ids []string) error {
	return ask(ctx, n, n.routers, ids, n.readRouters)
}

func (n *Neutron) fetchSubnets(ctx context.Context, ids []string) error {
	return ask(ctx, n, n.subnets, ids, func(ctx context.Context, ids []string) (map[string]*vpn.Subnet, error) {
		found, err := n.readSubnets(ctx, ids)
		out := map[string]*vpn.Subnet{}
		for id, s := range found {
			out[id] = &vpn.Subnet{ID: id, ProjectID: s.ProjectID, CIDR: s.CIDR}
		}
		return out, err
	})
}

// ask reads ids and puts them on the shelf, also those that do not exist.
func ask[T any](ctx context.Context, n *Neutron, s shelf[T], ids []string, read func(context.Context, []string) (map[string]*T, error)) error {
	if len(ids) == 0 {
		return nil
	}
	n.mu.Lock()
	cause, resting := n.cause, n.Now().Before(n.until)
	n.mu.Unlock()
	if resting {
		return away(cause)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at := n.Now()
	found, err := read(limited, ids)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil { // or its own client gave up
			n.cause, n.until = err, n.Now().Add(rest)
		}
		return away(err)
	}
	for _, id := range ids {
		s[id] = held[T]{found[id], at}
	}
	return nil
}

// away is what a caller gets; the log gets the cause as well.
func away(cause error) error {
	if e := (*resource.Error)(nil); errors.As(cause, &e) { // Keystone's absence, which says as much
		return cause
	}
	return fmt.Errorf("%w: %w", resource.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable",
		"The network service (Neutron) cannot be asked at the moment."), cause)
}
