package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"culvert/internal/agent"
	"culvert/internal/api"
	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/keyring"
	"culvert/internal/store"
	"culvert/internal/vpn"
)

const token = "agents-only"

// world is an agent and its server, joined by real HTTP.
type world struct {
	*testing.T
	board   *board
	machine *machine
	server  *httptest.Server
	away    atomic.Bool // the server answers 503 to everything
	calls   atomic.Int64
	client  *agent.Client
	log     journal // of the agent
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, board: newBoard(), machine: newMachine()}
	h := handler(t, w.board)
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.calls.Add(1)
		if w.away.Load() {
			http.Error(rw, "away", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(rw, r)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	w.server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	w.server.Start()
	t.Cleanup(w.server.Close)
	t.Cleanup(cancel)
	w.client = agent.NewClient(w.server.URL, token, agent.ClientOptions{Silence: 5 * time.Second})
	t.Cleanup(w.client.Close)
	return w
}

// handler is the real API on a real, empty store.
func handler(t *testing.T, b *board) http.Handler {
	dir := t.TempDir()
	st, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	keys, err := keyring.Open(filepath.Join(dir, "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	resources, err := crud.New(crud.Config{Store: st, Sealer: keys, Now: time.Now, NewID: uuid.NewString})
	if err != nil {
		t.Fatal(err)
	}
	users, err := identity.New(identity.Config{Store: st, Sealer: keys, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(api.Config{Resources: resources, Auth: users, Gateways: b, AgentToken: token, Log: slog.New(slog.DiscardHandler),
		Heartbeat: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// start runs an agent until the test ends, or stop is called.
func (w *world) start() (stop func()) {
	a, err := agent.New(agent.Config{Server: w.client, Gateway: w.machine, Log: slog.New(slog.NewJSONHandler(&w.log, nil)),
		Reconnect: agent.Pace{Min: time.Millisecond, Max: 20 * time.Millisecond}, Retry: agent.Pace{Min: time.Millisecond, Max: 20 * time.Millisecond}})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var stopped bool
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			w.Error("Run did not return")
		}
	}
	w.Cleanup(stop)
	w.Cleanup(func() {
		if w.machine.broken != nil {
			w.Error(w.machine.broken)
		}
	})
	return stop
}

// until polls.
func (w *world) until(what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("never: %s; machine %v, calls %v, reports %v", what, w.machine.stands(), w.machine.calls, w.board.reports)
		}
	}
}

func (w *world) untilStands(want map[string]int64) {
	w.Helper()
	w.until("the machine has what the server wants", func() bool { return cmp.Equal(w.machine.stands(), want) })
}

func spec(router string, conns ...string) vpn.Spec {
	s := vpn.Spec{Router: router}
	for _, c := range conns {
		s.Connections = append(s.Connections, vpn.ConnectionSpec{ID: c, PSK: "hunter2-secret"})
	}
	return s
}

// Specs arrive whole, with their keys, in the order of their changes; reports come back.
func TestFollowsAndReports(t *testing.T) {
	w := newWorld(t)
	a := w.board.put(spec("a", "c1"))
	w.start()
	w.untilStands(map[string]int64{"a": a})
	b := w.board.put(spec("b"))
	a = w.board.put(spec("a", "c1", "c2"))
	w.untilStands(map[string]int64{"a": a, "b": b})
	if got := w.machine.specs["a"].Connections[1].PSK; string(got) != "hunter2-secret" {
		t.Errorf("the PSK arrived as %q", string(got))
	}
	w.until("the newest state is reported", func() bool {
		r := w.board.of("a")
		return len(r) > 0 && cmp.Equal(r[len(r)-1], vpn.Report{Router: "a", Rev: a, Ready: true,
			Connections: []vpn.ConnectionReport{{ID: "c1", State: vpn.StateUp}, {ID: "c2", State: vpn.StateUp}}})
	})
	if n := w.board.watchers(); n != 1 {
		t.Errorf("%d watches are attached, want 1", n)
	}
}

// A router that the server does not name is taken away, without a report; one that it has removed is taken away with one.
func TestRemoves(t *testing.T) {
	w := newWorld(t)
	w.machine.specs["stale"] = spec("stale")
	a := w.board.put(spec("a"))
	w.start()
	w.untilStands(map[string]int64{"a": a})
	gone := spec("a")
	gone.Removed = true
	rev := w.board.put(gone)
	w.untilStands(map[string]int64{})
	w.until("the removal is confirmed", func() bool {
		r := w.board.of("a")
		return len(r) > 0 && cmp.Equal(r[len(r)-1], vpn.Report{Router: "a", Rev: rev, Ready: true})
	})
	if r := w.board.of("stale"); r != nil {
		t.Errorf("reports on a router that the server does not know: %v", r)
	}
}

// Whatever happened while the connection was broken, what the server says after it is the whole truth; and it is told the
// newest of every router again.
func TestReconnects(t *testing.T) {
	w := newWorld(t)
	a, _ := w.board.put(spec("a", "c1", "quiet")), w.board.put(spec("b"))
	w.start()
	seen := vpn.Report{Router: "a", Rev: a, Ready: true, Connections: []vpn.ConnectionReport{{ID: "quiet", State: vpn.StateUp}}}
	w.machine.reports <- seen
	told := func() bool {
		return slices.ContainsFunc(w.board.of("a"), func(r vpn.Report) bool { return cmp.Equal(r, seen) })
	}
	w.until("the server was told of quiet", told)
	w.until("both routers were reported", func() bool { return len(w.board.of("a")) > 0 && len(w.board.of("b")) > 0 })
	w.away.Store(true)
	w.server.CloseClientConnections()
	w.until("the watch is gone", func() bool { return w.board.watchers() == 0 })
	w.board.drop("b")
	c := w.board.put(spec("c"))
	w.board.mu.Lock()
	w.board.reports = nil
	w.board.mu.Unlock()
	w.away.Store(false)
	w.untilStands(map[string]int64{"a": a, "c": c})
	w.until("both are reported", func() bool { return len(w.board.of("a")) > 0 && len(w.board.of("c")) > 0 })
	w.until("the server was told of quiet again", told)
}

// A server whose database came back from a crash is told everything again, though it was there all the time.
func TestTellsAgainWhatWasLost(t *testing.T) {
	w := newWorld(t)
	w.board.put(spec("a", "c1"))
	w.start()
	w.until("the report", func() bool { return len(w.board.of("a")) > 0 })
	w.board.lose()
	w.until("the report again", func() bool { return len(w.board.of("a")) > 0 })
}

// While the server is away, the newest state of each connection is kept, and no more.
func TestKeepsReportsWhileTheServerIsAway(t *testing.T) {
	w := newWorld(t)
	w.board.put(spec("a", "c1", "quiet"))
	w.start()
	w.until("a was reported", func() bool { return len(w.board.of("a")) > 0 })
	w.away.Store(true)
	w.server.CloseClientConnections()
	w.until("the watch is gone", func() bool { return w.board.watchers() == 0 })
	quiet := func(state string) []vpn.ConnectionReport { return []vpn.ConnectionReport{{ID: "quiet", State: state}} }
	for _, state := range []string{vpn.StateUp, vpn.StateError, vpn.StateDown} {
		w.machine.reports <- vpn.Report{Router: "a", Rev: 1, Ready: true, Connections: quiet(state)}
	}
	w.until("the agent has taken the reports", func() bool { return len(w.machine.reports) == 0 })
	w.away.Store(false)
	w.until("the server knows that quiet is down", func() bool {
		all := w.board.of("a")
		return slices.ContainsFunc(all, func(r vpn.Report) bool { return cmp.Equal(r.Connections, quiet(vpn.StateDown)) })
	})
	// The last of the three may still have been on its way into the outbox when the server came back.
	for _, r := range w.board.of("a") {
		if cmp.Equal(r.Connections, quiet(vpn.StateUp)) {
			t.Errorf("an overtaken report was sent: %v", r)
		}
	}
}

// A failure is told without the key in it, and mends itself.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	w.machine.fail["a"] = 3
	rev := w.board.put(spec("a", "c1"))
	w.start()
	w.untilStands(map[string]int64{"a": rev})
	w.until("failure and success were reported", func() bool {
		r := w.board.of("a")
		return len(r) > 0 && r[len(r)-1].Ready
	})
	first := w.board.of("a")[0]
	if first.Ready || first.Rev != rev || first.Reason == nil {
		t.Fatalf("first report: %+v", first)
	}
	got := *first.Reason
	if got.FirstSeen == "" || got.LastSeen < got.FirstSeen {
		t.Errorf("seen from %q to %q", got.FirstSeen, got.LastSeen)
	}
	got.FirstSeen, got.LastSeen = "", ""
	want := vpn.Reason{Code: "gateway_failed", Side: "ours", Phase: "local", Summary: "the gateway host could not set the router up; its log has the details",
		Hint: "the gateway tries again by itself; whoever runs it finds the cause in the agent's log"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	w.until("the log has the details", func() bool { return strings.Contains(w.log.String(), "charon said no to ****** in two lines") })
}

// A router that is slow holds up no other, and then gets the newest Spec alone.
func TestLatestWins(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	w.machine.hold["slow"] = hold
	w.board.put(spec("slow"))
	w.start()
	w.until("slow is at work", func() bool { n := 0; w.machine.do(func() { n = len(w.machine.calls) }); return n == 1 })
	var last, fast int64
	for range 5 {
		last = w.board.put(spec("slow"))
		fast = w.board.put(spec("fast"))
		w.until("fast follows", func() bool { return w.machine.stands()["fast"] == fast })
	}
	close(hold)
	w.untilStands(map[string]int64{"slow": last, "fast": fast})
	var sets int
	w.machine.do(func() {
		for _, c := range w.machine.calls {
			if c == "set slow" {
				sets++
			}
		}
	})
	if sets != 2 {
		t.Errorf("the slow router was set %d times, want 2: the first Spec and the newest", sets)
	}
}

// Run leaves nothing running, even in the middle of work.
func TestStopsClean(t *testing.T) {
	w := newWorld(t)
	w.machine.hold["a"] = make(chan struct{})
	w.machine.fail["b"] = 1 << 30
	w.board.put(spec("a"))
	w.board.put(spec("b"))
	stop := w.start()
	w.until("b has failed", func() bool { return len(w.board.of("b")) > 0 })
	stop()
	w.until("no goroutine of the agent is left", func() bool {
		buf := make([]byte, 1<<20)
		return !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "internal/agent.(*Agent)")
	})
	w.until("the watch is detached", func() bool { return w.board.watchers() == 0 })
}

// A wrong token gets nowhere, and the error does not show it.
func TestWrongToken(t *testing.T) {
	w := newWorld(t)
	c := agent.NewClient(w.server.URL, "wrong-token-text", agent.ClientOptions{})
	defer c.Close()
	err := c.Watch(t.Context(), 0, func(agent.Line) error { t.Error("a line came"); return nil })
	if !errors.Is(err, agent.ErrToken) || strings.Contains(err.Error(), "wrong-token-text") {
		t.Errorf("watch: %v", err)
	}
	err = c.Report(t.Context(), vpn.Batch{Reports: []vpn.Report{{Router: "a"}}})
	if err == nil || errors.Is(err, agent.ErrRejected) || len(w.board.of("a")) > 0 {
		t.Errorf("report: %v", err)
	}
}

// A server that holds the line without a word is given up.
func TestSilentServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer srv.Close()
	c := agent.NewClient(srv.URL, token, agent.ClientOptions{Silence: 30 * time.Millisecond})
	defer c.Close()
	err := c.Watch(t.Context(), 0, func(agent.Line) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("got %v", err)
	}
}
