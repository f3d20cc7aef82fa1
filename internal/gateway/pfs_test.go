package gateway

import (
	"strings"
	"testing"
	"time"

	"culvert/internal/vpn"
)

// The branch has another PFS group: the tunnel comes up all the same, and the gateway finds out a moment later.
func TestPFSMismatchFoundEarly(t *testing.T) {
	t.Parallel()
	wrong := branchSwanctl(testPSK, strings.Replace(netA, "esp_proposals = aes256-sha256-ecp256", "esp_proposals = aes256-sha256-modp2048", 1))
	s := newSite(t, "aaaaaac1-1111-4111-8111-111111111111", wrong)
	start := time.Now()
	s.set(testSpec(s.router, testConnection("c1")))
	s.awaitUp(s.router, "c1")
	up := time.Since(start)
	c := s.await(s.router, "c1", "up with pfs_mismatch", 5*time.Second, func(c vpn.ConnectionReport) bool {
		return c.State == vpn.StateUp && c.Reason != nil && c.Reason.Code == "pfs_mismatch"
	})
	found := time.Since(start)
	t.Logf("up after %s, warned after %s: %+v", up, found, c.Reason)
	if found-up < time.Second || c.Reason.Phase != "rekey" || c.Reason.Hint == "" {
		t.Errorf("found %s after it was up; reason %+v", found-up, c.Reason)
	}
	s.ping("10.2.0.1")

	// With the branch's group the warning goes: the CHILD_SA is made anew, with the group.
	conn := testConnection("c1")
	conn.ESP.PFS = "group14"
	s.set(testSpec(s.router, conn))
	s.await(s.router, "c1", "up without a warning", 5*time.Second, func(c vpn.ConnectionReport) bool {
		return c.State == vpn.StateUp && c.Reason == nil
	})
	s.await(s.router, "c1", "up without a warning", time.Second, func(c vpn.ConnectionReport) bool {
		return c.State == vpn.StateUp && c.Reason == nil
	})
	s.ping("10.2.0.1")
}

// A gateway that comes after, and another IKE_SA under the same agreement, do not try again.
func TestPFSTriedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaac2-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	spec := testSpec(s.router, testConnection("c1"))
	s.set(spec)
	s.awaitUp(s.router, "c1")
	s.settle(s.router, "c1")
	s.await(s.router, "c1", "up without a warning", time.Second, func(c vpn.ConnectionReport) bool { return c.State == vpn.StateUp && c.Reason == nil })
	awaitWritten(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := newFixture(t, s.runDir)
	next.set(spec)
	next.awaitUp(s.router, "c1")
	if err := s.branch.Terminate(t.Context(), "culvert"); err != nil {
		t.Fatal(err)
	}
	next.awaitReason(s.router, "c1", "peer_deleted")
	next.awaitUp(s.router, "c1")
	spis, writes := next.spis(s.router, "c1"), next.Writes()
	time.Sleep(tryGroupAfter + tryGroupSpread + 200*time.Millisecond) // nothing is to happen in this time
	if now := next.spis(s.router, "c1"); now != spis || next.Writes() != writes {
		t.Errorf("tried again: %d writes, SPIs %s, before %s", next.Writes()-writes, now, spis)
	}
}

// awaitWritten waits until it is on disk that c1 is proven.
func awaitWritten(t *testing.T, s *site) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err := readLoaded(folder(s.folderOf(s.router)))
		if err == nil && l.Proven["c1"] != "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not written: %+v, %v", l, err)
		}
	}
}
