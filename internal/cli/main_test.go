package cli_test

import (
	"os"
	"testing"

	"culvert/internal/cli"
)

// asCommand makes this binary the command line, so that tests run it as a process of its own.
const asCommand = "CULVERT_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(cli.Main(os.Args[1:], "test", os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
