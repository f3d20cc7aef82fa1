package gateway

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/vpn"
)

func summaries(events []vpn.Seen) (out []string) {
	for _, e := range events {
		out = append(out, e.Summary)
	}
	return out
}

func openTestJournal(t *testing.T, path string) *journal {
	t.Helper()
	j, err := openJournal(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func happened(text string) vpn.Seen { return vpn.Seen{Event: vpn.Event{Summary: text}} }

// What is not forgotten is told again, in order, also by the next process.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	j := openTestJournal(t, path)
	if _, err := os.Stat(path); err == nil {
		t.Error("a journal without events has a file")
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, text := range []string{"a", "b", "c"} {
		j.note(now, happened(text))
	}
	got, upTo := j.oldest(0, 2)
	if d := cmp.Diff([]string{"a", "b"}, summaries(got)); d != "" {
		t.Fatal(d)
	}
	if got[0].CreatedAt != "2026-01-02 03:04:05.000000" || got[1].CreatedAt != "2026-01-02 03:04:05.000001" || got[0].ID == got[1].ID {
		t.Errorf("times and ids: %+v", got)
	}
	j.forget(upTo)
	j.forget(upTo) // again is no work
	j.note(now.Add(time.Second), happened("d"))
	// Killed: the file is as it is, with half a line at its end.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":"half`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	next := openTestJournal(t, path)
	select {
	case <-next.noted:
	default:
		t.Error("nobody is told of the events that were left")
	}
	again, upTo := next.oldest(0, 9) // what was forgotten may come again, under its id
	if d := cmp.Diff([]string{"a", "b", "c", "d"}, summaries(again)); d != "" || again[0].ID != got[0].ID {
		t.Fatal(d)
	}
	next.forget(upTo)
	if text, err := os.ReadFile(path); err != nil || len(text) > 0 {
		t.Errorf("the file after everything is told: %q %v", text, err)
	}
	next.note(now, happened("e"))
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("the file with one event more: %q %v", text, err)
	}
	_, upTo = next.oldest(0, 9)
	next.forget(upTo)
	if err := next.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a journal that has told everything leaves a file")
	}
}

// A file that cannot be replaced, as on a full disk, stays as it is, and is written on.
func TestJournalKeepsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	j := openTestJournal(t, path)
	j.note(time.Now(), happened("a"))
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	j.lines = maxLines // the next one makes it too long
	j.note(time.Now(), happened("b"))
	got, _ := openTestJournal(t, path).oldest(0, 9)
	if d := cmp.Diff([]string{"a", "b"}, summaries(got)); d != "" {
		t.Error(d)
	}
	// Nor is it touched while another one is written in its place: a kill in between leaves one of them.
	if err := os.Remove(path + ".new"); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	openTestJournal(t, path)
	if text, err := io.ReadAll(old); err != nil || strings.Count(string(text), "\n") != 2 {
		t.Errorf("the file that was replaced: %q, %v", text, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("files beside it: %v, %v", entries, err)
	}
}

// The oldest go when there are too many, in memory and in the file.
func TestJournalIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	j := openTestJournal(t, path)
	for range maxLines + 5 {
		j.note(time.Now(), happened("x"))
	}
	got, upTo := j.oldest(0, maxLines)
	if len(got) != maxJournal || upTo != maxLines+5 || j.lines > maxLines {
		t.Errorf("%d events up to %d, %d lines", len(got), upTo, j.lines)
	}
	for range 10 {
		j.note(time.Now(), happened("later"))
	}
	j.forget(upTo) // of a call that began before
	if left, _ := j.oldest(0, 99); len(left) != 10 || left[0].Summary != "later" {
		t.Errorf("left: %q", summaries(left))
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
}

// A connection's states, as its timeline tells them.
func TestTell(t *testing.T) {
	now := time.Now()
	c := &connection{}
	step := func(looked bool, state string, why *vpn.Reason) string {
		now = now.Add(time.Second)
		c.state, c.reason = state, why
		e, ok := c.tell(looked, now)
		if !ok {
			return ""
		}
		text := e.Type + " " + *e.Status
		if e.StatusReason != nil {
			text += " " + e.StatusReason.Code
		}
		if e.First {
			text += " first"
		}
		return text
	}
	begin, psk, ts, dead := connecting(), pskMismatch.Reason, reason("ts_narrowed", "", "", "", ""), charonDied()
	for i, s := range []struct {
		looked bool
		state  string
		why    *vpn.Reason
		want   string
	}{
		{true, vpn.StateDown, &begin, ""}, // of a new one: no news
		{true, vpn.StateDown, &psk, "reason DOWN psk_mismatch"},
		{true, vpn.StateDown, &psk, ""},
		{true, vpn.StateDown, &dead, "reason DOWN charon_died"},
		{true, vpn.StateDown, &psk, ""}, // by turns
		{true, vpn.StateDown, &begin, ""},
		{true, vpn.StateDown, &psk, "reason DOWN psk_mismatch"}, // after an edit
		{true, vpn.StateUp, nil, "up ACTIVE"},
		{true, vpn.StateUp, &ts, "reason ACTIVE ts_narrowed"},
		{true, vpn.StateUp, nil, "reason ACTIVE"},
		{true, vpn.StateDown, &begin, "down DOWN connecting"},
		{true, vpn.StateUp, nil, "up ACTIVE"},
		{true, vpn.StateError, &psk, "down ERROR psk_mismatch"},
	} {
		if got := step(s.looked, s.state, s.why); got != s.want {
			t.Errorf("step %d: %q, want %q", i, got, s.want)
		}
	}
	c = &connection{adopted: true}
	if got := step(false, vpn.StateDown, &begin); got != "" {
		t.Errorf("before anybody looked: %q", got)
	}
	if got := step(true, vpn.StateUp, nil); got != "up ACTIVE first" {
		t.Errorf("adopted: %q", got)
	}
}
