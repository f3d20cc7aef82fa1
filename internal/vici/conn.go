package vici

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one connection to charon. Its methods may be called from several goroutines; calls take turns, in the order
// in which charon answers them, and events may arrive between. Every Conn must be closed with Close.
type Conn struct {
	sock   net.Conn
	now    func() time.Time
	turn   chan struct{} // one slot: whoever fills it may write to the socket
	queue  *queue[Event]
	events chan Event
	done   chan struct{} // closed by the reader when the socket is of no more use
	closed chan struct{} // closed by Close
	once   sync.Once
	writes atomic.Int64

	mu         sync.Mutex
	err        error
	pending    []*exchange // sent and unanswered, oldest first: charon answers in order
	subscribed map[string]bool
}

// Dial connects to the VICI socket at the path socket (at most 107 bytes, a limit of unix sockets). While charon is not
// there yet (ENOENT, ECONNREFUSED) or its accept backlog of a few connections is full (EAGAIN) it tries again until
// ctx is done; a ctx that never ends waits for ever.
func Dial(ctx context.Context, socket string) (*Conn, error) {
	const first, longest = 2 * time.Millisecond, 100 * time.Millisecond
	var dialer net.Dialer
	for pause := first; ; pause = min(2*pause, longest) {
		sock, err := dialer.DialContext(ctx, "unix", socket)
		if err == nil {
			return newConn(sock), nil
		}
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("vici: %w", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("vici: %w: %w", err, ctx.Err())
		}
	}
}

func newConn(sock net.Conn) *Conn {
	c := &Conn{
		sock:       sock,
		now:        time.Now,
		turn:       make(chan struct{}, 1),
		queue:      newQueue[Event](),
		events:     make(chan Event, 64), // for a reader that takes in all that has come before it acts
		done:       make(chan struct{}),
		closed:     make(chan struct{}),
		subscribed: map[string]bool{},
	}
	go c.read()
	go c.deliver()
	return c
}

// Done is closed as soon as the socket is: by Close, by charon's end, or by a breach of the protocol. Err then tells why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the Conn is of no more use, nil while it is not Done. It wraps net.ErrClosed after Close, and io.EOF
// when charon closed the socket, which it does within milliseconds of its end, a crash included.
func (c *Conn) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close closes the socket and drops events that were not read. It returns after Done is closed.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.fail(net.ErrClosed)
	<-c.done
	return nil
}

// Writes counts the state-changing commands that were sent: every command but version, stats, list-* and get-*.
func (c *Conn) Writes() int64 { return c.writes.Load() }

// fail notes the first reason and closes the socket, which ends the reader.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		if closedByPeer(err) {
			err = fmt.Errorf("closed by charon: %w", io.EOF)
		}
		c.err = fmt.Errorf("vici connection: %w", err)
		c.sock.Close() // only ends the reader; nothing is left to be written
	}
}

// closedByPeer knows the ways to learn it: between packets, inside one, with requests unread, and by writing.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// read takes packets from the socket until it fails. It never waits for anybody else, so charon is never held up.
func (c *Conn) read() {
	defer close(c.done)
	r := bufio.NewReaderSize(c.sock, 64<<10)
	for {
		p, err := readPacket(r)
		if err == nil {
			err = c.dispatch(p)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *Conn) dispatch(p packet) error {
	switch p.kind {
	case cmdResponse, cmdUnknown, eventConfirm, eventUnknown:
		return c.dispatchReply(p)
	case eventPacket:
		return c.dispatchEvent(p)
	default:
		return fmt.Errorf("unexpected packet type %d", p.kind)
	}
}

func (c *Conn) dispatchEvent(p packet) error {
	m, err := Decode(p.body)
	if err != nil {
		return fmt.Errorf("event %s: %w", p.name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 {
		// Items of a streaming command come before its reply, and charon works on one command of a connection at a time.
		if x := c.pending[0]; x.event == p.name && !x.abandoned {
			x.items.push(m)
		}
	}
	if c.subscribed[p.name] {
		c.queue.push(Event{Name: p.name, Time: c.now(), Message: m})
	}
	return nil
}

func (c *Conn) dispatchReply(p packet) error {
	toCommand := p.kind == cmdResponse || p.kind == cmdUnknown
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) > 0 {
		x := c.pending[0]
		c.pending[0], c.pending = nil, c.pending[1:]
		if x.command == toCommand {
			x.reply <- p
			return nil
		}
		if !x.abandoned {
			break
		}
		// charon threw away its own reply (too long): this packet answers the fence behind it.
	}
	return fmt.Errorf("packet of type %d answers no request", p.kind)
}
