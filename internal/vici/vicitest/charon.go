// Package vicitest runs a real charon for tests: a charon-systemd in a network namespace of its own, with its own
// configuration and VICI socket, which ends with the test. Only tests may import it. What is loaded into the charon and
// how its namespace is wired belongs to the tests.
package vicitest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/internal/vici"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 3 * time.Second
)

// Options of a charon; the zero value is a charon without any ESP data path, for the control protocol alone.
type Options struct {
	// Namespace is an existing named network namespace to run in, which is left in place. "" makes one, with lo up, and
	// removes it after the test.
	Namespace string
	// UserlandESP loads kernel-libipsec (device ipsec0 in the namespace).
	UserlandESP bool
	// KernelESP loads kernel-netlink for ESP too, error-notify and updown. It loses to UserlandESP.
	KernelESP bool
	// Config is added to the charon-systemd section of strongswan.conf, in its syntax, one item a line.
	Config string
}

// Charon is a running charon-systemd.
type Charon struct {
	Socket      string // path of the VICI socket
	ErrorNotify string // path of the error-notify socket; listened on only with an ESP data path
	Namespace   string // name of the network namespace, as in `ip netns`
	Dir         string // short temporary folder that holds the sockets, strongswan.conf and charon.log
	PID         int

	t       testing.TB
	process *os.Process
	exited  chan struct{}
	stop    sync.Once
}

// Start starts a charon and returns when it answers on VICI. Everything it makes is gone after the test; the test fails
// where that, or the start, does not work. It needs root and the charon-systemd program.
func Start(t testing.TB, opts Options) *Charon {
	t.Helper()
	program, err := exec.LookPath("charon-systemd")
	if err != nil {
		t.Fatalf("vicitest: %v", err)
	}
	dir, err := os.MkdirTemp("/tmp", "vt") // not t.TempDir: unix socket paths are short
	if err != nil {
		t.Fatalf("vicitest: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &Charon{
		t:           t,
		Dir:         dir,
		Socket:      filepath.Join(dir, "vici"),
		ErrorNotify: filepath.Join(dir, "enfy"),
		Namespace:   opts.Namespace,
		exited:      make(chan struct{}),
	}
	if c.Namespace == "" {
		c.Namespace = NewNamespace(t)
	}
	if err := c.launch(program, opts); err != nil {
		t.Fatalf("vicitest: start charon: %v", err)
	}
	t.Cleanup(c.Stop)
	c.awaitVICI()
	return c
}

// Stop ends charon in order and waits for its end. Ending it twice is no error. charon 5.9.8 hangs in its shutdown now
// and then when a VICI client with unread events leaves at the same time, so it gets SIGKILL after 3 s.
func (c *Charon) Stop() { c.end(syscall.SIGTERM) }

// Kill ends charon at once, as a crash does, and waits for its end.
func (c *Charon) Kill() { c.end(syscall.SIGKILL) }

// Log returns what charon has logged so far.
func (c *Charon) Log() string {
	text, err := os.ReadFile(filepath.Join(c.Dir, "charon.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (c *Charon) end(signal syscall.Signal) {
	c.stop.Do(func() {
		c.process.Signal(signal) // fails when it has ended by itself, which is as good
		select {
		case <-c.exited:
		case <-time.After(stopTimeout):
			c.t.Logf("vicitest: charon %d did not end within %v", c.PID, stopTimeout)
			c.process.Kill()
			<-c.exited
		}
		if c.t.Failed() {
			c.t.Logf("charon %d in %s logged:\n%s", c.PID, c.Namespace, tail(c.Log(), 60))
		}
	})
}

// launch starts the process from a thread inside the namespace. That thread then waits for the process, as PDEATHSIG
// (by which charon ends should the test program die without cleaning up) goes by the thread.
func (c *Charon) launch(program string, opts Options) error {
	conf := filepath.Join(c.Dir, "strongswan.conf")
	if err := os.WriteFile(conf, []byte(c.config(opts)), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.Dir, "charon.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(c.exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := within(c.Namespace, cmd.Start)
		started <- err
		if err != nil && cmd.Process != nil {
			cmd.Process.Kill()
		}
		if cmd.Process != nil {
			cmd.Wait() // the exit code tells nothing that Log does not
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	c.process, c.PID = cmd.Process, cmd.Process.Pid
	return nil
}

func (c *Charon) awaitVICI() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	go func() { // an early death ends the wait
		select {
		case <-c.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := vici.Dial(ctx, c.Socket)
	if err == nil {
		_, err = conn.Call(ctx, "version", nil)
		conn.Close()
	}
	if err != nil {
		c.t.Fatalf("vicitest: charon does not answer: %v", err)
	}
}

func (c *Charon) config(opts Options) string {
	load := "random nonce aesni openssl kdf socket-default kernel-netlink vici"
	switch {
	case opts.UserlandESP:
		load = "random nonce aesni openssl kdf socket-default kernel-libipsec kernel-netlink vici updown error-notify"
	case opts.KernelESP:
		load += " updown error-notify"
	}
	return fmt.Sprintf(`charon-systemd {
  load = %s
  threads = 16
  retransmit_timeout = 1.0
  retransmit_base = 1.5
  retransmit_tries = 3
  journal {
    default = -1
  }
  filelog {
    stderr {
      default = 1
    }
  }
  plugins {
    vici {
      socket = unix://%s
    }
    error-notify {
      socket = unix://%s
    }
  }
%s
}
`, load, c.Socket, c.ErrorNotify, opts.Config)
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
