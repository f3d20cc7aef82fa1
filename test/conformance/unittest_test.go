package conformance

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// outcome is how one test of Python's unittest ended. What a test logs stands between its dots and this word.
var outcome = regexp.MustCompile(`(?m)(?:\.\.\. |^)(ok|skipped .*|FAIL|ERROR|expected failure|unexpected success)$`)

// unittest runs Python modules verbosely and checks that exactly want tests ran, all of them passed, and none was skipped.
func unittest(t *testing.T, c command, want int, modules ...string) {
	t.Helper()
	r := c.run(t, "/usr/bin/python3", append([]string{"-m", "unittest", "-v"}, modules...)...)
	count := map[string]int{}
	for _, m := range outcome.FindAllStringSubmatch(r.stderr, -1) {
		word, _, _ := strings.Cut(m[1], " ")
		count[word]++
	}
	summary := r.stderr[max(0, strings.LastIndex(r.stderr, "-----\nRan ")):]
	t.Logf("exit code %d; outcomes %v; the suite's last lines:\n%s", r.code, count, tail(r.stderr, 5))
	ran := fmt.Sprintf("-----\nRan %d tests in ", want)
	if r.code != 0 || count["ok"] != want || len(count) != 1 || !strings.HasPrefix(summary, ran) || !strings.HasSuffix(summary, "\n\nOK\n") {
		t.Errorf("want %d passed, none skipped, none failed; it said:\n%s", want, tail(r.stderr, 150))
	}
}
