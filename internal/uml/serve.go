package uml

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is the guest's first process at work: it runs programs, passes their output on, and reaps every orphan.
type server struct {
	out *os.File

	write sync.Mutex // one answer at a time
	mu    sync.Mutex
	ids   map[int]*child // by process id
}

// child is a program that was asked for.
type child struct {
	id    int
	pid   int
	drain chan struct{} // closed when its output has been passed on
}

func serve(line *os.File) error {
	s := &server{out: line, ids: map[int]*child{}}

	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	go s.reap(died)
	s.answer(answer{}) // we listen
	lines := bufio.NewReader(line)
	for {
		text, err := lines.ReadBytes('\n')

		if err != nil {
			return fmt.Errorf("serial line: %w", err)
		}
		var r request
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("serial line: %q: %w", text, err)
		}
		if r.Signal != 0 {
			s.signal(r)
		} else if err := s.start(r); err != nil {
			s.answer(answer{ID: r.ID, Ended: true, Code: -1, Error: err.Error()})
		}
	}
}

// terminal is user-mode-linux's line to the test.
func terminal() (*os.File, error) {
	line, err := os.OpenFile(serialLine, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return line, raw(line)
}

// raw makes a terminal a plain line: no echo, no editing, no translation.
func raw(tty *os.File) error {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("serial line: %w", err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, t); err != nil {
		return fmt.Errorf("serial line: %w", err)
	}
	return nil
}

// start starts a program. The lock keeps its end from being seen before its beginning.
func (s *server) start(r request) error {
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer to.Close()
	cmd := exec.Command(r.Args[0], r.Args[1:]...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C"}, r.Env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = cmp.Or(r.Dir, "/"), to, to
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		from.Close()
		return err
	}
	c := &child{id: r.ID, pid: cmd.Process.Pid, drain: make(chan struct{})}
	s.ids[c.pid] = c
	go s.pass(c, from)
	return cmd.Process.Release() // reap sees its end
}

// pass hands a program's output on. A daemon that it leaves behind may hold the pipe for ever: then its end comes first.
func (s *server) pass(c *child, from *os.File) {
	defer from.Close()
	defer close(c.drain)
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			s.answer(answer{ID: c.id, Out: buffer[:n]})
		}
		if err != nil {
			return
		}
	}
}

func (s *server) answer(a answer) {
	text, err := json.Marshal(a)
	if err != nil {
		return // it is made of numbers and strings
	}
	s.write.Lock()
	defer s.write.Unlock()
	_, _ = s.out.Write(append(text, '\n')) // without the line nobody is there to be told
}

func (s *server) signal(r request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.ids {
		if c.id == r.ID {
			_ = unix.Kill(c.pid, unix.Signal(r.Signal)) // it may have ended
		}
	}
}

// reap waits for every process that ends: programs asked for, and orphans, whose parent the first process is.
func (s *server) reap(died <-chan os.Signal) {
	for range died {
		for s.reapOne() {
		}
	}
}

// reapOne answers whether a process had ended.
func (s *server) reapOne() bool {
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if err == unix.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	s.mu.Lock()
	c := s.ids[pid]
	delete(s.ids, pid)
	s.mu.Unlock()
	if c != nil {
		go s.ended(c, status)
	}
	return true
}

func (s *server) ended(c *child, status unix.WaitStatus) {
	select {
	case <-c.drain:
	case <-time.After(drainLimit):
	}
	s.answer(answer{ID: c.id, Ended: true, Code: status.ExitStatus()})
}

// drainLimit is how long the output of a program that has ended is waited for, where another one holds its end.
const drainLimit = 200 * time.Millisecond
