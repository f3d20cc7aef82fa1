package uml

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"culvert/internal/testbox"
)

// Rerun is a package's tests, to be run again in a guest: all of them, but for those that say why not. So a test that is
// written from now on runs there too.
type Rerun struct {
	Env    []string          // says to the tests that they are in a guest
	Only   []string          // not all of them, but these; nil is all
	Except map[string]string // the tests that do not run there, and why
	Alone  []string          // these run one after the other, before the others, because they have limits of time
	AtOnce int               // so many of the others
}

// Rerun runs the tests of this binary in the guest and answers how long each took. An error says which of them did not pass,
// a skipped one among them, or which name is no test's, and holds what they printed.
func (g *Guest) Rerun(ctx context.Context, r Rerun) (passed []string, err error) {
	listed, err := g.tests(ctx, r.Env, "-test.list=^Test")
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	all := regexp.MustCompile(`(?m)^Test\S*$`).FindAllString(listed, -1)
	except := slices.Collect(maps.Keys(r.Except))
	for _, name := range slices.Concat(r.Only, except, r.Alone) {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("%s is no test", name)
		}
	}
	pattern := "^Test"
	if r.Only != nil {
		pattern = either(r.Only)
		all = slices.Clone(r.Only)
	}
	want := slices.DeleteFunc(all, func(name string) bool { return slices.Contains(except, name) })
	first, errFirst := "", error(nil)
	if len(r.Alone) > 0 {
		first, errFirst = g.tests(ctx, r.Env, "-test.v", "-test.parallel=1", "-test.run="+either(r.Alone))
	}
	then, errThen := g.tests(ctx, r.Env, "-test.v", fmt.Sprintf("-test.parallel=%d", r.AtOnce), "-test.run="+pattern, "-test.skip="+either(slices.Concat(except, r.Alone)))
	for _, m := range regexp.MustCompile(`(?m)^--- PASS: ((\S+) \(\S+\))`).FindAllStringSubmatch(first+then, -1) {
		passed = append(passed, m[1])
		want = slices.DeleteFunc(want, func(name string) bool { return name == m[2] })
	}
	if errFirst == nil && errThen == nil && len(want) == 0 {
		return passed, nil
	}
	return passed, fmt.Errorf("not passed in the guest: %s; %v, %v\n%s%s\nits console:\n%s", strings.Join(want, ", "), errFirst, errThen, first, then, g.Console())
}

// either is a pattern for these names.
func either(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

// tests runs this binary in the guest, in the folder of its package, and answers what it printed.
func (g *Guest) tests(ctx context.Context, env []string, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	out := &testbox.Transcript{}
	p, err := g.Start(Command{Args: append([]string{self}, args...), Env: env, Dir: dir, Output: out})
	if err != nil {
		return "", err
	}
	code, err := p.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	return out.String(), err
}
