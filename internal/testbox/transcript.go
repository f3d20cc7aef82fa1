package testbox

import (
	"strings"
	"sync"
)

// Transcript keeps what a process writes, and may be read while it does.
type Transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *Transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *Transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
