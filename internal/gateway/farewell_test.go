package gateway

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestDeleteWhileThePeerIsAsked: a connection is deleted while a liveness check is unanswered, in an IKE_SA that can have but
// one exchange at a time. The peer hears of the end all the same, as soon as it answers.
func TestDeleteWhileThePeerIsAsked(t *testing.T) {
	t.Parallel()
	s := newSite(t, "fa4e3e11-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	s.set(testSpec(s.router, testConnection("c1")))
	s.awaitUp(s.router, "c1")
	s.settle(s.router, "c1")
	awaitLog := func(text string, times int) {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			log, err := os.ReadFile(folder(s.folderOf(s.router)).log())
			if err == nil && strings.Count(string(log), text) >= times {
				return
			}
			if time.Now().After(end) {
				t.Errorf("charon's log has not %d times %q: %v", times, text, err)
				return
			}
		}
	}
	asked := func() int {
		log, _ := os.ReadFile(folder(s.folderOf(s.router)).log())
		return strings.Count(string(log), "sending DPD request")
	}

	thaw, err := s.branch.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	n := asked() // the last of these may have been answered
	awaitLog("sending DPD request", n+1)
	thawed := make(chan error, 1)
	go func() {
		awaitLog("vici terminate IKE_SA", 1)
		thawed <- thaw()
	}()
	s.set(testSpec(s.router))
	if err := <-thawed; err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		sas, err := s.branch.ListSAs(t.Context())
		if err == nil && strings.TrimSpace(sas) == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the branch still has: %s %v", sas, err)
		}
	}
}
