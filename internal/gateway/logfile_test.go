package gateway

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestShortenKeepsTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charon.log")
	charon, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer charon.Close()
	write := func(b []byte) {
		if _, err := charon.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write(bytes.Repeat([]byte("a"), 60))
	if err := shorten(path, 100); err != nil || len(read(path)) != 60 {
		t.Fatalf("a short log was touched: %v", err)
	}
	write(bytes.Repeat([]byte("b"), 60))
	if err := shorten(path, 100); err != nil {
		t.Fatal(err)
	}
	write([]byte("next"))
	if got := read(path); got != "next" {
		t.Errorf("the log holds %q", got)
	}
	if got := read(path + ".old"); got != string(bytes.Repeat([]byte("b"), 50)) {
		t.Errorf("the old log holds %q", got)
	}
	if err := shorten(path+".missing", 1); err != nil {
		t.Error(err)
	}
}
