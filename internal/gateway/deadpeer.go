package gateway

import (
	"context"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"culvert/internal/vpn"
)

// What follows a dead peer is the dpd action (api-contract section 8). charon itself is told to do nothing.
//
//   - restart: the connection is initiated again at once, and then as any other that is to be up.
//   - restart-by-peer: likewise, and with it every other connection of the service to the same peer address, also one that
//     seems to be up.
//   - hold: it is initiated again when a packet for the peer's networks comes by. Userland ESP has no trap policies; the
//     guard's counters of what it held back take their place, on both data planes.
//   - clear: it is not initiated again; the peer may come. So it is until the connection is changed.
//   - disabled: there is no dead peer detection. A rekeying that the peer does not answer ends the SA all the same.
//
// A held or cleared connection stays so in the next process (parked.go); a new charon begins anew.
const (
	actionClear    = "clear"
	actionHold     = "hold"
	actionDisabled = "disabled"
	actionByPeer   = "restart-by-peer"
)

const livenessLost = "liveness_lost"

// isDead says that a tunnel with this reason was lost because its peer is silent: of a peer_not_listening we know more.
func isDead(code string) bool { return code == livenessLost || code == "peer_not_listening" }

// lose takes the state of a connection that was up.
func (c *connection) lose(f finding, now time.Time, random float64) {
	c.parked, c.demand, c.failedAt = false, nil, now
	if isDead(f.Code) {
		f.Hint += afterwards(c.spec)
	}
	c.down(vpn.StateDown, f.Reason, now)
	c.certain = f.certain
	if f.Code == lost().Code {
		c.quiet = now.Add(startGrace)
	}
	switch action := c.spec.DPD.Action; {
	case !isDead(f.Code) || action == actionDisabled:
		c.try.fail(now, random)
	case action == actionClear || action == actionHold:
		c.parked = true
		c.try.reset()
	default:
		c.try.reset()
	}
}

// afterwards says what the gateway does about a dead peer.
func afterwards(c vpn.ConnectionSpec) string {
	switch {
	case !c.Initiate:
		return "; the connection only answers: the peer must come back"
	case c.DPD.Action == actionClear:
		return "; dpd action clear: it is not initiated again from here; the peer may come, or set admin_state_up to false and to true"
	case c.DPD.Action == actionHold:
		return "; dpd action hold: it is initiated again as soon as there is a packet for the peer's networks"
	}
	return ""
}

// deadPeer tells that the connection is down for a peer that does not answer.
func (c *connection) deadPeer() bool {
	return c.state == vpn.StateDown && c.reason != nil && isDead(c.reason.Code)
}

// restartByPeer marks the other connections of the service to the same peer. It needs mu.
func (r *router) restartByPeer(dead *connection, now time.Time) {
	if dead.spec.DPD.Action != actionByPeer {
		return
	}
	for id, c := range r.conns {
		if c == dead || !c.loaded || c.spec.Service != dead.spec.Service || c.spec.PeerAddress != dead.spec.PeerAddress {
			continue
		}
		c.loaded = false // until its SAs are gone: nobody initiates it in between
		c.try.reset()
		c.settle()
		c.down(vpn.StateDown, reason(livenessLost, "path", "liveness", "the peer does not answer on another connection of this service, whose dpd action is restart-by-peer",
			"check the peer and the path to it"), now)
		r.restarts = append(r.restarts, id)
	}
	r.poke()
}

// restartDue ends the SAs of the connections that restartByPeer or redoHalf marked, and has them initiated when that is due.
func (s *session) restartDue() time.Time {
	s.r.mu.Lock()
	todo := s.r.restarts
	s.r.restarts = nil
	s.r.mu.Unlock()
	for _, id := range todo {
		if err := s.terminate(context.Background(), id, nil); err != nil {
			s.r.g.log.Warn("restart a connection", "router", s.r.id, "connection", id, "err", err)
		}
		s.r.restarted(id)
	}
	return time.Time{}
}

func (r *router) restarted(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil && c.cfg != nil {
		c.loaded, c.parked, c.demand = true, false, nil
		c.settle()
	}
}

// demandPace is how often the guard's counters are read while a connection is held.
const demandPace = 500 * time.Millisecond

// watchDemand starts the held connections that there is traffic for, and answers when to look again.
func (s *session) watchDemand() (again time.Time) {
	if !s.r.anyHeld() {
		return time.Time{}
	}
	again = time.Now().Add(demandPace)
	counts, err := s.r.heldBack()
	if err != nil {
		s.r.g.log.Warn("read the guard's counters", "router", s.r.id, "err", err)
		return again
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for _, c := range s.r.conns {
		if c.held() {
			c.meet(counts)
		}
	}
	return again
}

// held tells that the connection waits for traffic.
func (c *connection) held() bool {
	return c.parked && c.loaded && c.spec.Initiate && c.spec.DPD.Action == actionHold
}

func (r *router) anyHeld() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		if c.held() {
			return true
		}
	}
	return false
}

// meet compares what the guard has counted for the connection with what it had when it was parked.
func (c *connection) meet(counts map[string]uint64) {
	sum := uint64(0)
	for _, chain := range []string{"forward", "output"} {
		for _, local := range c.spec.Local {
			for _, peer := range c.spec.Peer {
				sum += counts[leavingKey(chain, local, peer)]
			}
		}
	}
	if c.demand != nil && sum > *c.demand {
		c.parked, c.demand = false, nil
		c.settle()
		return
	}
	c.demand = &sum // a counter that went back is of a new rule
}

// heldBack reads the guard's counters of what would have left in clear, by leavingKey.
func (r *router) heldBack() (map[string]uint64, error) {
	ns, err := r.openNamespace()
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	counted, err := guard{ns}.counted()
	if err != nil {
		return nil, err
	}
	used, err := spd{ns}.used()
	for key, n := range used {
		counted[key] += n
	}
	return counted, err
}

// counted answers the packets that each counting rule has met, by its key without the data plane.
func (g guard) counted() (map[string]uint64, error) {
	nft, err := nftables.New(nftables.WithNetNSFd(int(g.ns.fd)), nftables.AsLasting(), nftables.WithSockOptions(roomy))
	if err != nil {
		return nil, err
	}
	defer nft.CloseLasting()
	standing, err := g.standing(nft, &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for key, rule := range standing {
		for _, e := range rule.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				out[withoutLastWord(key)] += c.Packets
			}
		}
	}
	return out, nil
}

func withoutLastWord(s string) string {
	for i := len(s); i > 0; i-- {
		if s[i-1] == ' ' {
			return s[:i]
		}
	}
	return ""
}
