package uml

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"culvert/internal/testbox"
)

// request is one line to the guest's first process: start a program, or send a signal to one.
type request struct {
	ID     int      `json:"id"`
	Args   []string `json:"args,omitempty"`
	Dir    string   `json:"dir,omitempty"`
	Env    []string `json:"env,omitempty"`
	Signal int      `json:"signal,omitempty"`
}

// answer is one line from it: output, or the end.
type answer struct {
	ID    int    `json:"id"`
	Out   []byte `json:"out,omitempty"`
	Ended bool   `json:"ended,omitempty"`
	Code  int    `json:"code,omitempty"`  // of an ended program; -1 after a signal
	Error string `json:"error,omitempty"` // why it could not be started
}

// Process is a program that runs in the guest.
type Process struct {
	g    *Guest
	id   int
	args []string
	out  io.Writer
	done chan answer // holds the end
}

// Command is a program to run in the guest.
type Command struct {
	Args   []string  // the program's absolute path and its arguments
	Env    []string  // beside PATH, HOME and LC_ALL
	Dir    string    // to start it in; "" is /
	Output io.Writer // of both streams
}

// Start starts a program in the guest.
func (g *Guest) Start(c Command) (*Process, error) {
	p := &Process{g: g, args: c.Args, out: c.Output, done: make(chan answer, 1)}
	if p.out == nil {
		p.out = io.Discard
	}
	g.mu.Lock()
	g.next++
	p.id = g.next
	g.procs[p.id] = p
	g.mu.Unlock()
	return p, g.send(request{ID: p.id, Args: c.Args, Env: c.Env, Dir: c.Dir})
}

func (g *Guest) send(r request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.line.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	return nil
}

// Wait waits for the end and answers the exit code, -1 after a signal.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case a := <-p.done:
		p.done <- a
		if a.Error != "" {
			return -1, fmt.Errorf("guest: %s: %s", p.args[0], a.Error)
		}
		return a.Code, nil
	case <-p.g.ended:
		return -1, fmt.Errorf("guest: %s: the guest has ended", p.args[0])
	case <-ctx.Done():
		return -1, fmt.Errorf("guest: %s: %w", p.args[0], ctx.Err())
	}
}

// Signal sends a signal to the program.
func (p *Process) Signal(s syscall.Signal) error {
	return p.g.send(request{ID: p.id, Signal: int(s)})
}

// Run runs a program in the guest and answers its output. An exit code other than 0 is an error that holds it.
func (g *Guest) Run(ctx context.Context, args ...string) (string, error) {
	out := &testbox.Transcript{}
	p, err := g.Start(Command{Args: args, Output: out})
	if err != nil {
		return "", err
	}
	code, err := p.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("guest: %s: exit code %d: %s", strings.Join(args, " "), code, strings.TrimSpace(out.String()))
	}
	return out.String(), err
}

// listen hands the guest's answers to those who wait for them.
func (g *Guest) listen(from *os.File) {
	defer from.Close()
	lines := bufio.NewReader(from)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return // the guest has ended
		}
		var a answer
		if err := json.Unmarshal(text, &a); err != nil {
			fmt.Fprintf(g.console, "not an answer: %q\n", text)
			continue
		}
		g.take(a)
	}
}

func (g *Guest) take(a answer) {
	g.mu.Lock()
	p := g.procs[a.ID]
	if a.Ended {
		delete(g.procs, a.ID)
	}
	g.mu.Unlock()
	switch {
	case a.ID == 0:
		close(g.ready)
	case p == nil:
	case a.Ended:
		p.done <- a
	default:
		_, _ = p.out.Write(a.Out) // the test's own buffer
	}
}
