package gateway

import (
	"slices"
	"time"

	"culvert/internal/vpn"
)

// warn says of a connection that is up what it does not do: it stays up, and the warning is its reason until clearWarning
// or until it is not up any more. A warning of the same code is replaced and keeps its FirstSeen. A connection that is not
// up has no warnings: then there is a reason already.
func (r *router) warn(id string, why vpn.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil && c.state == vpn.StateUp {
		c.warn(why, r.g.now())
		r.publish(false)
	}
}

// clearWarning takes a warning back; one that is not there is none.
func (r *router) clearWarning(id, code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil && c.state == vpn.StateUp {
		c.clearWarning(code)
		r.publish(false)
	}
}

func (c *connection) warn(why vpn.Reason, now time.Time) {
	at := slices.IndexFunc(c.warnings, func(w *vpn.Reason) bool { return w.Code == why.Code })
	if at < 0 {
		c.warnings = append(c.warnings, stamp(why, nil, now))
		slices.SortStableFunc(c.warnings, func(a, b *vpn.Reason) int { return warningRank(a.Code) - warningRank(b.Code) })
	} else {
		c.warnings[at] = stamp(why, c.warnings[at], now)
	}
	c.reason = c.warnings[0]
}

func (c *connection) clearWarning(code string) {
	c.warnings = slices.DeleteFunc(c.warnings, func(w *vpn.Reason) bool { return w.Code == code })
	c.reason = nil
	if len(c.warnings) > 0 {
		c.reason = c.warnings[0]
	}
}

// warningRank orders warnings by what they cost now: status_reason has room for one.
func warningRank(code string) int {
	order := []string{"one_way_traffic", "mtu_black_hole", "ts_narrowed", "pfs_mismatch"}
	if at := slices.Index(order, code); at >= 0 {
		return at
	}
	return len(order)
}
