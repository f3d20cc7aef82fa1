package vici_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vici/vicitest"
)

var updateCorpus = flag.Bool("update-corpus", false, "write what charon answers to the seeds of FuzzDecode")

// charon's own bytes must come back byte for byte, and are the seeds of FuzzDecode.
func TestRealBytes(t *testing.T) {
	ctx := within(t)
	charon := vicitest.Start(t, vicitest.Options{})
	conn := dial(t, ctx, charon)
	load(t, ctx, conn, "seed")
	initiate := vici.NewMessage().Set("ike", "seed").Set("child", "net").Set("timeout", "-1")
	if _, err := conn.Call(ctx, "initiate", initiate); err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]struct{ command, event string }{
		"stats":          {"stats", ""},
		"get-algorithms": {"get-algorithms", ""},
		"get-conns":      {"get-conns", ""},
		"refused":        {"load-shared", ""},
		"list-conn":      {"list-conns", "list-conn"},
		"list-sa":        {"list-sas", "list-sa"},
	} {
		t.Run(name, func(t *testing.T) {
			wire := rawReply(t, charon.Socket, request.command, request.event)
			m, err := vici.Decode(wire)
			if err != nil {
				t.Fatal(err)
			}
			again, err := m.MarshalBinary()
			if err != nil || !bytes.Equal(again, wire) {
				t.Errorf("%q became %q, %v", wire, again, err)
			}
			if len(m.Keys()) == 0 {
				t.Errorf("%s answered nothing", request.command)
			}
			if *updateCorpus {
				writeSeed(t, name, wire)
			}
		})
	}
}

// rawReply talks to charon without the package's own framing. It returns the message of the reply, or of the first
// event where an event is named.
func rawReply(t *testing.T, socket, command, event string) []byte {
	t.Helper()
	sock, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	sock.SetDeadline(time.Now().Add(patience))
	if event != "" {
		if confirm := rawExchange(t, sock, 3, event); confirm[0] != 5 {
			t.Fatalf("register %s: packet type %d", event, confirm[0])
		}
	}
	reply := rawExchange(t, sock, 0, command)
	switch {
	case event == "" && reply[0] == 1:
		return reply[1:]
	case event != "" && reply[0] == 7 && string(reply[2:2+reply[1]]) == event:
		return reply[2+reply[1]:]
	}
	t.Fatalf("%s: packet type %d", command, reply[0])
	return nil
}

func rawExchange(t *testing.T, sock net.Conn, kind byte, name string) []byte {
	t.Helper()
	request := binary.BigEndian.AppendUint32(nil, uint32(2+len(name)))
	request = append(append(request, kind, byte(len(name))), name...)
	if _, err := sock.Write(request); err != nil {
		t.Fatal(err)
	}
	var header [4]byte
	if _, err := io.ReadFull(sock, header[:]); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, binary.BigEndian.Uint32(header[:]))
	if _, err := io.ReadFull(sock, reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func writeSeed(t *testing.T, name string, wire []byte) {
	t.Helper()
	dir := filepath.Join("testdata", "fuzz", "FuzzDecode")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", wire)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
