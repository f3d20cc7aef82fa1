package e2e

import (
	"testing"

	_ "culvert/internal/cli" // so that `go test` sees that a change of the program outdates a cached result
	"culvert/internal/testbox"
	"culvert/internal/uml"
)

func TestMain(m *testing.M) {
	uml.Main()
	testbox.Main(m, testbox.BuildProgram)
}
