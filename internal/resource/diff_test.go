package resource

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	type thing struct {
		Head
		Size   int            `json:"size"`
		Limits map[string]int `json:"limits"`
		More   *string        `json:"more,omitempty"`
		Status string         `json:"status"`
	}
	word := "x<y"
	old := thing{Head: Head{ID: "1", Name: "a", RevisionNumber: 1}, Size: 1, Limits: map[string]int{"a": 1}, Status: "DOWN"}
	now := old
	now.RevisionNumber, now.UpdatedAt, now.Status, now.Name, now.Limits, now.More = 2, "later", "ACTIVE", "b", map[string]int{"a": 2}, &word
	got, err := Diff(old, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`limits {"a":1} {"a":2}`, `more null "x<y"`, `name "a" "b"`}
	var lines []string
	for _, d := range got {
		lines = append(lines, d.Attribute+" "+string(d.Old)+" "+string(d.New))
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	back, err := Diff(now, old)
	if err != nil || len(back) != 3 || string(back[1].New) != "null" {
		t.Errorf("back: %v %v", back, err)
	}
	if same, err := Diff(old, old); err != nil || len(same) != 0 || same == nil {
		t.Errorf("nothing changed: %v %v", same, err)
	}
	if d, err := Different("interfaces", nil, []string{"s"}); err != nil || string(d.Old) != "null" || string(d.New) != `["s"]` {
		t.Errorf("%+v %v", d, err)
	}
}
