package dataplane

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// attributes is the table of what each attribute did on the wire. It says nothing that differs from run to run.
type attributes struct {
	mu   sync.Mutex
	rows []string
}

// saw notes what was seen for a value of an attribute.
func (a *attributes) saw(attribute, value, seen string, args ...any) {
	row := &table{}
	row.row(attribute, value, fmt.Sprintf(seen, args...))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rows = append(a.rows, row.String())
}

func (a *attributes) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.Sort(a.rows)
	return newTable("attribute", "value", "seen on the wire").String() + strings.Join(a.rows, "")
}

const attributesFile = "testdata/attributes.txt"

// TestAttributes shows that every attribute has an effect. The table is compared where all of them ran: with
// CULVERT_UPDATE=1 it is written instead.
func TestAttributes(t *testing.T) {
	t.Parallel()
	table := &attributes{}
	tests := []struct {
		name string
		run  func(*testing.T, *attributes)
	}{
		{"initiator", initiatorAttribute}, {"admin", adminAttribute}, {"dpd", dpdAttributes}, {"mtu", mtuAttribute},
		{"ids", idAttributes}, {"versions", versionAttributes}, {"families", familyAttributes}, {"algorithms", algorithmAttributes},
		{"unavailable", unavailableAlgorithm}, {"name", peerNameAttribute}, {"lifetime", lifetimeAttributes}, {"refused", refusedValues}, {"pfs", pfsAttribute},
	}
	t.Run("all", func(t *testing.T) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(t, table)
			})
		}
	})
	t.Logf("attributes:\n%s", table)
	if part := flag.Lookup("test.run").Value.String(); t.Failed() || strings.Contains(part, "/") {
		return
	}
	if os.Getenv("CULVERT_UPDATE") != "" {
		if err := os.WriteFile(attributesFile, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(attributesFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), table.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", attributesFile, diff)
	}
}
