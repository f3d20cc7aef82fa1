package vpn

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/resource"
)

func TestLongValuesAreNotKept(t *testing.T) {
	long := []byte(`"` + strings.Repeat("x", maxValue) + `"`)
	changes := []resource.Difference{{Attribute: "a", Old: long, New: []byte("1")}}
	got := kept(changes)
	if string(got[0].Old) != `"(not kept: 4098 bytes)"` || string(got[0].New) != "1" || len(changes[0].Old) != len(long) {
		t.Errorf("%s %s", got[0].Old, got[0].New)
	}
	if kept(nil) == nil {
		t.Error("no changes are null")
	}
}

// What a gateway tells is bounded and cannot pretend to be a request.
func TestCleanEvent(t *testing.T) {
	up, request := Active, "req"
	good := Event{ID: "1", CreatedAt: "2026-01-02 03:04:05.000006", Type: EventUp, Status: &up, Summary: "a\x00b", RequestID: &request,
		Changes: []resource.Difference{{Attribute: "psk"}}, Details: map[string]string{"k\n": strings.Repeat("x", maxReason+1)}}
	got, ok := good.clean()
	want := Event{ID: "1", CreatedAt: good.CreatedAt, Type: EventUp, Status: &up, Summary: "a\uFFFDb", Details: map[string]string{"k\uFFFD": strings.Repeat("x", maxReason) + "…"}}
	if d := cmp.Diff(want, got); d != "" || !ok {
		t.Errorf("ok %v, -want +got:\n%s", ok, d)
	}
	odd := "GOOD"
	for name, change := range map[string]func(*Event){
		"no id": func(e *Event) { e.ID = "" }, "long id": func(e *Event) { e.ID = strings.Repeat("1", maxEventID+1) }, "odd id": func(e *Event) { e.ID = "\n" },
		"time": func(e *Event) { e.CreatedAt = "2026-01-02T03:04:05Z" }, "type": func(e *Event) { e.Type = EventUpdate }, "status": func(e *Event) { e.Status = &odd },
	} {
		bad := good
		change(&bad)
		if _, ok := bad.clean(); ok {
			t.Errorf("%s: was taken", name)
		}
	}
}
