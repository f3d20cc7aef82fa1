package resource_test

import (
	"encoding/json"
	"testing"

	"culvert/internal/resource"
)

// TestConstNull: what may only be null is refused with the JSON word for it.
func TestConstNull(t *testing.T) {
	type widget struct {
		Segment *int64 `json:"segment" api:"post null const" rule:"int 1 9" default:"null"`
	}
	k := &resource.Kind{Name: "widget"}
	if err := k.Parse(widget{}, resource.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ForPost(map[string]any{"segment": nil}); err != nil {
		t.Errorf("null: %v", err)
	}
	_, err := k.ForPost(map[string]any{"segment": json.Number("5")})
	want := "HTTPBadRequest: Attribute 'segment' not allowed in POST; its only value is 'null'"
	if err == nil || err.Error() != want {
		t.Errorf("5: got %v, want %s", err, want)
	}
}
