package sitetest

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/testbox"
)

// Process is a run of the program.
type Process struct {
	T      *testing.T
	Cmd    *exec.Cmd
	Output *testbox.Transcript // both streams
	Ended  chan struct{}
}

// As is a way to start a process.
type As func(*exec.Cmd)

// Nobody is an unprivileged user.
func Nobody(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}}
}

func InDir(dir string) As { return func(cmd *exec.Cmd) { cmd.Dir = dir } }

// Launch starts the program. It is killed after the test if it still runs.
func Launch(t *testing.T, how []As, args ...string) *Process {
	t.Helper()
	p := &Process{T: t, Cmd: exec.Command(testbox.Program(), args...), Output: &testbox.Transcript{}, Ended: make(chan struct{})}
	p.Cmd.Stdout, p.Cmd.Stderr = p.Output, p.Output
	p.Cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // no CULVERT_* of the caller
	p.Cmd.WaitDelay = 5 * time.Second
	for _, h := range how {
		h(p.Cmd)
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", strings.Join(args, " "), err)
	}
	go func() {
		defer close(p.Ended)
		_ = p.Cmd.Wait() // its outcome is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.Cmd.Process.Kill() // it has ended unless the test failed
		<-p.Ended
	})
	return p
}

// Run runs the program to its end and answers its exit code and output.
func Run(t *testing.T, how []As, args ...string) (code int, output string) {
	t.Helper()
	p := Launch(t, how, args...)
	return p.Wait(20 * time.Second), p.Output.String()
}

// Wait waits for the end and answers the exit code, -1 after a signal.
func (p *Process) Wait(within time.Duration) int {
	p.T.Helper()
	select {
	case <-p.Ended:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(within):
		p.T.Fatalf("%s still runs after %s; it said:\n%s", p, within, Tail(p.Output.String(), 40))
		return -1
	}
}

// End sends a signal and waits for the end.
func (p *Process) End(signal syscall.Signal) (code int) {
	p.T.Helper()
	if err := p.Cmd.Process.Signal(signal); err != nil {
		p.T.Fatalf("%v to %s: %v; it said:\n%s", signal, p, err, Tail(p.Output.String(), 40))
	}
	return p.Wait(15 * time.Second)
}

// AwaitOutput waits until the process has written text.
func (p *Process) AwaitOutput(text string, within time.Duration) {
	p.T.Helper()
	for deadline := time.Now().Add(within); !strings.Contains(p.Output.String(), text); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.Ended:
			if !strings.Contains(p.Output.String(), text) {
				p.T.Fatalf("%s ended (%s) before it said %q; it said:\n%s", p, p.Cmd.ProcessState, text, Tail(p.Output.String(), 40))
			}
		default:
		}
		if time.Now().After(deadline) {
			p.T.Fatalf("%s did not say %q within %s; it said:\n%s", p, text, within, Tail(p.Output.String(), 40))
		}
	}
}

func (p *Process) String() string { return "culvert " + strings.Join(p.Cmd.Args[1:], " ") }

// Tail is the last n lines.
func Tail(text string, n int) string {
	l := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// Number is of the test's name: names and ports made of it meet no other test's.
func Number(t *testing.T) uint32 {
	h := fnv.New32a()
	h.Write([]byte(t.Name())) // never fails
	return h.Sum32() % 0xfffff
}

// Tag is a test's short name, of five letters.
func Tag(t *testing.T) string { return fmt.Sprintf("%05x", Number(t)) }

// Listen is a test's own address, outside of the range that the kernel gives to clients.
func Listen(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", 10000+Number(t)%20000) }

// Poll waits until ok.
func Poll(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

const (
	WaitGone   = 5 * time.Second
	StopSignal = syscall.SIGTERM
)
