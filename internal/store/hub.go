package store

import "sync"

// hub wakes those who wait for a revision.
type hub struct {
	mu     sync.Mutex
	newest int64
	wake   chan struct{}
	lost   chan struct{}
	closed bool
}

func newHub() *hub { return &hub{wake: make(chan struct{}), lost: make(chan struct{})} }

// loss returns a channel that is closed when observations may have been lost.
func (h *hub) loss() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// lose says that observations may have been lost.
func (h *hub) lose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.lost)
	h.lost = make(chan struct{})
}

// changed returns a channel that is closed once a revision after rev is known.
func (h *hub) changed(rev int64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newest > rev && !h.closed {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	return h.wake
}

// advance makes rev known.
func (h *hub) advance(rev int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if rev > h.newest {
		h.newest = rev
		h.broadcast()
	}
}

// wakeAll wakes everybody: for when revisions may have been missed.
func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broadcast()
}

func (h *hub) broadcast() {
	if h.closed {
		return
	}
	close(h.wake)
	h.wake = make(chan struct{})
}

// close wakes everybody for ever.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.wake)
	}
}
