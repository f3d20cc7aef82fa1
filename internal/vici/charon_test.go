package vici_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vici/vicitest"
)

// unreachable is a peer that never answers (RFC 5737); the test namespaces have no route to it.
const unreachable = "192.0.2.1"

const patience = 30 * time.Second // bounds what would otherwise hang; nothing here takes a tenth of it

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, ctx context.Context, c *vicitest.Charon) *vici.Conn {
	t.Helper()
	conn, err := vici.Dial(ctx, c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// connection is the smallest one that charon accepts: a PSK on both sides and one CHILD_SA, never started by itself.
func connection(name, remote string) *vici.Message {
	psk := func() *vici.Message { return vici.NewMessage().Set("auth", "psk") }
	child := vici.NewMessage().SetList("local_ts", "10.1.0.0/24").SetList("remote_ts", "10.2.0.0/24").Set("start_action", "none")
	return vici.NewMessage().SetSection(name, vici.NewMessage().
		Set("version", "2").
		SetList("local_addrs", "127.0.0.1").
		SetList("remote_addrs", remote).
		SetSection("local", psk()).
		SetSection("remote", psk()).
		SetSection("children", vici.NewMessage().SetSection("net", child)))
}

func load(t *testing.T, ctx context.Context, conn *vici.Conn, name string) {
	t.Helper()
	if _, err := conn.Call(ctx, "load-conn", connection(name, unreachable)); err != nil {
		t.Fatal(err)
	}
}

func checkUsable(t *testing.T, ctx context.Context, conn *vici.Conn) {
	t.Helper()
	reply, err := conn.Call(ctx, "version", nil)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Get("daemon") != "charon-systemd" {
		t.Fatalf("version answered:\n%s", reply)
	}
}

// streamNames returns the connections that list-conns streams, in order.
func streamNames(t *testing.T, ctx context.Context, conn *vici.Conn) []string {
	t.Helper()
	var names []string
	err := conn.Stream(ctx, "list-conns", "list-conn", nil, func(m *vici.Message) error {
		names = append(names, m.Keys()...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestCall(t *testing.T) {
	ctx := within(t)
	conn := dial(t, ctx, vicitest.Start(t, vicitest.Options{}))
	checkUsable(t, ctx, conn)

	var refused *vici.CommandError
	_, err := conn.Call(ctx, "no-such-command", nil)
	if !errors.As(err, &refused) || refused.Command != "no-such-command" {
		t.Errorf("unknown command: %v", err)
	}
	bad := vici.NewMessage().SetSection("c", vici.NewMessage().Set("no_such_option", "x"))
	reply, err := conn.Call(ctx, "load-conn", bad)
	if !errors.As(err, &refused) || !strings.Contains(refused.Message, "no_such_option") || reply.Get("success") != "no" {
		t.Errorf("refused load-conn: %v, reply %v", err, reply)
	}
	if err := conn.Subscribe(ctx, "no-such-event"); err == nil {
		t.Error("subscribed to an event that charon has not")
	}
	tooLong := vici.NewMessage()
	for i := range 9 {
		tooLong.Set(fmt.Sprint(i), strings.Repeat("x", 65535))
	}
	if _, err := conn.Call(ctx, "load-conn", tooLong); err == nil {
		t.Error("sent a packet above charon's limit")
	}
	checkUsable(t, ctx, conn)
	if got := conn.Writes(); got != 2 { // no-such-command might have been one
		t.Errorf("Writes() = %d, want 2", got)
	}
}

func TestStreamOf500(t *testing.T) {
	ctx := within(t)
	conn := dial(t, ctx, vicitest.Start(t, vicitest.Options{}))
	const count = 500
	want := map[string]bool{}
	for i := range count {
		name := fmt.Sprintf("conn-%03d", i)
		load(t, ctx, conn, name)
		want[name] = true
	}
	if got := conn.Writes(); got != count {
		t.Errorf("Writes() = %d after %d load-conn", got, count)
	}
	checkAll := func() {
		t.Helper()
		names := streamNames(t, ctx, conn)
		seen := map[string]bool{}
		for _, name := range names {
			if !want[name] || seen[name] {
				t.Fatalf("streamed %q, unknown or twice", name)
			}
			seen[name] = true
		}
		if len(names) != count {
			t.Fatalf("streamed %d connections, want %d", len(names), count)
		}
	}
	checkAll()

	// A stream given up half way leaves nothing behind for the next one.
	stop := errors.New("enough")
	items := 0
	err := conn.Stream(ctx, "list-conns", "list-conn", nil, func(*vici.Message) error {
		if items++; items == 10 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || items != 10 {
		t.Errorf("stream stopped by its reader: %v after %d items", err, items)
	}
	checkAll()
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	err = conn.Stream(cancelled, "list-conns", "list-conn", nil, func(*vici.Message) error {
		cancel()
		<-cancelled.Done()
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled stream: %v", err)
	}
	checkAll()
	if got := conn.Writes(); got != count {
		t.Errorf("Writes() = %d after reading, want %d", got, count)
	}
}

// Every load-conn makes charon log one line. Nobody reads the events until all 2000 are sent.
func TestEventBurst(t *testing.T) {
	ctx := within(t)
	charon := vicitest.Start(t, vicitest.Options{})
	listener, writer := dial(t, ctx, charon), dial(t, ctx, charon)
	for range 2 { // the second time must not register twice
		if err := listener.Subscribe(ctx, "log"); err != nil {
			t.Fatal(err)
		}
	}
	const count = 2000
	for i := range count {
		load(t, ctx, writer, fmt.Sprintf("burst-%04d", i))
	}
	checkUsable(t, ctx, listener) // calls go on while events wait
	arrived := map[string]bool{}  // charon raises log events from several threads, so their order is not the log's
	for len(arrived) < count {
		select {
		case e := <-listener.Events():
			msg := e.Message.Get("msg")
			if e.Name != "log" || e.Time.IsZero() || !strings.HasPrefix(msg, "added vici connection: burst-") || arrived[msg] {
				t.Fatalf("event %d is %s\n%s", len(arrived), e.Name, e.Message)
			}
			arrived[msg] = true
		case <-ctx.Done():
			t.Fatalf("%d of %d events arrived", len(arrived), count)
		}
	}
}

// An initiate that waits for a dead peer holds the connection's queue in charon; its late reply must not be taken for
// that of the next call.
func TestCancelledCall(t *testing.T) {
	ctx := within(t)
	conn := dial(t, ctx, vicitest.Start(t, vicitest.Options{}))
	load(t, ctx, conn, "dead")
	before := conn.Writes()
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error)
	go func() {
		_, err := conn.Call(cancelled, "initiate", vici.NewMessage().Set("ike", "dead").Set("child", "net").Set("timeout", "1000"))
		result <- err
	}()
	for conn.Writes() == before {
		if ctx.Err() != nil {
			t.Fatal("initiate was never sent")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled initiate: %v", err)
	}
	checkUsable(t, ctx, conn)
	if names := streamNames(t, ctx, conn); len(names) != 1 || names[0] != "dead" {
		t.Errorf("streamed %v", names)
	}
	if _, err := conn.Call(cancelled, "version", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("call with an ended context: %v", err)
	}
}

// charon throws away a reply above 512 KiB without a word. The call ends with its context, and the Conn stays in step.
func TestReplyThatNeverComes(t *testing.T) {
	ctx := within(t)
	conn := dial(t, ctx, vicitest.Start(t, vicitest.Options{}))
	for i := range 2150 { // each name takes 3+245 bytes of get-conns' reply
		load(t, ctx, conn, fmt.Sprintf("%0245d", i))
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := conn.Call(short, "get-conns", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("get-conns with too long a reply: %v", err)
	}
	checkUsable(t, ctx, conn)
	if names := streamNames(t, ctx, conn); len(names) != 2150 {
		t.Errorf("streamed %d connections, want 2150", len(names))
	}
}

func TestCharonEnds(t *testing.T) {
	for name, end := range map[string]func(*vicitest.Charon){"in order": (*vicitest.Charon).Stop, "crash": (*vicitest.Charon).Kill} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t)
			charon := vicitest.Start(t, vicitest.Options{})
			conn := dial(t, ctx, charon)
			if err := conn.Subscribe(ctx, "log"); err != nil {
				t.Fatal(err)
			}
			const count = 20
			for i := range count { // each logs a line, before its reply or soon after it
				load(t, ctx, conn, fmt.Sprint(i))
			}
			first := <-conn.Events()
			if conn.Err() != nil {
				t.Errorf("Err() = %v while usable", conn.Err())
			}
			end(charon)
			soon, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			select {
			case <-conn.Done():
			case <-soon.Done():
				t.Fatal("Done not closed")
			}
			events := []vici.Event{first}
			for open := true; open; { // what came before the end can still be read
				select {
				case e, more := <-conn.Events():
					if open = more; more {
						events = append(events, e)
					}
				case <-soon.Done():
					t.Fatal("Events not closed")
				}
			}
			if name == "in order" && len(events) < count {
				t.Errorf("%d events, want %d at least", len(events), count)
			}
			if !errors.Is(conn.Err(), io.EOF) {
				t.Errorf("Err() = %v, want io.EOF in it", conn.Err())
			}
			if _, err := conn.Call(ctx, "version", nil); !errors.Is(err, io.EOF) {
				t.Errorf("call: %v", err)
			}
		})
	}
}

func TestClose(t *testing.T) {
	ctx := within(t)
	charon := vicitest.Start(t, vicitest.Options{})
	conn := dial(t, ctx, charon)
	if err := conn.Subscribe(ctx, "log"); err != nil {
		t.Fatal(err)
	}
	load(t, ctx, conn, "unread") // its log event is never read
	for range 2 {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	for range conn.Events() { // ends, after one event at most
	}
	if err := conn.Subscribe(ctx, "ike-updown"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Subscribe after Close: %v", err)
	}
}

func TestDialWaits(t *testing.T) {
	ctx := within(t)
	charon := vicitest.Start(t, vicitest.Options{})
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := vici.Dial(short, charon.Socket+"-none"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no socket: %v", err)
	}
	// Far more connects at once than the accept backlog holds.
	results := make(chan error)
	const count = 60
	for range count {
		go func() {
			conn, err := vici.Dial(ctx, charon.Socket)
			if err == nil {
				_, err = conn.Call(ctx, "version", nil)
				conn.Close()
			}
			results <- err
		}()
	}
	for range count {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestStreamOfASubscribedEvent(t *testing.T) {
	ctx := within(t)
	conn := dial(t, ctx, vicitest.Start(t, vicitest.Options{}))
	load(t, ctx, conn, "both")
	if err := conn.Subscribe(ctx, "list-conn"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first stream must not end the subscription
		if names := streamNames(t, ctx, conn); len(names) != 1 || names[0] != "both" {
			t.Errorf("streamed %v", names)
		}
		select {
		case e := <-conn.Events():
			if e.Name != "list-conn" || e.Message.Section("both") == nil {
				t.Errorf("event %s\n%s", e.Name, e.Message)
			}
		case <-ctx.Done():
			t.Fatal("no event")
		}
	}
}
