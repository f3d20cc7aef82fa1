package vici_test

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/vici"
)

// What charon never sends must end the Conn with a reason, not hang or grow it. Bytes from a hostile peer, as they are.
func TestBrokenProtocol(t *testing.T) {
	for name, c := range map[string]struct{ bytes, reason string }{
		"endless packet":     {"\xff\xff\xff\xff", "packet of 4294967295 bytes"},
		"just too long":      {"\x00\x08\x00\x01", "packet of 524289 bytes"},
		"empty packet":       {"\x00\x00\x00\x00", "packet of 0 bytes"},
		"request to us":      {"\x00\x00\x00\x03\x00\x01x", "unexpected packet type 0"},
		"unknown type":       {"\x00\x00\x00\x01\x08", "unexpected packet type 8"},
		"event without name": {"\x00\x00\x00\x02\x07\x00", "without a whole name"},
		"event name cut":     {"\x00\x00\x00\x03\x07\x02x", "without a whole name"},
		"event ill-nested":   {"\x00\x00\x00\x04\x07\x01x\x02", "ill-nested"},
		"reply to nothing":   {"\x00\x00\x00\x01\x01", "answers no request"},
		"cut":                {"\x00\x00\x00\x09\x07", "closed by charon"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t)
			conn, err := vici.Dial(ctx, serve(t, c.bytes))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			select {
			case <-conn.Done():
			case <-ctx.Done():
				t.Fatal("Done not closed")
			}
			if err := conn.Err(); err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("Err() = %v, want %q in it", err, c.reason)
			}
			if e, open := <-conn.Events(); open {
				t.Errorf("event %v", e)
			}
		})
	}
}

// A confirmation in the place of a command's reply is out of step.
func TestReplyOfTheWrongType(t *testing.T) {
	ctx := within(t)
	conn, err := vici.Dial(ctx, serveAfter(t, 4+2+len("version"), "\x00\x00\x00\x01\x05"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Call(ctx, "version", nil); err == nil || !strings.Contains(err.Error(), "answers no request") {
		t.Errorf("call: %v", err)
	}
}

// serve answers one connection with bytes and closes it.
func serve(t *testing.T, bytes string) (socket string) { return serveAfter(t, 0, bytes) }

func serveAfter(t *testing.T, requestLen int, bytes string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		sock, err := listener.Accept()
		if err != nil {
			return
		}
		defer sock.Close()
		io.CopyN(io.Discard, sock, int64(requestLen))
		io.WriteString(sock, bytes)
	}()
	return socket
}
