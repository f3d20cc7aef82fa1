package vpntest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
)

// journal is the server's log, and what must not be in it.
type journal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	secrets map[string]bool
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) secret(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.secrets == nil {
		j.secrets = map[string]bool{}
	}
	j.secrets[text] = true
}

// check fails the test for every secret in the log, plain or as it looks inside of JSON, and for a panic.
func (j *journal) check(t testing.TB) {
	text := j.String()
	j.mu.Lock()
	defer j.mu.Unlock()
	for s := range j.secrets {
		quoted, _ := json.Marshal(s)
		if strings.Contains(text, s) || strings.Contains(text, strings.Trim(string(quoted), `"`)) {
			t.Errorf("the server logged a secret that begins with %.3s", s)
		}
	}
	if i := strings.Index(text, `"stack":`); i >= 0 {
		t.Errorf("the server panicked: %s", text[max(0, i-500):min(len(text), i+3000)])
	}
}
