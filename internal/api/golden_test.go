package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func compare(t testing.TB, want, got string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
		t.Error(d)
	}
}

// Whole answers to whole requests: see testdata. CULVERT_GOLDEN=write writes them anew.
func TestTranscripts(t *testing.T) {
	for _, name := range []string{"discovery", "errors", "life", "query"} {
		t.Run(name, func(t *testing.T) { newWorld(t).transcript(name) })
	}
	t.Run("roles", func(t *testing.T) {
		w := newWorld(t)
		w.router("lan", "10.1.0.0/24") // network 1, subnet 2, router 3, port 4
		w.base = w.rev()
		w.transcript("roles")
	})
}
