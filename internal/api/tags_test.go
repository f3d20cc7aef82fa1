package api_test

import (
	"log/slog"
	"testing"

	"culvert/internal/api"
	"culvert/internal/crud"
	"culvert/internal/topology"
)

// Tags have a sub-resource of their own, which the server only has when it is given a Tagger.
func TestTags(t *testing.T) {
	w := newWorld(t)
	resources, err := crud.New(w.srv.Resources.Config)
	if err != nil {
		t.Fatal(err)
	}
	top, err := topology.New(topology.Config{Service: resources})
	if err != nil {
		t.Fatal(err)
	}
	resources.Add(top.Kinds()...)
	w.handler, err = api.New(api.Config{Resources: resources, Auth: w.srv.Identity, Tags: top, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w.made("/v2.0/networks", "network", `{"network":{"name":"lan"}}`)
	w.transcript("tags")
}
