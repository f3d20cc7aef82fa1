package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"culvert/internal/agent"
	"culvert/internal/testbox"
	"culvert/internal/vpn"
)

// journal is a log that may be read while it is written.
type journal struct{ testbox.Transcript }

// lines with a text in them.
func (j *journal) lines(with string) (out []string) {
	for line := range strings.Lines(j.String()) {
		if strings.Contains(line, with) {
			out = append(out, line)
		}
	}
	return out
}

// A token that the server refuses is one error in the log, however often the agent tries.
func TestWrongTokenInTheLog(t *testing.T) {
	w := newWorld(t)
	w.client = agent.NewClient(w.server.URL, "wrong-token-text", agent.ClientOptions{TokenFrom: "/etc/culvert/agent.token"})
	t.Cleanup(w.client.Close)
	w.start()
	w.until("it tried ten times", func() bool { return w.calls.Load() >= 10 })
	if l := w.log.lines("WARN"); len(l) > 0 {
		t.Errorf("warnings: %s", l)
	}
	l := w.log.lines("ERROR")
	if len(l) != 1 || !strings.Contains(l[0], "the server refuses the token in /etc/culvert/agent.token") || strings.Contains(l[0], "wrong-token-text") {
		t.Errorf("errors: %s\nwant one that names the file", l)
	}
}

// A gateway that fails in the same way again and again is one error in the log; another failure, or one after a success, is news.
func TestSameFailureIsLoggedOnce(t *testing.T) {
	w := newWorld(t)
	w.machine.fail["a"] = 1 << 30
	w.board.put(spec("a"))
	w.start()
	tries := func() (n int) {
		w.machine.do(func() {
			for _, c := range w.machine.calls {
				if c == "set a" {
					n++
				}
			}
		})
		return n
	}
	w.until("it tried ten times", func() bool { return tries() >= 10 })
	if l := w.log.lines("the gateway failed"); len(l) != 1 || !strings.Contains(l[0], "ERROR") {
		t.Errorf("logged: %s\nwant one error", l)
	}
	w.machine.do(func() { w.machine.fail["a"] = 0 })
	w.until("it works", func() bool {
		return slices.ContainsFunc(w.board.of("a"), func(r vpn.Report) bool { return r.Ready })
	})
	w.until("it says that it works", func() bool { return len(w.log.lines("the gateway works again")) == 1 })
	w.machine.do(func() { w.machine.fail["a"] = 1 })
	rev := w.board.put(spec("a", "c1"))
	w.untilStands(map[string]int64{"a": rev})
	if l := w.log.lines("the gateway failed"); len(l) != 2 {
		t.Errorf("logged: %s\nwant two errors", l)
	}
}

// hinted is a failure that only the operator can mend.
type hinted struct{ error }

func (hinted) Hint() string { return "turn the knob" }
func (hinted) Step() string { return "lay the wire" }

// What the gateway advises, and what it was doing, go into the reason; the error itself does not.
func TestHintOfTheGateway(t *testing.T) {
	w := newWorld(t)
	w.machine.do(func() { w.machine.failure = fmt.Errorf("link: %w", hinted{fmt.Errorf("no way")}) })
	w.machine.fail["a"] = 1
	w.board.put(spec("a"))
	w.start()
	w.until("it was reported", func() bool { return len(w.board.of("a")) > 0 })
	if r := w.board.of("a")[0]; r.Reason == nil || r.Reason.Hint != "turn the knob" || r.Reason.Summary != "the gateway host could not lay the wire; its log has the details" {
		t.Errorf("report: %+v, %+v", r, r.Reason)
	}
}

// A server that is away is one warning, until it was back.
func TestServerAwayIsLoggedOnce(t *testing.T) {
	w := newWorld(t)
	w.away.Store(true)
	w.start()
	w.until("it tried ten times", func() bool { return w.calls.Load() >= 10 })
	if l := w.log.lines("the watch ended"); len(l) != 1 {
		t.Errorf("logged: %s\nwant one warning", l)
	}
	w.away.Store(false)
	w.until("it synced", func() bool { return len(w.log.lines("synced with the server")) > 0 })
	w.away.Store(true)
	before := w.calls.Load()
	w.server.CloseClientConnections()
	w.until("it tried again", func() bool { return w.calls.Load() >= before+10 })
	if l := w.log.lines("503 Service Unavailable"); len(l) != 2 {
		t.Errorf("logged: %s\nwant one more warning", l)
	}
}
