package dataplane

import (
	"os"
	"testing"

	_ "culvert/internal/cli" // so that `go test` sees that a change of the program outdates a cached result
	"culvert/internal/testbox"
)

func TestMain(m *testing.M) { testbox.Main(m, testbox.BuildProgram) }

// soak says that the run may take long: `make soak`.
func soak() bool { return os.Getenv("CULVERT_SOAK") != "" }
