package dataplane

import (
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/fault"
)

// inGET is how long after the event GET may still answer otherwise: the promise of status_reason, for each answer.
const inGET = time.Second

// event is the first moment at which a gateway can know a cause.
type event struct {
	what string
	act  bool // it is what the fault's layer did, at Answer.Since; else the reason's first_seen tells when it was
}

// events are by the code that follows. charon writes the time of a line, and the reason has it as its first_seen, whatever time
// passes until the line is read; a look and a measurement are the gateway's own, and end when first_seen says.
var events = func() map[string]event {
	const line, look, measured = "charon logs the refusal", "the look at a silent peer ends", "the gateway's own measurement ends"
	return map[string]event{
		"admin_down":              {"the request", true},
		"router_without_gateway":  {"the request", true},
		"ah_unsupported":          {"the request", true},
		"charon_died":             {"SIGKILL", true},
		"peer_deleted":            {"the peer is told to end the tunnel", true},
		"peer_unresolved":         {"the resolver answers", false},
		"no_gateway_host":         {"10 s without a gateway host are over", false},
		"no_route":                {"charon logs that the packet cannot leave", false},
		"peer_unreachable":        {look, false},
		"peer_not_listening":      {look, false},
		"udp_500_blocked":         {look, false},
		"udp_4500_blocked":        {look, false},
		"auth_failed":             {line, false},
		"psk_mismatch":            {line, false},
		"identity_mismatch":       {line, false},
		"no_shared_key":           {line, false},
		"ike_mode_mismatch":       {line, false},
		"child_proposal_mismatch": {line, false},
		"pfs_mismatch":            {line, false},
		"ts_unacceptable":         {line, false},
		"no_proposal_chosen":      {line, false},
		"ike_proposal_mismatch":   {"as before, or the peer says what it takes", false},
		"no_ike_config":           {"as before, or the peer says what it takes", false},
		"ts_narrowed":             {"charon tells of the CHILD_SA", false},
		"liveness_lost":           {"dpd.timeout is over", false},
		"mtu_black_hole":          {measured, false},
		"one_way_traffic":         {measured, false},
		"probe_lost":              {measured, false},
	}
}()

// at is when the event was; zero where the reason does not say.
func (v *verdict) at() time.Time {
	if events[v.Code].act {
		return v.right.At.Add(-v.right.Since)
	}
	first, _ := v.right.Reason["first_seen"].(string)
	at, err := time.Parse("2006-01-02T15:04:05.000000", strings.Replace(first, " ", "T", 1))
	if err != nil {
		return time.Time{}
	}
	return at
}

// took is how long after the event GET had said it, with the pause between two looks.
func (v *verdict) took() time.Duration { return v.right.At.Sub(v.at()) }

// checkTime wants no GET to have begun later than inGET after the event and to have been answered otherwise. So it is no matter
// how often this process could look.
func (v *verdict) checkTime(t *testing.T) {
	t.Helper()
	switch {
	case v.right == nil:
	case events[v.Code].what == "":
		t.Errorf("%s: what is the event that %s follows?", v.Name, v.Code)
	case v.at().IsZero():
		t.Errorf("%s: the reason has no first_seen: %v", v.Name, v.right.Reason)
	case v.took() < 0:
		t.Errorf("%s: the reason is from the future: GET said it %s after %s", v.Name, v.took(), events[v.Code].what)
	case v.isLate():
		t.Errorf("%s: a GET %s after the event (%s) was still answered otherwise, want at most %s", v.Name, v.right.Before.Sub(v.at()), events[v.Code].what, inGET)
	}
}

func (v *verdict) isLate() bool {
	return v.right != nil && !v.right.Before.IsZero() && v.right.Before.Sub(v.at()) > inGET
}

// late are the faults whose answers were.
func (j *judge) late() (out []fault.Fault) {
	for _, v := range j.verdicts {
		if v.isLate() {
			out = append(out, v.Fault)
		}
	}
	return out
}

// better takes the answers over that came sooner when their faults were laid again.
func (j *judge) better(again *judge) {
	for _, v := range j.verdicts {
		for _, other := range again.verdicts {
			if other.Name == v.Name && other.right != nil && other.took() < v.took() {
				v.right = other.right
			}
		}
	}
}

// logSpeed tells how long after their events the answers were in GET.
func (j *judge) logSpeed(t *testing.T) {
	t.Helper()
	var took []time.Duration
	for _, v := range j.verdicts {
		if v.right != nil {
			took = append(took, v.took().Round(time.Millisecond))
		}
	}
	if slices.Sort(took); len(took) > 0 {
		t.Logf("in GET after the event: p50 %s, p95 %s, at most %s", took[len(took)/2], took[len(took)*19/20], took[len(took)-1])
	}
}
