package vici

import "sync"

// queue is an unbounded FIFO between the socket's reader, which may never wait, and one consumer.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	more  chan struct{} // holds a token whenever items came since the last take
}

func newQueue[T any]() *queue[T] { return &queue[T]{more: make(chan struct{}, 1)} }

func (q *queue[T]) push(item T) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take removes and returns everything queued.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}
