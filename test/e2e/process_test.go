package e2e

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a run of the program.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *transcript // both streams
	ended  chan struct{}
}

// transcript keeps what a process writes.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// as is a way to start a process.
type as func(*exec.Cmd)

// nobody is an unprivileged user.
func nobody(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}}
}

func inDir(dir string) as { return func(cmd *exec.Cmd) { cmd.Dir = dir } }

// launch starts the program. It is killed after the test if it still runs.
func launch(t *testing.T, how []as, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(programPath(), args...), output: &transcript{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // no CULVERT_* of the caller
	p.cmd.WaitDelay = 5 * time.Second
	for _, h := range how {
		h(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", strings.Join(args, " "), err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its outcome is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended unless the test failed
		<-p.ended
	})
	return p
}

// run runs the program to its end and answers its exit code and output.
func run(t *testing.T, how []as, args ...string) (code int, output string) {
	t.Helper()
	p := launch(t, how, args...)
	return p.wait(20 * time.Second), p.output.String()
}

// wait waits for the end and answers the exit code, -1 after a signal.
func (p *process) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		p.t.Fatalf("%s still runs after %s; it said:\n%s", p, within, tail(p.output.String(), 40))
		return -1
	}
}

// end sends a signal and waits for the end.
func (p *process) end(signal syscall.Signal) (code int) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatalf("%v to %s: %v; it said:\n%s", signal, p, err, tail(p.output.String(), 40))
	}
	return p.wait(15 * time.Second)
}

// awaitOutput waits until the process has written text.
func (p *process) awaitOutput(text string, within time.Duration) {
	p.t.Helper()
	for deadline := time.Now().Add(within); !strings.Contains(p.output.String(), text); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.ended:
			if !strings.Contains(p.output.String(), text) {
				p.t.Fatalf("%s ended (%s) before it said %q; it said:\n%s", p, p.cmd.ProcessState, text, tail(p.output.String(), 40))
			}
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s did not say %q within %s; it said:\n%s", p, text, within, tail(p.output.String(), 40))
		}
	}
}

func (p *process) String() string { return "culvert " + strings.Join(p.cmd.Args[1:], " ") }

// tail is the last n lines.
func tail(text string, n int) string {
	l := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// number is of the test's name: names and ports made of it meet no other test's.
func number(t *testing.T) uint32 {
	h := fnv.New32a()
	h.Write([]byte(t.Name())) // never fails
	return h.Sum32() % 0xfffff
}

// tag is a test's short name, of five letters.
func tag(t *testing.T) string { return fmt.Sprintf("%05x", number(t)) }

// listen is a test's own address, outside of the range that the kernel gives to clients.
func listen(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", 10000+number(t)%20000) }

// poll waits until ok.
func poll(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

const (
	waitGone   = 5 * time.Second
	stopSignal = syscall.SIGTERM
)
