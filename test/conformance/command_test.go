package conformance

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// command is a program of others with all the environment it gets.
type command struct {
	env []string
	dir string
}

// debian is the environment for programs of Debian's packages: nothing of the caller's, whose own Python may come first.
func debian(home string, env ...string) command {
	return command{env: append([]string{"PATH=/usr/bin:/bin", "HOME=" + home, "LC_ALL=C.UTF-8"}, env...), dir: home}
}

// result is what a program said and how it ended.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a program to its end, for five minutes at most.
func (c command) run(t *testing.T, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c.env, c.dir, &stdout, &stderr, 5*time.Second
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(stderr.String(), 20))
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs a program that must succeed and returns what it wrote to stdout.
func (c command) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := c.run(t, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), r.code, tail(r.stdout, 40), tail(r.stderr, 40))
	}
	return r.stdout
}

// pristine checks that these Debian packages are installed and that none of their files was changed, and names their versions.
func pristine(t *testing.T, packages ...string) {
	t.Helper()
	c := debian(t.TempDir())
	if changed := c.must(t, "dpkg", append([]string{"--verify"}, packages...)...); changed != "" {
		t.Fatalf("the suite is not as it was packaged:\n%s", changed)
	}
	t.Logf("suite:\n%s", c.must(t, "dpkg-query", append([]string{"-W"}, packages...)...))
}

// tail is the last n lines.
func tail(text string, n int) string {
	l := slices.Collect(strings.Lines(text))
	return strings.Join(l[max(0, len(l)-n):], "")
}
