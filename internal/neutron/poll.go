package neutron

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"culvert/internal/crud"
	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// Run looks at the routers and subnets in use every few seconds, and at once after a change that came through us, and tells
// the VPN of what is otherwise than before, until ctx ends.
func (n *Neutron) Run(ctx context.Context) error {
	tick := time.NewTicker(n.Every)
	defer tick.Stop()
	told := map[string]*vpn.Router{} // as the VPN last heard of them; nil: gone
	wasAway := false
	for {
		err := n.poll(ctx, told)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !wasAway {
			n.Log.Error("Neutron cannot be read; tunnels stay as they are", "error", err)
		} else if err == nil && wasAway {
			n.Log.Info("Neutron can be read again")
		}
		wasAway = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-n.poke:
		}
	}
}

// poll looks once. What changed while this server was down is found by telling of every router once.
func (n *Neutron) poll(ctx context.Context, told map[string]*vpn.Router) error {
	routers, subnets, err := n.vpn.InUse(ctx)
	if err != nil {
		return fmt.Errorf("what is in use: %w", err)
	}
	err = errors.Join(n.fetchRouters(ctx, routers), n.fetchSubnets(ctx, subnets))
	now := n.tidy(slices.Concat(routers, subnets))
	if err != nil {
		return err
	}
	maps.DeleteFunc(told, func(id string, _ *vpn.Router) bool { return !slices.Contains(routers, id) })
	for _, id := range routers {
		before, known := told[id]
		if known && reflect.DeepEqual(before, now[id]) {
			continue
		}
		what, err := differences(before, now[id])
		if err != nil {
			return err
		}
		if _, err := n.Resources.Change(ctx, func(op *crud.Op) error { return n.vpn.RouterChanged(op, id, what...) }); err != nil {
			return fmt.Errorf("tell of router %s: %w", id, err)
		}
		if now[id] == nil {
			n.Log.Warn("a router with VPN services does not exist any more in Neutron", "router", id)
		}
		told[id] = now[id]
	}
	return nil
}

// differences are those that a user of the router knows; none while one side is not known.
func differences(before, after *vpn.Router) ([]resource.Difference, error) {
	if before == nil || after == nil {
		return nil, nil
	}
	shown := func(r *vpn.Router) map[string]any {
		m := map[string]any{"admin_state_up": r.AdminStateUp, "external_gateway_info": nil, "interfaces": append([]string{}, r.Subnets...)}
		if r.External != nil {
			m["external_gateway_info"] = map[string]any{"network_id": r.External.Network, "addresses": r.External.Addresses}
		}
		return m
	}
	return resource.Diff(shown(before), shown(after))
}

// Warm reads what is in use, before anybody asks for it one by one. That Neutron is away is no error: Run tells.
func (n *Neutron) Warm(ctx context.Context) error {
	routers, subnets, err := n.vpn.InUse(ctx)
	if err != nil {
		return fmt.Errorf("what is in use: %w", err)
	}
	_ = errors.Join(n.fetchRouters(ctx, routers), n.fetchSubnets(ctx, subnets))
	n.tidy(slices.Concat(routers, subnets))
	return nil
}

// tidy forgets what is not in use, after a while, and answers the routers that are.
func (n *Neutron) tidy(ids []string) map[string]*vpn.Router {
	used := map[string]bool{}
	for _, id := range ids {
		used[id] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used = used
	out := map[string]*vpn.Router{}
	for id, h := range n.routers {
		if used[id] {
			out[id] = h.v
		} else if n.Now().Sub(h.at) > kept {
			delete(n.routers, id)
		}
	}
	for id, h := range n.subnets {
		if !used[id] && n.Now().Sub(h.at) > kept {
			delete(n.subnets, id)
		}
	}
	return out
}
