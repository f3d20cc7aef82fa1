package vici

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// CommandError says that charon refused a command, in its own words.
type CommandError struct {
	Command string
	Message string
}

func (e *CommandError) Error() string { return fmt.Sprintf("vici %s: %s", e.Command, e.Message) }

// fence is an event that no charon has. To unregister it changes nothing, but the answer is of another type than that
// of a command, so it shows whether the command before it will still be answered.
const fence = "fence"

// writeTimeout ends an attempt to write to a charon that does not read, and the Conn with it, as a part may be written.
// It is not cut short by a context, for the same reason.
const writeTimeout = 5 * time.Second

// exchange is one request and what comes back for it.
type exchange struct {
	command   bool   // answered by CMD_*, otherwise by EVENT_*
	event     string // items of this event belong to the exchange; "" for none
	items     *queue[*Message]
	reply     chan packet // one slot
	abandoned bool        // nobody waits any more; guarded by Conn.mu
}

func newExchange(command bool, event string) *exchange {
	return &exchange{command: command, event: event, items: newQueue[*Message](), reply: make(chan packet, 1)}
}

// Call sends one command and returns charon's reply; a nil in is an empty message. A reply with success=no, and a
// command that charon does not know, is a *CommandError (with the reply beside it, where there is one).
//
// When ctx ends first the error wraps ctx.Err(). The Conn stays usable: the late reply is thrown away. But charon may
// still carry out the command, and works on the next one of this Conn only after it. charon itself throws away a reply
// above 512 KiB (get-conns, from about 13,000 names of 36 bytes): the call then ends with ctx only.
func (c *Conn) Call(ctx context.Context, command string, in *Message) (*Message, error) {
	release, err := c.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("vici %s: %w", command, err)
	}
	defer release()
	x := newExchange(true, "")
	reply, err := c.request(ctx, x, command, in, nil)
	c.forgetIf(c.isAbandoned(x), fence)
	return reply, err
}

// Stream sends a command whose items come as events, as list-conns does with list-conn, and hands each item to each, in
// order, before it returns. Errors are those of Call, or the first one of each, which ends the stream; the Conn stays
// usable. each runs in the caller's goroutine and may not use the Conn. Where event is subscribed too, the items also
// come out of Events.
func (c *Conn) Stream(ctx context.Context, command, event string, in *Message, each func(*Message) error) error {
	release, err := c.acquire(ctx)
	if err != nil {
		return fmt.Errorf("vici %s: %w", command, err)
	}
	defer release()
	registered := !c.isSubscribed(event)
	if registered {
		if err := c.register(ctx, event); err != nil {
			return fmt.Errorf("vici %s: event %s: %w", command, event, err)
		}
	}
	x := newExchange(true, event)
	_, err = c.request(ctx, x, command, in, each)
	if registered {
		c.forgetIf(true, event)
	} else {
		c.forgetIf(c.isAbandoned(x), fence)
	}
	return err
}

// request needs the turn. When it gives up on x it marks it as abandoned; the caller then sends an EVENT_UNREGISTER.
func (c *Conn) request(ctx context.Context, x *exchange, command string, in *Message, each func(*Message) error) (*Message, error) {
	body, err := in.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("vici %s: %w", command, err)
	}
	p, err := c.exchange(ctx, x, packet{kind: cmdRequest, name: command, body: body}, each)
	if err != nil {
		return nil, fmt.Errorf("vici %s: %w", command, err)
	}
	if p.kind == cmdUnknown {
		return nil, &CommandError{Command: command, Message: "unknown command"}
	}
	reply, err := Decode(p.body)
	if err != nil {
		return nil, fmt.Errorf("vici %s: %w", command, err)
	}
	if reply.Get("success") == "no" {
		return reply, &CommandError{Command: command, Message: reply.Get("errmsg")}
	}
	return reply, nil
}

// register needs the turn.
func (c *Conn) register(ctx context.Context, event string) error {
	x := newExchange(false, "")
	p, err := c.exchange(ctx, x, packet{kind: eventRegister, name: event}, nil)
	c.forgetIf(c.isAbandoned(x), event)
	if err == nil && p.kind == eventUnknown {
		return errors.New("charon has no such event")
	}
	return err
}

// exchange sends a request and waits for its reply, handing items to each on the way.
func (c *Conn) exchange(ctx context.Context, x *exchange, p packet, each func(*Message) error) (packet, error) {
	if err := c.send(x, p); err != nil {
		return packet{}, err
	}
	for {
		select {
		case <-x.items.more:
			if err := x.handItems(each); err != nil {
				c.abandon(x)
				return packet{}, err
			}
		case reply := <-x.reply:
			return reply, x.handItems(each)
		case <-ctx.Done():
			c.abandon(x)
			return packet{}, ctx.Err()
		case <-c.done:
			select {
			case reply := <-x.reply: // it came just before the end
				return reply, x.handItems(each)
			default:
				return packet{}, c.Err()
			}
		}
	}
}

func (x *exchange) handItems(each func(*Message) error) error {
	for _, item := range x.items.take() {
		if err := each(item); err != nil {
			return err
		}
	}
	return nil
}

// send needs the turn. An error leaves either nothing sent or the Conn closed.
func (c *Conn) send(x *exchange, p packet) error {
	b, err := p.marshal()
	if err != nil {
		return err
	}
	if p.kind == cmdRequest && changesState(p.name) {
		c.writes.Add(1)
	}
	c.mu.Lock()
	c.pending = append(c.pending, x)
	c.mu.Unlock()
	if err = c.sock.SetWriteDeadline(time.Now().Add(writeTimeout)); err == nil {
		_, err = c.sock.Write(b)
	}
	if err != nil {
		c.fail(fmt.Errorf("write: %w", err))
		<-c.done
		return c.Err()
	}
	return nil
}

// forgetIf unregisters an event without waiting for the answer. It needs the turn. A failure closes the Conn, which
// the next call reports.
func (c *Conn) forgetIf(wanted bool, event string) {
	if !wanted {
		return
	}
	x := newExchange(false, "")
	x.abandoned = true
	_ = c.send(x, packet{kind: eventUnregister, name: event})
}

func (c *Conn) abandon(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.abandoned = true
}

func (c *Conn) isAbandoned(x *exchange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return x.abandoned
}

// acquire waits for the turn to use the socket.
func (c *Conn) acquire(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-c.done:
		return nil, c.Err()
	default:
	}
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, c.Err()
	}
}

func changesState(command string) bool {
	reads := command == "version" || command == "stats" || strings.HasPrefix(command, "list-") || strings.HasPrefix(command, "get-")
	return !reads
}
