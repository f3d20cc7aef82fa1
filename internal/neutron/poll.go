package neutron

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"culvert/internal/crud"
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
	if err := n.Refresh(ctx, routers, subnets); err != nil {
		return err
	}
	used := map[string]bool{}
	for _, id := range append(routers, subnets...) {
		used[id] = true
	}
	now := n.tidy(used)
	for id := range told {
		if !used[id] {
			delete(told, id)
		}
	}
	for _, id := range routers {
		before, known := told[id]
		if known && reflect.DeepEqual(before, now[id]) {
			continue
		}
		if _, err := n.Resources.Change(ctx, func(op *crud.Op) error { return n.vpn.RouterChanged(op, id) }); err != nil {
			return fmt.Errorf("tell of router %s: %w", id, err)
		}
		if now[id] == nil {
			n.Log.Warn("a router with VPN services does not exist any more in Neutron", "router", id)
		}
		told[id] = now[id]
	}
	return nil
}

// tidy forgets what is not in use, after a while, and answers the routers that are.
func (n *Neutron) tidy(used map[string]bool) map[string]*vpn.Router {
	n.mu.Lock()
	defer n.mu.Unlock()
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
