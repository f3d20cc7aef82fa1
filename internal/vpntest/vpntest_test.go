package vpntest

import (
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
)

func TestEverybodyIsWhoTheySay(t *testing.T) {
	s := Start(t, Options{})
	for name, project := range map[string]string{"member": s.Home, "reader": s.Home, "stranger": s.Away, "visitor": s.Away} {
		if c := s.As(name); c.Project != project || c.Token == "" {
			t.Errorf("%s is in project %q, want %q", name, c.Project, project)
		}
	}
	made, err := s.As("member").Create(t.Context(), "vpn/ikepolicies", "ikepolicy", client.Object{})
	if err != nil {
		t.Fatal(err)
	}
	if made["id"] != "00000000-0000-4000-8000-000000000001" || made["created_at"] != "2026-01-02 03:04:05.000000" {
		t.Errorf("not the test's own ids and clock: %v", made)
	}
	if status, _, err := s.As("reader").Do(t.Context(), "POST", "/v2.0/vpn/ikepolicies", client.Object{"ikepolicy": client.Object{}}); err != nil || status != 403 {
		t.Errorf("a reader's POST: %d %v", status, err)
	}
	if !strings.Contains(s.Log(), `"path":"/v2.0/vpn/ikepolicies"`) {
		t.Error("the log is not captured")
	}
}

func TestClock(t *testing.T) {
	var c Clock
	c.Advance(time.Second)
	if c.Now().Unix() != 1 {
		t.Error(c.Now())
	}
}

// recorder notes failures instead of failing.
type recorder struct {
	testing.TB
	failed []string
}

func (r *recorder) Errorf(format string, a ...any) { r.failed = append(r.failed, format) }

func TestLoggedSecretsAreFound(t *testing.T) {
	for text, want := range map[string]int{`{"msg":"x"}`: 0, `{"msg":"kT7\"wq"}`: 1, `kT7"wq`: 1, `{"stack":"goroutine"}`: 1} {
		j, r := &journal{}, &recorder{TB: t}
		j.secret(`kT7"wq`)
		if _, err := j.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if j.check(r); len(r.failed) != want {
			t.Errorf("%s: %d failures, want %d", text, len(r.failed), want)
		}
	}
}
