package dataplane

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cutter stands between a gateway and its charon, in the place of charon's socket, and can hold a connection back at a
// chosen write: there the gateway waits until it is killed. Everything else passes as it is.
type cutter struct {
	path, behind string // of the socket, and where charon's own is now
	listener     net.Listener
	running      sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool
	at    int           // the write to hold back; 0: none
	after bool          // charon gets it, and its answer is held back
	seen  []string      // writes since arm
	met   chan struct{} // closed when that write has come, or been done
	free  chan struct{} // closed when what is held back may end
}

// interpose takes the place of a charon's socket until the test ends. Connections that stand are not touched.
func interpose(t *testing.T, path string) *cutter {
	t.Helper()
	c := &cutter{path: path, behind: path + ".real", open: map[net.Conn]bool{}, met: make(chan struct{}), free: make(chan struct{})}
	if err := os.Rename(path, c.behind); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.listener, err = net.Listen("unix", path); err != nil {
		t.Fatal(errors.Join(err, os.Rename(c.behind, path)))
	}
	c.running.Go(c.accept)
	t.Cleanup(func() {
		c.disarm()
		_ = c.listener.Close() // it removes its socket
		if err := os.Rename(c.behind, path); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		for conn := range c.open {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.running.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.running.Go(func() { c.serve(client) })
	}
}

// serve passes packets both ways.
func (c *cutter) serve(client net.Conn) {
	defer c.track(client)()
	charon, err := dialCharon(c.behind)
	if err != nil {
		return
	}
	defer c.track(charon)()
	var held atomic.Bool
	c.running.Go(func() {
		defer client.Close()
		each := func(packet []byte) bool {
			const response = 1
			return !held.Load() || packet[4] != response || c.hold()
		}
		pass(charon, client, each)
	})
	pass(client, charon, func(packet []byte) bool {
		hold, after := c.note(packet)
		if hold && !after {
			return c.hold()
		}
		held.Store(hold)
		return true
	})
}

// dialCharon waits while charon's short queue of callers is full.
func dialCharon(path string) (conn net.Conn, err error) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if conn, err = net.Dial("unix", path); !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
	}
	return nil, err
}

// track notes an open connection; what it answers closes it.
func (c *cutter) track(conn net.Conn) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn] = true
	return func() {
		_ = conn.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
	}
}

// pass hands packets on, each with its four bytes of length, until one is refused or an end is closed.
func pass(from, to net.Conn, may func(packet []byte) bool) {
	for r := bufio.NewReader(from); ; {
		head, err := r.Peek(4)
		if err != nil {
			return
		}
		packet := make([]byte, 4+binary.BigEndian.Uint32(head))
		if _, err := io.ReadFull(r, packet); err != nil || !may(packet) {
			return
		}
		if _, err := to.Write(packet); err != nil {
			return
		}
	}
}

// note counts a write, and answers whether it is the one to hold back. That a tunnel is rekeyed once, some seconds after it
// came up, is no part of an edit.
func (c *cutter) note(packet []byte) (hold, after bool) {
	const request = 0
	if packet[4] != request || len(packet) < 6 || len(packet) < 6+int(packet[5]) {
		return false, false
	}
	command := string(packet[6 : 6+int(packet[5])])
	reads := func(prefix string) bool { return strings.HasPrefix(command, prefix) }
	if slices.ContainsFunc([]string{"list-", "get-", "version", "stats", "rekey"}, reads) {
		return false, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, command)
	return len(c.seen) == c.at, c.after
}

// hold says that the write is held back, and returns when nobody waits for it any more.
func (c *cutter) hold() bool {
	c.mu.Lock()
	free := c.free
	close(c.met)
	c.mu.Unlock()
	<-free
	return false
}

// arm has the n-th write from now on held back, 0 for none, before charon has it or before it has been answered. The
// channel is closed when that has happened.
func (c *cutter) arm(n int, after bool) (met <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.after, c.seen = n, after, nil
	c.met, c.free = make(chan struct{}), make(chan struct{})
	return c.met
}

// disarm lets what is held back end, and answers the writes since arm.
func (c *cutter) disarm() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.free:
	default:
		close(c.free)
	}
	c.at = 0
	return slices.Clone(c.seen)
}

// writes are those since arm.
func (c *cutter) writes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}
