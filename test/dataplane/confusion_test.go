package dataplane

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"culvert/internal/client"
	"culvert/internal/fault"
	"culvert/internal/sitetest"
)

const (
	// hold is how long an answer must stay once it is right.
	hold = 3 * time.Second
	// mendWithin is how long a tunnel may take to be ACTIVE after it was mended; a peer that initiates tries every 2 s.
	mendWithin = 15 * time.Second
	// aLook is between two looks at the list of connections.
	aLook = 30 * time.Millisecond
)

// waiting are codes that say that nothing is known yet; they may stand before the answer, not in its place.
var waiting = []string{"", "connecting", "not_initiated", "peer_resolving"}

// unknowing are codes that leave open what is broken: an entry of the catalogue whose code is one of them must say why a
// gateway cannot know more.
var unknowing = append(slices.Clone(waiting[1:]), "auth_failed", "no_proposal_chosen", "child_failed", "sa_lost", "gateway_error", "gateway_silent")

// TestConfusion lays every fault of the catalogue on one server, and holds what the API says of each against what is broken,
// and when against when it could be known.
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
	judgeBy(t, scene, j, func(ctx context.Context) {
		layAll(ctx, scene, j, 3)
		j.await(ctx, (*verdict).judged)
		askServices(ctx, scene, j)
		mendAll(ctx, scene, j)
		j.await(ctx, (*verdict).healed)
	})
	for range 2 { // what is late by itself is late again; what the machine's other work made late is not
		late := j.late()
		if len(late) == 0 || len(late) > len(catalogue)/4 { // so many are no accident
			break
		}
		again := newJudge(late)
		again.known = scene.Laid()
		judgeBy(t, scene, again, func(ctx context.Context) {
			layAll(ctx, scene, again, 1)
			again.await(ctx, (*verdict).judged)
		})
		t.Logf("laid again, one after the other:\n%s", again.table())
		j.better(again)
	}
	for _, v := range j.verdicts {
		v.check(t)
	}
	j.logSpeed(t)
	t.Logf("%d faults\n%s\n%s", len(catalogue), j.table(), j.matrix())
}

// judgeBy runs what lays faults, with the judge told of what GET says.
func judgeBy(t *testing.T, scene *fault.Scene, j *judge, lay func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return scene.Watch(ctx, aLook, j.take) })
	g.Go(func() error {
		defer cancel()
		lay(ctx)
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// newScene starts a server with a gateway, one without, and a head office.
func newScene(t *testing.T) *fault.Scene {
	t.Helper()
	s := sitetest.NewServer(t, "--dataplane", "userland") // some faults are of that data plane
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

// layAll lays the faults, some at a time: to start a peer is work, and what is laid is judged by the clock.
func layAll(ctx context.Context, scene *fault.Scene, j *judge, atOnce int) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, v := range j.verdicts {
		g.Go(func() error {
			_, err := scene.Lay(ctx, v.Fault)
			j.laid(v, err)
			return nil
		})
	}
	_ = g.Wait() // the errors are in the verdicts
}

// askServices asks about the VPN services that a fault concerns too.
func askServices(ctx context.Context, scene *fault.Scene, j *judge) {
	for _, v := range j.verdicts {
		if v.Service == "" || v.right == nil {
			continue
		}
		var err error
		if v.service, err = scene.ServiceOf(ctx, v.right.Laid); err != nil {
			v.service = err.Error()
		}
	}
}

// mendAll makes the change that ends each fault, where there is one.
func mendAll(ctx context.Context, scene *fault.Scene, j *judge) {
	for _, v := range j.verdicts {
		if v.Cure != nil && v.right != nil {
			j.mending(v)
			j.mended(v, v.right.Mend(ctx))
		}
	}
}
