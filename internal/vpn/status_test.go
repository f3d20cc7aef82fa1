package vpn

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Texts of charon and of the peer come from outside: what no store takes must not stop the other reports of a gateway.
func TestReasonsAreStorable(t *testing.T) {
	given := Reason{Code: "c\x00", Side: "ours", Phase: "child", Summary: "a\nb\x1b[31m", Hint: strings.Repeat("é", maxReason+1), LastSeen: "\x7f"}
	sent := Report{Reason: &given, Connections: []ConnectionReport{{ID: "x", State: StateDown, Reason: &given}, {ID: "y", State: StateUp}}}
	want := Reason{Code: "c\uFFFD", Side: "ours", Phase: "child", Summary: "a\uFFFDb\uFFFD[31m", Hint: strings.Repeat("é", maxReason) + "…", LastSeen: "\uFFFD"}
	got := sent.clean()
	if d := cmp.Diff(Report{Reason: &want, Connections: []ConnectionReport{{ID: "x", State: StateDown, Reason: &want}, {ID: "y", State: StateUp}}}, got); d != "" {
		t.Error(d)
	}
	if given.Code != "c\x00" || sent.Connections[0].Reason.Code != "c\x00" {
		t.Error("the report itself was changed")
	}
}
