package gateway

import (
	"maps"
	"time"

	"culvert/internal/vpn"
)

// parking is a connection that was lost and is not to be initiated again, as its dpd action says. It is noted for the next
// process, which would otherwise begin with it as with a new one.
type parking struct {
	DPD    vpn.DPDSpec `json:"dpd"` // with another it is not parked any more
	Reason vpn.Reason  `json:"reason"`
	Demand *uint64     `json:"demand,omitempty"` // of connection
}

// same tells whether the note need not be written again.
func (p parking) same(q parking) bool {
	counted := p.Demand == q.Demand || p.Demand != nil && q.Demand != nil && *p.Demand == *q.Demand
	return counted && p.DPD == q.DPD && p.Reason.Code == q.Reason.Code
}

// parkAgain takes over what an earlier process noted of a connection that charon still has as it was.
func (c *connection) parkAgain(was map[string]parking) {
	p, is := was[c.spec.ID]
	if !is || p.DPD != c.spec.DPD {
		return
	}
	c.state, c.reason, c.quiet = vpn.StateDown, &p.Reason, time.Time{}
	c.parked, c.demand = true, p.Demand
	c.settle()
}

// parkings needs mu.
func (r *router) parkings() map[string]parking {
	out := map[string]parking{}
	for id, c := range r.conns {
		if c.parked && c.loaded && c.reason != nil {
			out[id] = parking{c.spec.DPD, *c.reason, c.demand}
		}
	}
	return out
}

// keepParked has written down which connections are parked, where that is not what was written last.
func (s *session) keepParked() {
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing || r.session != s || !s.seen {
		return
	}
	if now := r.parkings(); !maps.EqualFunc(now, s.parked, parking.same) {
		s.parked = now
		r.g.running.Add(1)
		go r.noteMemory()
	}
}

// noteMemory writes down what charon cannot tell the next process: what is proven (see pfs.go), and what is parked.
func (r *router) noteMemory() {
	defer r.g.running.Done()
	r.op.Lock()
	defer r.op.Unlock()
	r.mu.Lock()
	s, proven, parked := r.session, map[string]string{}, r.parkings()
	for id, c := range r.conns {
		if c.proven != "" {
			proven[id] = c.proven
		}
	}
	r.mu.Unlock()
	if s == nil || maps.Equal(proven, s.loaded.Proven) && maps.EqualFunc(parked, s.loaded.Parked, parking.same) {
		return
	}
	s.loaded.Proven, s.loaded.Parked = proven, parked
	if err := s.loaded.write(); err != nil {
		r.g.log.Warn("note what a connection's past was", "router", r.id, "err", err)
	}
}
