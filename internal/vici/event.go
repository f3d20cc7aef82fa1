package vici

import (
	"context"
	"fmt"
	"time"
)

// Event is one event of charon. Time is when it was read from the socket.
type Event struct {
	Name    string
	Time    time.Time
	Message *Message
}

// Subscribe registers for events by name, which come out of Events from now on. An event that is subscribed already is
// left alone (charon would send it twice). On an error the names before the failing one stay subscribed.
func (c *Conn) Subscribe(ctx context.Context, events ...string) error {
	release, err := c.acquire(ctx)
	if err != nil {
		return fmt.Errorf("vici subscribe: %w", err)
	}
	defer release()
	for _, event := range events {
		if c.isSubscribed(event) {
			continue
		}
		// Marked first: charon may send the event right behind its confirmation.
		c.setSubscribed(event, true)
		if err := c.register(ctx, event); err != nil {
			c.setSubscribed(event, false)
			return fmt.Errorf("vici subscribe %s: %w", event, err)
		}
	}
	return nil
}

// Events returns the subscribed events in the order of their arrival; it is the same channel each time. No event is
// dropped: those not read yet are kept in memory without bound, so a subscriber must read. The channel closes after the
// socket has closed and the events before that have been read, or at once by Close.
func (c *Conn) Events() <-chan Event { return c.events }

// deliver hands the queued events to the reader of Events.
func (c *Conn) deliver() {
	defer close(c.events)
	for {
		batch := c.queue.take()
		for _, e := range batch {
			select {
			case c.events <- e:
			case <-c.closed:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-c.queue.more:
		case <-c.done: // nothing is queued after this
			c.finish()
			return
		}
	}
}

// finish delivers what the socket's reader queued last.
func (c *Conn) finish() {
	for _, e := range c.queue.take() {
		select {
		case c.events <- e:
		case <-c.closed:
			return
		}
	}
}

func (c *Conn) isSubscribed(event string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscribed[event]
}

func (c *Conn) setSubscribed(event string, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if on {
		c.subscribed[event] = true
	} else {
		delete(c.subscribed, event)
	}
}
