package dataplane

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"culvert/internal/lab"
)

// handover is the time in which the peer has a new CHILD_SA and we have not: as responder it installs it with its answer, and
// sends through it from then on, as RFC 7296 section 2.8 allows; we can take that when we have its answer. Only a packet that
// the peer sends in between may be lost, for no side has anything else to do with it: before, both use the old SA, and
// afterwards both have either.
type handover struct{ from, to time.Time }

// installed matches charon's line about a new CHILD_SA, which it writes when the SA is installed.
var installed = regexp.MustCompile(`(?m)^(\S+) \S+ <\S+> CHILD_SA \S+ established with SPIs ([0-9a-f]+)_i ([0-9a-f]+)_o `)

// handovers pairs what the two charons have logged of the CHILD_SAs that they made together, of which we began each.
func handovers(t *testing.T, ours, peers string) (out []handover) {
	t.Helper()
	at := func(text string) time.Time {
		when, err := time.ParseInLocation("2006-01-02T15:04:05.000", text, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	there := map[string]time.Time{} // by SPIs, ours first
	for _, m := range installed.FindAllStringSubmatch(peers, -1) {
		there[m[3]+" "+m[2]] = at(m[1])
	}
	for _, m := range installed.FindAllStringSubmatch(ours, -1) {
		from, ok := there[m[2]+" "+m[3]]
		if !ok {
			t.Errorf("we have a CHILD_SA that the peer has not: %s", m[0])
			continue
		}
		out = append(out, handover{from, at(m[1]).Add(time.Millisecond)}) // what charon cuts off of its time
	}
	return out
}

// lostOutside are the lost pings that no handover explains. One is lost with its answer, so it may have been sent as long
// before as a ping was ever under way.
func lostOutside(pings lab.PingResult, during []handover) (out []string) {
	for _, sent := range pings.Unanswered {
		explained, nearest := false, time.Duration(0)
		for _, h := range during {
			explained = explained || !sent.Before(h.from.Add(-pings.Slowest-time.Millisecond)) && !sent.After(h.to)
			nearest = sent.Sub(h.to)
		}
		if !explained {
			out = append(out, fmt.Sprintf("%s, %s after the last new SA", sent.Format("15:04:05.000"), nearest.Round(time.Millisecond)))
		}
	}
	return out
}

// lasted is how long handovers took together.
func lasted(all []handover) (sum time.Duration) {
	for _, h := range all {
		sum += h.to.Sub(h.from)
	}
	return sum
}
