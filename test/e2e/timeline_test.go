package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// silent are the reasons of a peer that was killed: which of them is a matter of timing.
var silent = []string{"liveness_lost", "peer_not_listening", "peer_unreachable"}

// TestTimeline lets a tunnel live through everything, and compares the events with what was done, in kind and order.
func TestTimeline(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	story := timeline{t, c, []string{"create"}}
	up := []string{"ike_up", "child_up", "up ACTIVE"}
	story.goesOn("made", up...)

	sitetest.Poll(t, 20*time.Second, "the gateway tries the PFS group by a rekey of its own", func() bool { return story.rekeys() > 0 })
	c.Settle()
	rekeys := story.rekeys()
	if err := c.Branch.Rekey(t.Context(), "hq", "nets"); err != nil {
		t.Fatal(err)
	}
	sitetest.Poll(t, 10*time.Second, "the event that the peer rekeyed the CHILD_SA", func() bool { return story.rekeys() > rekeys })
	if err := c.Branch.Rekey(t.Context(), "hq", ""); err != nil {
		t.Fatal(err)
	}
	story.goesOn("the peer rekeyed the IKE_SA", "ike_rekey")
	if err := c.Branch.KillCharon(); err != nil {
		t.Fatal(err)
	}
	c.AwaitDown(silent...)
	if err := c.Branch.StartCharon(t.Context()); err != nil {
		t.Fatal(err)
	}
	story.goesOn("the peer was killed and is back", append([]string{"ike_down", "child_down", "down DOWN silent"}, up...)...)

	s.Restart(unix.SIGKILL)
	s.AwaitOutput("synced with the server", 10*time.Second)
	c.AwaitActive()
	c.Put(client.Object{"description": "none of the gateway's business"})
	story.goesOn("the server was killed: nothing happened to the tunnel", "update")

	s.KillCharon()
	story.goesOn("charon was killed", append([]string{"down DOWN charon_died", "charon_started"}, up...)...)
	s.Call("PUT", "/v2.0/vpn/ikepolicies/"+c.IKEPolicy, client.Object{"ikepolicy": client.Object{"lifetime": client.Object{"value": 7200}}})
	story.goesOn("a policy was changed: the new SAs stand before the old ones go", "update", "ike_up", "child_up", "ike_down", "child_down")
	c.AwaitActive()

	s.End(unix.SIGKILL) // charon rekeys with nobody to hear; then it is killed as well
	s.KillCharon()
	s.Start()
	story.goesOn("server and charon were killed", append([]string{"down DOWN connecting"}, up...)...)
	story.holds()
}

// timeline is what the events of a tunnel are to be, oldest first.
type timeline struct {
	t    *testing.T
	c    *sitetest.Tunnel
	want []string
}

func (l *timeline) goesOn(what string, events ...string) {
	l.t.Helper()
	l.want = append(l.want, events...)
	var got []string
	for end := time.Now().Add(20 * time.Second); !slices.Equal(got, l.want); time.Sleep(50 * time.Millisecond) {
		if got = l.told(); time.Now().After(end) {
			l.show()
			l.t.Fatalf("%s; the timeline (-want +got):\n%s", what, cmp.Diff(l.want, got))
		}
	}
}

// show logs all of it.
func (l *timeline) show() {
	for _, e := range l.events() {
		l.t.Log(e["created_at"], e["type"], e["status"], e["status_reason"], e["summary"], e["id"])
	}
}

func (l *timeline) events() (out []client.Object) {
	for _, e := range l.c.Site.Call("GET", l.c.Path()+"/events?sort_dir=asc", nil)["events"].([]any) {
		out = append(out, e.(client.Object))
	}
	return out
}

func (l *timeline) rekeys() (n int) {
	for _, e := range l.events() {
		if e["type"] == "child_rekey" {
			n++
		}
	}
	return n
}

// told is all but what is a matter of timing: rekeys of the gateway's own, and what single attempts to reach the peer met.
func (l *timeline) told() (out []string) {
	for _, e := range l.events() {
		if e["type"] == "reason" || e["type"] == "child_rekey" {
			continue
		}
		words := []string{e["type"].(string)}
		if status, ok := e["status"].(string); ok && e["resource"] == nil {
			words = append(words, status)
		}
		if why, ok := e["status_reason"].(client.Object); ok {
			code := why["code"].(string)
			if slices.Contains(silent, code) {
				code = "silent"
			}
			words = append(words, code)
		}
		out = append(out, strings.Join(words, " "))
		// With its IKE_SA the tunnel is down; that the CHILD_SA has ended too charon says just after that, or just before it is noted.
		if last := len(out) - 1; last > 0 && out[last] == "child_down" && strings.HasPrefix(out[last-1], "down ") {
			out[last-1], out[last] = out[last], out[last-1]
		}
	}
	return out
}

// holds checks what every event must have.
func (l *timeline) holds() {
	seen, before := map[any]bool{}, ""
	for _, e := range l.events() {
		line := fmt.Sprint(e["created_at"], " ", e["type"], " ", e["summary"], " ", e["details"])
		l.t.Log(line)
		if seen[e["id"]] || e["created_at"].(string) < before || e["ipsec_site_connection_id"] != l.c.ID || e["summary"] == "" {
			l.t.Errorf("event %v after %s: %s", e["id"], before, line)
		}
		seen[e["id"]], before = true, e["created_at"].(string)
		asked := e["type"] == "create" || e["type"] == "update"
		if asked != (e["request_id"] != nil && e["user_id"] != nil && e["resource"] != nil) {
			l.t.Errorf("who asked for it: %v", e)
		}
		if details := fmt.Sprint(e["details"]); strings.HasPrefix(e["type"].(string), "child_") && !strings.Contains(details, "AES_CBC") ||
			strings.HasPrefix(e["type"].(string), "ike_") && !strings.Contains(details, "PRF_HMAC_SHA2_256") {
			l.t.Errorf("details: %v", e)
		}
	}
}

// TestTimelineOfWhileTheServerWasAway: what an agent saw meanwhile is told later, by the next agent if that one was killed,
// and once.
func TestTimelineOfWhileTheServerWasAway(t *testing.T) {
	t.Parallel()
	s := sitetest.NewElsewhere(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.Settle()
	story := timeline{t, c, []string{"create"}}
	up := []string{"ike_up", "child_up", "up ACTIVE"}
	story.goesOn("made", up...)

	s.End(unix.SIGKILL)
	if err := c.Branch.Terminate(t.Context(), "hq"); err != nil {
		t.Fatal(err)
	}
	sitetest.Poll(t, 15*time.Second, "the tunnel is back", func() bool { return len(c.SPIs()) == 2 })
	journal := s.RunDir + "/events"
	sitetest.Poll(t, 5*time.Second, "the journal has it", func() bool {
		text, err := os.ReadFile(journal)
		return err == nil && strings.Contains(string(text), `"type":"up"`)
	})
	s.Agent.End(unix.SIGKILL)
	s.Start()
	back := time.Now().UTC().Format("2006-01-02 15:04:05.000000")
	s.StartAgent()
	s.Agent.AwaitOutput("synced", 10*time.Second)
	story.goesOn("told later", append([]string{"ike_down", "child_down", "down DOWN peer_deleted"}, up...)...)
	c.AwaitActive()
	c.Put(client.Object{"name": "renamed"})
	story.goesOn("told once", "update")
	story.holds()
	for _, e := range story.events() {
		if e["type"] != "update" && e["created_at"].(string) >= back {
			t.Errorf("the time of %v is not that at its source: the server was back at %s", e, back)
		}
	}
	sitetest.Poll(t, 5*time.Second, "the journal is empty", func() bool {
		text, err := os.ReadFile(journal)
		return err == nil && len(text) == 0
	})
	if code := s.Agent.End(unix.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM the agent's exit code is %d:\n%s", code, s.Agent.Output)
	}
}
