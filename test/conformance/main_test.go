package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "culvert/internal/cli" // a change of the program makes go test forget its cached result
)

const binaryVariable = "CULVERT_CONFORMANCE_BINARY"

func TestMain(m *testing.M) {
	code, err := runWith(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = 1
	}
	os.Exit(code)
}

// runWith builds the program and runs the tests with it.
func runWith(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "culvert-conformance-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "culvert")
	build := exec.Command("go", "build", "-o", program, "culvert")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := os.Setenv(binaryVariable, program); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
