package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/testbox"
)

// spoils is what somebody else may do to the guard. Where the kernel does ESP, in a guest, the SPD is all of it.
func spoils() []string {
	if testbox.KernelESP() {
		return []string{"ip xfrm policy flush"}
	}
	return []string{
		"nft flush ruleset", "nft delete table inet culvert", "nft flush chain inet culvert forward",
		"nft flush chain inet culvert output; delete chain inet culvert output", "nft insert rule inet culvert forward accept",
	}
}

// TestGuardComesBack: what somebody else takes from the guard, or puts into it, is mended within seconds and logged once; what
// it holds for a while after a connection went, too.
func TestGuardComesBack(t *testing.T) {
	t.Parallel()
	log := &lines{}
	s := newSite(t, "aaaaafb1-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), log.of)
	c, goes := testConnection("c1"), testConnection("c2")
	c.Initiate, goes.Initiate = false, false
	goes.Peer = prefixes("10.3.0.0/24")
	s.set(testSpec(s.router, c, goes))
	s.set(testSpec(s.router, c))
	s.guarded("10.2.0.0/24", "10.3.0.0/24")
	in := []string{"ip", "netns", "exec", NamespaceName(s.router)}
	warned := 0
	for _, do := range spoils() {
		want := sorted(s.ruleset())
		output(t, append(slices.Clone(in), strings.Split(do, " ")...)...)
		if !strings.Contains(do, "insert") {
			warned++
		}
		awaitSame(t, do, want, func() string { return sorted(s.ruleset()) })
		awaitSame(t, do, fmt.Sprint(warned), func() string { return fmt.Sprint(log.count("somebody else took rules of the guard away")) })
		s.noPing("10.2.0.1")
	}
}

// awaitSame waits until what somebody spoilt is as it was.
func awaitSame(t *testing.T, did, want string, look func() string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(5 * time.Second); got != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("5 s after %s:\n%s\nbefore:\n%s", did, got, want)
		}
		got = look()
	}
}

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// lines is a log that can be searched, beside the test's own.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) of(c *Config) {
	c.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}
