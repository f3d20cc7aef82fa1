package dataplane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/fault"
)

// judge collects what the API says of each fault.
type judge struct {
	mu       sync.Mutex
	verdicts []*verdict
	known    []*fault.Laid // not this one's
}

// verdict is what came of one fault.
type verdict struct {
	fault.Fault
	err      error // it could not be laid
	laid     time.Time
	answers  []fault.Answer
	right    *fault.Answer // the first that is as the catalogue says
	unsettle string        // what it was said to be too soon after that
	service  string        // status and code of the VPN service, where that is concerned

	mendErr error
	mending time.Time // it was mended
	mended  time.Time // it was ACTIVE without a reason
}

func newJudge(catalogue []fault.Fault) *judge {
	j := &judge{}
	for _, f := range catalogue {
		j.verdicts = append(j.verdicts, &verdict{Fault: f})
	}
	return j
}

func (j *judge) laid(v *verdict, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v.err, v.laid = err, time.Now()
}

func (j *judge) take(a fault.Answer) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if slices.Contains(j.known, a.Laid) {
		return true
	}
	i := slices.IndexFunc(j.verdicts, func(v *verdict) bool { return v.Name == a.Name })
	v := j.verdicts[i]
	if !v.mending.IsZero() {
		v.mended = time.Time{}
		if a.Status == "ACTIVE" && a.ReasonCode() == "" {
			v.mended = a.At
		}
		return true
	}
	v.answers = append(v.answers, a)
	switch {
	case v.right == nil && a.Since >= 0 && a.Right():
		v.right = &a
	case v.right != nil && a.At.Sub(v.right.At) < hold && !a.Right() && !slices.Contains(v.After, a.ReasonCode()):
		v.unsettle = fmt.Sprintf("%s after it, it is %s %s", a.At.Sub(v.right.At).Round(aLook), a.Status, a.ReasonCode())
	}
	return true
}

func (j *judge) mending(v *verdict) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v.mending = time.Now()
}

func (j *judge) mended(v *verdict, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v.mendErr = err
}

// await returns when each fault is through with something.
func (j *judge) await(ctx context.Context, through func(*verdict, time.Time) bool) {
	for ; ctx.Err() == nil; time.Sleep(aLook) {
		j.mu.Lock()
		now, all := time.Now(), true
		for _, v := range j.verdicts {
			all = all && through(v, now)
		}
		j.mu.Unlock()
		if all {
			return
		}
	}
}

// judged says that the fault has had its answer, and the time that the answer must hold, or had its time.
func (v *verdict) judged(now time.Time) bool {
	if v.right != nil {
		return now.Sub(v.right.At) >= hold
	}
	return v.err != nil || now.Sub(v.laid) >= v.Within+hold
}

// healed says that the fault was mended, or had its time.
func (v *verdict) healed(now time.Time) bool {
	return v.mending.IsZero() || v.mendErr != nil || !v.mended.IsZero() && now.Sub(v.mended) >= hold/2 || now.Sub(v.mending) > mendWithin
}

// code is what the fault was classified as: a wrong code that stood at any time, else the last one.
func (v *verdict) code() string {
	if wrong := v.wrong(); wrong != "" {
		return wrong
	}
	if v.right != nil {
		return v.right.ReasonCode()
	}
	last := ""
	for _, a := range v.answers {
		if a.Since >= 0 {
			last = a.ReasonCode()
		}
	}
	return last
}

// wrong is a code that stood before the right one and says something else.
func (v *verdict) wrong() string {
	for _, a := range v.answers {
		if v.right != nil && !a.At.Before(v.right.At) {
			break
		}
		if c := a.ReasonCode(); a.Since >= 0 && !slices.Contains(waiting, c) && c != v.Code && !slices.Contains(v.Passing, c) {
			return c
		}
	}
	return ""
}

func (v *verdict) check(t *testing.T) {
	t.Helper()
	var path []string
	for _, a := range v.answers {
		path = append(path, fmt.Sprintf("%.2f s %s %s", a.Since.Seconds(), a.Status, a.ReasonCode()))
	}
	said := strings.Join(path, ", ")
	switch {
	case v.err != nil:
		t.Errorf("%v; the API said: %s", v.err, said)
	case v.right == nil:
		t.Errorf("%s: want %s %s; the API said: %s", v.Name, v.Status, v.Code, said)
	case v.right.Since > v.Within:
		t.Errorf("%s: %s %s came after %s, want %s", v.Name, v.Status, v.Code, v.right.Since, v.Within)
	case v.wrong() != "":
		t.Errorf("%s: before %s %s, it was called %s: %s", v.Name, v.Status, v.Code, v.wrong(), said)
	case v.unsettle != "":
		t.Errorf("%s: %s %s did not stay: %s; the API said: %s", v.Name, v.Status, v.Code, v.unsettle, said)
	}
	v.checkTime(t)
	if v.right == nil {
		return
	}
	for _, part := range []string{"side", "phase", "summary", "first_seen", "last_seen"} {
		if text, _ := v.right.Reason[part].(string); text == "" {
			t.Errorf("%s: the reason has no %s: %v", v.Name, part, v.right.Reason)
		}
	}
	v.checkMend(t)
	if v.service != v.Service {
		t.Errorf("%s: the VPN service is %q, want %q", v.Name, v.service, v.Service)
	}
}

// checkMend wants the hint to name the attribute, and the tunnel to stand once it is changed.
func (v *verdict) checkMend(t *testing.T) {
	t.Helper()
	if v.Cure == nil {
		return
	}
	hint, _ := v.right.Reason["hint"].(string)
	if word := strings.NewReplacer("endpoints", "endpoint group").Replace(v.Cure.Name); !strings.Contains(hint, word) {
		t.Errorf("%s is mended by %s of %s, which the hint does not name: %q", v.Name, v.Cure.Name, v.Cure.Of, hint)
	}
	if v.mendErr != nil || v.mended.IsZero() {
		t.Errorf("%s: not ACTIVE within %s after %s of the %s was changed: %v", v.Name, mendWithin, v.Cure.Name, v.Cure.Of, v.mendErr)
	}
}

// table is what came of each fault, and how fast.
func (j *judge) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-48s %-7s %-24s %9s %9s  %-44s %s\n", "fault", "status", "status_reason", "after it", "in GET", "after the event:", "mended by, ACTIVE after")
	for _, v := range j.verdicts {
		if v.right == nil {
			fmt.Fprintf(&b, "%-48s %-7s %-24s\n", v.Name, "-", v.code())
			continue
		}
		cure := ""
		if v.Cure != nil && !v.mended.IsZero() {
			cure = fmt.Sprintf("%s of %s, %.2f s", v.Cure.Name, v.Cure.Of, v.mended.Sub(v.mending).Seconds())
		}
		fmt.Fprintf(&b, "%-48s %-7s %-24s %6.2f s %6.0f ms  %-44s %s\n", v.Name, v.right.Status, v.code(), v.right.Since.Seconds(), float64(v.took())/1e6, events[v.Code].what, cure)
	}
	return b.String()
}

// matrix is the confusion matrix: causes down, codes across.
func (j *judge) matrix() string {
	var codes []string
	for _, v := range j.verdicts {
		for _, c := range []string{v.Code, v.code()} {
			if !slices.Contains(codes, c) {
				codes = append(codes, c)
			}
		}
	}
	var b strings.Builder
	for i, c := range codes {
		fmt.Fprintf(&b, "%-44s %s%s\n", "", strings.Repeat("| ", i), c)
	}
	wrong := 0
	for _, v := range j.verdicts {
		row := slices.Repeat([]string{"."}, len(codes))
		row[slices.Index(codes, v.code())] = "1"
		if v.code() != v.Code {
			wrong++
			row[slices.Index(codes, v.Code)] = "o" // where it should be
		}
		fmt.Fprintf(&b, "%-44s %s\n", v.Name, strings.Join(row, " "))
	}
	fmt.Fprintf(&b, "%d causes, %d codes, %d classified wrongly\n", len(j.verdicts), len(codes), wrong)
	return b.String()
}
