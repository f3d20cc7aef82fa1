package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLogTail reads a log as charon writes it: in pieces, and emptied in place by shorten.
func TestLogTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charon.log")
	if err := os.WriteFile(path, []byte("2026-11-23T07:57:41 00[LIB] before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tail, err := openLogTail(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.close()
	steps := []struct {
		written  string
		truncate bool
		want     string
	}{
		{"", false, ""},
		{"2026-11-23T07:57:41 07[IKE] <a-b|12> initiating IKE_SA a-b[12] to 198.51.100.40\n", false,
			"IKE a-b 12: initiating IKE_SA a-b[12] to 198.51.100.40"},
		{"2026-11-23T07:57:41 08[NET] <13> received packet: from 1.2.3.4[500]\n2026-11-23T07:57:42 00[CFG] hal", false,
			"NET  13: received packet: from 1.2.3.4[500]"},
		{"f\n", false, "CFG  : half"},
		{"2026-11-23T07:57:43 15[IKE] <x|1> peer '<y|2> 07[IKE] z'\nno line\n", true, "IKE x 1: peer '<y|2> 07[IKE] z'"},
	}
	for _, s := range steps {
		if s.truncate {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString(s.written)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if s.written != "" {
			select {
			case <-tail.changed:
			case <-time.After(5 * time.Second):
				t.Fatalf("nobody says that the log has changed after %q", s.written)
			}
		}
		events, err := tail.read(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			m := e.Message
			got = append(got, fmt.Sprintf("%s %s %s: %s", m.Get("group"), m.Get("ikesa-name"), m.Get("ikesa-uniqueid"), m.Get("msg")))
		}
		if text := strings.Join(got, "\n"); text != s.want {
			t.Errorf("after %q: read %q, want %q", s.written, text, s.want)
		}
	}
}

// TestLogTailIsBounded: a log that grows without an end is shortened as it grows, and loses no line to who reads along; nobody who
// reads too slowly lets it fill the memory that it lies in.
func TestLogTailIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charon.log")
	tail, err := openLogTail(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const burst, lines = 1000, 120_000 // 100 bytes each: three times what is kept
	next := 0
	for n := 0; n < lines; n += burst {
		var text strings.Builder
		for i := range burst {
			fmt.Fprintf(&text, "2026-11-23T07:57:41 07[IKE] <%d> %s\n", n+i+1, strings.Repeat("x", 60))
		}
		if _, err := f.WriteString(text.String()); err != nil {
			t.Fatal(err)
		}
		events, err := tail.read(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if next++; e.Message.Get("ikesa-uniqueid") != fmt.Sprint(next) {
				t.Fatalf("line %d came as %s", next, e.Message.Get("ikesa-uniqueid"))
			}
		}
		if size := fileSize(t, path); size > logMost {
			t.Fatalf("%d bytes are kept", size)
		}
	}
	if kept := fileSize(t, path+".old"); next != lines || kept != logMost/2 {
		t.Errorf("%d lines were read, %d bytes are kept of before", next, kept)
	}

	if _, err := f.WriteString(strings.Repeat("y", 2*logMost+1)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); fileSize(t, path) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes that nobody reads are kept", fileSize(t, path))
		}
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestLogTime: a line's time is when charon wrote it, and that of reading where the line does not tell or cannot be right.
func TestLogTime(t *testing.T) {
	now := time.Now()
	const layout, ms = "2006-01-02T15:04:05.000", time.Millisecond
	for _, tt := range []struct {
		what, text string
		age        time.Duration
	}{
		{"a moment ago", now.Add(-30 * ms).Format(layout), 30 * ms},
		{"just now", now.Format(layout), 0},
		{"without milliseconds", now.Add(-2 * time.Second).Format("2006-01-02T15:04:05"), 0},
		{"of the future", now.Add(time.Hour).Format(layout), 0},
		{"of a clock that was set meanwhile", now.Add(-time.Hour).Format(layout), 0},
	} {
		m, at := logLine([]byte(tt.text+" 07[IKE] <a-b|12> received AUTHENTICATION_FAILED notify error"), now)
		if m == nil {
			t.Fatalf("%s: no line: %s", tt.what, tt.text)
		}
		if age := now.Sub(at); age < 0 || age < tt.age-ms || age > tt.age+ms {
			t.Errorf("%s: a line of %s, read at %s, is %s old, want %s", tt.what, tt.text, now.Format(layout), age, tt.age)
		}
	}
}
