package dataplane

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"culvert/internal/client"
	"culvert/internal/fault"
	"culvert/internal/sitetest"
)

const (
	// inGET is how long after the gateway has seen why GET may take to say it. All faults are laid at once here, and other
	// tests have the same cores: half of the answers must be in time.
	inGET = time.Second
	// hold is how long an answer must stay once it is right.
	hold = 3 * time.Second
	// aLook is between two looks at the list of connections.
	aLook = 30 * time.Millisecond
)

// waiting are codes that say that nothing is known yet; they may stand before the answer, not in its place.
var waiting = []string{"", "connecting", "not_initiated", "peer_resolving"}

// unknowing are codes that leave open what is broken: an entry of the catalogue whose code is one of them must say why a
// gateway cannot know more.
var unknowing = append(slices.Clone(waiting[1:]), "auth_failed", "no_proposal_chosen", "child_failed", "sa_lost", "gateway_error", "gateway_silent")

// TestConfusion lays every fault of the catalogue, all at once on one server, and holds what the API says of each against
// what is broken.
func TestConfusion(t *testing.T) {
	t.Parallel()
	catalogue := fault.Catalogue()
	for _, f := range catalogue {
		if slices.Contains(unknowing, f.Code) != (f.Vague != "") {
			t.Errorf("%s: code %s, and that no more can be known: %q", f.Name, f.Code, f.Vague)
		}
	}
	scene := newScene(t)
	j := newJudge(catalogue)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return scene.Watch(ctx, aLook, j.take) })
	g.Go(func() error {
		layAll(ctx, t, scene, j)
		j.await(ctx)
		cancel()
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, v := range j.verdicts {
		v.check(t, scene)
	}
	j.checkSpeed(t)
	t.Logf("%d faults\n%s\n%s", len(catalogue), j.table(), j.matrix())
}

// newScene starts a server with a gateway, one without, and a head office.
func newScene(t *testing.T) *fault.Scene {
	t.Helper()
	s := sitetest.NewServer(t)
	s.AwaitOutput("run_dir=", 10*time.Second)
	dir := regexp.MustCompile(`run_dir=(\S+)`).FindStringSubmatch(s.Output.String())[1]
	scene, err := fault.Open(t.Context(), fault.Config{API: s.API, Hostless: hostless(t), RunDir: "/run/e2e/" + sitetest.Tag(t), GatewayDir: dir, Prefix: "c" + sitetest.Tag(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := scene.Close(); err != nil {
			t.Error(err)
		}
	})
	return scene
}

// hostless starts a server that no gateway host watches.
func hostless(t *testing.T) *client.Client {
	t.Helper()
	p := sitetest.Launch(t, nil, "server", "--gateway=none", "--data", filepath.Join(t.TempDir(), "hostless"), "--listen", "127.0.0.1:0")
	t.Cleanup(func() { p.End(syscall.SIGTERM) })
	p.AwaitOutput("Culvert serves on", 20*time.Second)
	said := regexp.MustCompile(`(?s)shown this once: (\S+)\n.*serves on (\S+)`).FindStringSubmatch(p.Output.String())
	api, err := client.Login(t.Context(), said[2], "admin", said[1], "admin")
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func layAll(ctx context.Context, t *testing.T, scene *fault.Scene, j *judge) {
	var g errgroup.Group
	g.SetLimit(5)
	for _, v := range j.verdicts {
		g.Go(func() error {
			_, err := scene.Lay(ctx, v.Fault)
			j.laid(v, err)
			return nil
		})
	}
	_ = g.Wait() // the errors are in the verdicts
}

// judge collects what the API says of each fault.
type judge struct {
	mu       sync.Mutex
	verdicts []*verdict
}

// verdict is what came of one fault.
type verdict struct {
	fault.Fault
	err      error // it could not be laid
	laid     time.Time
	answers  []fault.Answer
	right    *fault.Answer // the first that is as the catalogue says
	service  string        // status and code of the VPN service, where that is concerned
	unsettle string
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
	i := slices.IndexFunc(j.verdicts, func(v *verdict) bool { return v.Name == a.Name })
	v := j.verdicts[i]
	v.answers = append(v.answers, a)
	switch {
	case v.right == nil && a.Since >= 0 && a.Right():
		v.right = &a
	case v.right != nil && a.At.Sub(v.right.At) < hold && !a.Right() && !slices.Contains(v.After, a.ReasonCode()):
		v.unsettle = fmt.Sprintf("%s after it, it is %s %s", a.At.Sub(v.right.At).Round(aLook), a.Status, a.ReasonCode())
	}
	return true
}

// await returns when each fault has had its answer, and the time that the answer must hold, or had its time.
func (j *judge) await(ctx context.Context) {
	for ctx.Err() == nil && !j.over(time.Now()) {
		time.Sleep(aLook)
	}
}

func (j *judge) over(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !slices.ContainsFunc(j.verdicts, func(v *verdict) bool {
		if v.right != nil {
			return now.Sub(v.right.At) < hold
		}
		return v.err == nil && now.Sub(v.laid) < v.Within+hold
	})
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

// seen is how long after the gateway saw why, GET said it.
func (v *verdict) seen() time.Duration {
	first, _ := v.right.Reason["first_seen"].(string)
	at, err := time.Parse("2006-01-02T15:04:05.000000", strings.Replace(first, " ", "T", 1))
	if err != nil {
		return -1
	}
	return v.right.At.Sub(at)
}

func (v *verdict) check(t *testing.T, scene *fault.Scene) {
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
	case v.seen() < -aLook:
		t.Errorf("%s: the reason is from the future: GET said it %s after the gateway saw it", v.Name, v.seen())
	}
	if v.right == nil {
		return
	}
	for _, part := range []string{"side", "phase", "summary", "first_seen", "last_seen"} {
		if text, _ := v.right.Reason[part].(string); text == "" {
			t.Errorf("%s: the reason has no %s: %v", v.Name, part, v.right.Reason)
		}
	}
	if v.Service != "" {
		got, err := scene.ServiceOf(t.Context(), v.right.Laid)
		if err != nil || got != v.Service {
			t.Errorf("%s: the VPN service is %q, %v; want %q", v.Name, got, err, v.Service)
		}
	}
}

// checkSpeed wants half of the answers in GET in time.
func (j *judge) checkSpeed(t *testing.T) {
	t.Helper()
	var took []time.Duration
	for _, v := range j.verdicts {
		if v.right != nil {
			took = append(took, v.seen())
		}
	}
	slices.Sort(took)
	if len(took) > 0 {
		p50, p95 := took[len(took)/2], took[len(took)*19/20]
		t.Logf("in GET after the gateway saw why: p50 %s, p95 %s, at most %s", p50.Round(time.Millisecond), p95.Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
		if p50 > inGET {
			t.Errorf("GET says why %s after the gateway saw it (p50), want at most %s", p50, inGET)
		}
	}
}

// table is what came of each fault, and how fast.
func (j *judge) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-44s %-7s %-24s %9s %9s\n", "fault", "status", "status_reason", "after it", "in GET")
	for _, v := range j.verdicts {
		if v.right == nil {
			fmt.Fprintf(&b, "%-44s %-7s %-24s\n", v.Name, "-", v.code())
			continue
		}
		fmt.Fprintf(&b, "%-44s %-7s %-24s %6.2f s %6.0f ms\n", v.Name, v.right.Status, v.code(), v.right.Since.Seconds(), float64(v.seen())/1e6)
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
