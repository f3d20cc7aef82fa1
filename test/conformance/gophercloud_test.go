package conformance

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	gophercloudSuite = "github.com/gophercloud/gophercloud/v2/internal/acceptance/openstack/networking/v2/extensions/vpnaas"
	gophercloudTests = 10
)

// Gophercloud's own acceptance tests, built out of the module cache: go.mod and go.sum in testdata/gophercloud pin them.
func TestGophercloud(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	dir, err := filepath.Abs(filepath.Join("testdata", "gophercloud"))
	if err != nil {
		t.Fatal(err)
	}
	env := append(withoutOpenStack(os.Environ()), s.variables(s.admin)...)
	env = append(env, "OS_DOMAIN_NAME=Default", "OS_EXTGW_ID="+s.external, "OS_IMAGE_ID=unused", "OS_FLAVOR_ID=unused", "OS_FLAVOR_ID_RESIZE=unused too",
		"OS_POOL_NAME=unused", "OS_BRANCH=stable/wallaby", "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	c := command{env: env, dir: dir}
	var suite struct{ Path, Version, Sum string }
	if err := json.Unmarshal([]byte(c.must(t, "go", "mod", "download", "-json", "github.com/gophercloud/gophercloud/v2")), &suite); err != nil {
		t.Fatal(err)
	}
	t.Logf("suite: %s %s %s, %s", suite.Path, suite.Version, suite.Sum, c.must(t, "go", "mod", "verify"))
	r := c.run(t, "go", "test", "-count=1", "-tags", "acceptance", "-json", gophercloudSuite)
	passed, other, said := goOutcomes(t, r.stdout)
	t.Logf("exit code %d; %d passed: %s; the suite's last lines:\n%s", r.code, len(passed), strings.Join(passed, " "), tail(said, 3))
	if r.code != 0 || len(passed) != gophercloudTests || len(other) != 0 {
		t.Errorf("want %d passed, none skipped, none failed; besides the passed: %q; it said:\n%s%s", gophercloudTests, other, tail(said, 100), r.stderr)
	}
}

// withoutOpenStack leaves out what the caller may have set for a cloud of its own.
func withoutOpenStack(env []string) (out []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, "OS_") {
			out = append(out, v)
		}
	}
	return out
}

// goOutcomes reads what go test -json says: the tests that passed, those that ended otherwise, and all that was printed.
func goOutcomes(t *testing.T, text string) (passed, other []string, said string) {
	t.Helper()
	for dec := json.NewDecoder(strings.NewReader(text)); ; {
		var e struct{ Action, Test, Output string }
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return passed, other, said
		} else if err != nil {
			t.Fatalf("go test -json: %v\n%s", err, tail(text, 20))
		}
		said += e.Output
		switch {
		case e.Test == "":
		case e.Action == "pass":
			passed = append(passed, e.Test)
		case e.Action == "fail" || e.Action == "skip":
			other = append(other, e.Action+" "+e.Test)
		}
	}
}
