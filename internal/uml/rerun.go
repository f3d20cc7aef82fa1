package uml

import (
	"context"
	"fmt"
	"os"
	"regexp"

	"culvert/internal/testbox"
)

// Tests runs tests of this binary, those that a pattern names, again inside the guest, which must be count and must pass, and
// answers how long each took. env says to them that they are there. The error holds what they printed.
func (g *Guest) Tests(ctx context.Context, env []string, count int, pattern string, args ...string) (passed []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd() // of the package
	if err != nil {
		return nil, err
	}
	out := &testbox.Transcript{}
	p, err := g.Start(Command{Args: append([]string{self, "-test.v", "-test.run=" + pattern}, args...), Env: env, Dir: dir, Output: out})
	if err != nil {
		return nil, err
	}
	code, err := p.Wait(ctx)
	for _, m := range regexp.MustCompile(`(?m)^--- PASS: (\S+ \(\S+\))`).FindAllStringSubmatch(out.String(), -1) {
		passed = append(passed, m[1])
	}
	if err == nil && code == 0 && len(passed) == count {
		return passed, nil
	}
	return passed, fmt.Errorf("%d of %d tests passed in the guest, exit code %d, %v\n%s\nits console:\n%s", len(passed), count, code, err, out, g.Console())
}
