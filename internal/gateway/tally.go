package gateway

import "time"

// tally sums what a connection's CHILD_SAs carried. Each CHILD_SA counts from 0, and a rekey replaces it, so the sums are of
// differences. It is written to a file, so that they outlive the agent.
type tally struct {
	Since       time.Time        `json:"since"`
	Established time.Time        `json:"established,omitzero"` // up without a break since then
	In          flow             `json:"in"`
	Out         flow             `json:"out"`
	IKERekeys   uint64           `json:"ike_rekeys"`
	ChildRekeys uint64           `json:"child_rekeys"`
	SAs         map[string]usage `json:"sas"` // what is in the sums already, by CHILD_SA
}

// flow is what passed in one direction.
type flow struct {
	Bytes   uint64    `json:"bytes"`
	Packets uint64    `json:"packets"`
	Last    time.Time `json:"last,omitzero"`
}

// usage is what one CHILD_SA has carried.
type usage struct {
	BytesIn    uint64 `json:"bi"`
	PacketsIn  uint64 `json:"pi"`
	BytesOut   uint64 `json:"bo"`
	PacketsOut uint64 `json:"po"`
	Missed     int    `json:"missed,omitempty"` // lists in a row that it was not in
}

// reading is what charon says of one CHILD_SA.
type reading struct {
	key string // of this SA alone: charon's number comes again after a restart, its SPIs do not
	usage
	lastIn, lastOut time.Time // zero: no packet yet
}

// forgetAfter is how many lists an SA may be missing from: one that is busy is left out.
const forgetAfter = 20

// add takes in what charon says of some CHILD_SAs. What an SA has less than before is not taken back: the old one of a
// rekey shows 0 bytes out on libipsec.
func (t *tally) add(readings []reading) {
	if t.SAs == nil {
		t.SAs = map[string]usage{}
	}
	for _, r := range readings {
		before := t.SAs[r.key]
		t.In.Bytes += grown(&before.BytesIn, r.BytesIn)
		t.In.Packets += grown(&before.PacketsIn, r.PacketsIn)
		t.Out.Bytes += grown(&before.BytesOut, r.BytesOut)
		t.Out.Packets += grown(&before.PacketsOut, r.PacketsOut)
		before.Missed = 0
		t.SAs[r.key] = before
		t.In.Last = later(t.In.Last, r.lastIn)
		t.Out.Last = later(t.Out.Last, r.lastOut)
	}
}

// forget drops SAs that have been missing from whole lists for long.
func (t *tally) forget(listed []reading) {
	there := map[string]bool{}
	for _, r := range listed {
		there[r.key] = true
	}
	for key, u := range t.SAs {
		if there[key] {
			continue
		}
		if u.Missed++; u.Missed > forgetAfter {
			delete(t.SAs, key)
		} else {
			t.SAs[key] = u
		}
	}
}

// knows tells whether one of these SAs has been seen before.
func (t *tally) knows(readings []reading) bool {
	for _, r := range readings {
		if _, ok := t.SAs[r.key]; ok {
			return true
		}
	}
	return false
}

func grown(before *uint64, now uint64) uint64 {
	if now <= *before {
		return 0
	}
	by := now - *before
	*before = now
	return by
}

// later is the later one. charon gives ages in whole seconds: what seems later by less is the same moment.
func later(a, b time.Time) time.Time {
	if b.Sub(a) > time.Second {
		return b
	}
	return a
}
