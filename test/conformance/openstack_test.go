package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/testbox"
)

// openstackCommand is Debian's, whatever else the caller's PATH finds first.
const openstackCommand = "/usr/bin/openstack"

// object is a JSON object that a client printed.
type object = map[string]any

// openstack is Debian's openstack command, logged in as somebody: one process that is given line after line, as its users do
// when they start it without arguments, because every start takes more than a second.
type openstack struct {
	t            *testing.T
	in           io.Writer
	stdout       *testbox.Transcript
	stderr       *testbox.Transcript
	lines        int
	outAt, errAt int // what was read before
}

func newOpenStack(t *testing.T, s *server, a account) *openstack {
	t.Helper()
	c := debian(t.TempDir(), append(s.variables(a), "PYTHONUNBUFFERED=1")...)
	o := &openstack{t: t, stdout: &testbox.Transcript{}, stderr: &testbox.Transcript{}}
	cmd := exec.Command(openstackCommand)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c.env, c.dir, o.stdout, o.stderr, 5*time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.in = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() }) // the Wait ends then
		defer stop.Stop()
		_ = in.Close()
		_ = cmd.Wait() // it tells how the last line ended
	})
	return o
}

// says gives it a line and returns what it writes until it has done with it.
func (o *openstack) says(line string) (stdout, stderr string) {
	o.t.Helper()
	o.lines++
	done := fmt.Sprintf("done-%d\n", o.lines)
	if _, err := fmt.Fprintf(o.in, "%s\nshell sh -c 'echo done-%d; echo done-%d 1>&2'\n", line, o.lines, o.lines); err != nil {
		o.t.Fatalf("openstack %s: %v\n%s", line, err, tail(o.stderr.String(), 20))
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		out, first := strings.CutSuffix(o.stdout.String(), done)
		errs, second := strings.CutSuffix(o.stderr.String(), done)
		if first && second {
			stdout, stderr = out[o.outAt:], errs[o.errAt:]
			o.outAt, o.errAt = len(out)+len(done), len(errs)+len(done)
			return stdout, stderr
		}
	}
	o.t.Fatalf("openstack %s does not end; it wrote:\n%s%s", line, tail(o.stdout.String(), 20), tail(o.stderr.String(), 20))
	return "", ""
}

// printed runs a command that must succeed, with -f json.
func (o *openstack) printed(line string, into any) {
	o.t.Helper()
	out, errs := o.says(line + " -f json")
	if err := json.Unmarshal([]byte(out), into); err != nil || errs != "" {
		o.t.Fatalf("openstack %s: %v\n%s%s", line, err, out, errs)
	}
}

// shows runs a command that prints one resource, compares what it prints under the names in want, and returns the resource.
// A dot in front of a name asks only for something other than null and "".
func (o *openstack) shows(want object, line string) (got object) {
	o.t.Helper()
	o.printed(line, &got)
	o.compare("openstack "+line, want, got)
	return got
}

// lists runs a command that prints many, and compares the only one that has the wanted Name.
func (o *openstack) lists(want object, line string) {
	o.t.Helper()
	var all, named []object
	o.printed(line, &all)
	for _, r := range all {
		if r["Name"] == want["Name"] {
			named = append(named, r)
		}
	}
	if len(named) != 1 {
		o.t.Fatalf("openstack %s prints %d rows with the name %v, want 1:\n%v", line, len(named), want["Name"], all)
	}
	o.compare("openstack "+line, want, named[0])
}

func (o *openstack) compare(what string, want, got object) {
	o.t.Helper()
	expect, found := object{}, object{}
	for name, v := range want {
		if rest, only := strings.CutPrefix(name, "."); only {
			expect[rest], found[rest] = true, got[rest] != nil && got[rest] != ""
			continue
		}
		expect[name] = v
		if v, ok := got[name]; ok {
			found[name] = v
		}
	}
	if diff := cmp.Diff(expect, found); diff != "" {
		o.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// does runs commands that must succeed and print nothing.
func (o *openstack) does(lines ...string) {
	o.t.Helper()
	for _, line := range lines {
		if out, errs := o.says(line); strings.TrimSpace(out+errs) != "" {
			o.t.Errorf("openstack %s prints %q and %q, want nothing", line, out, errs)
		}
	}
}

// refused runs a command that must fail and say why.
func (o *openstack) refused(why, line string) {
	o.t.Helper()
	if out, errs := o.says(line); out != "" || !strings.Contains(errs, why) {
		o.t.Errorf("openstack %s prints %q and %q, want an error that says %q", line, out, errs, why)
	}
}
