package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"culvert/internal/vpn"
)

// journal keeps what happened, in order, until the server has it. Unlike reports, of which only the newest counts, nothing is
// left out, but for the oldest when there are too many. It is a file, so that what was seen before this process is killed is
// told by the next one. Its methods may be called from several goroutines.
type journal struct {
	log   *slog.Logger
	path  string
	noted chan struct{} // one slot

	mu      sync.Mutex
	queue   []vpn.Seen
	first   int64 // number of the queue's first event
	last    time.Time
	dropped int
	file    *os.File // nil until there is something to write
	lines   int      // in the file
}

const (
	maxJournal = 20_000 // events
	maxLines   = 2 * maxJournal
)

// openJournal reads what an earlier process left. A line that it did not finish is not there.
func openJournal(path string, log *slog.Logger) (*journal, error) {
	j := &journal{log: log, path: path, noted: make(chan struct{}, 1)}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("events: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var e vpn.Seen
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			j.add(e)
		}
	}
	if len(text) > 0 {
		j.rewrite()
		j.wake()
	}
	return j, nil
}

// note adds events of one moment. It makes times different and growing, so that sorting by time keeps the order.
func (j *journal) note(at time.Time, events ...vpn.Seen) {
	if len(events) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines bytes.Buffer
	for _, e := range events {
		if at = at.Truncate(time.Microsecond); !at.After(j.last) && j.last.Sub(at) < time.Second {
			at = j.last.Add(time.Microsecond)
		}
		j.last = at
		e.CreatedAt, e.ID = at.UTC().Format(apiTime), uuid.NewString()
		j.add(e)
		writeLine(&lines, e)
	}
	j.append(lines.Bytes(), len(events))
	j.wake()
}

// add needs mu.
func (j *journal) add(e vpn.Seen) {
	if len(j.queue) >= maxJournal {
		j.queue = j.queue[1:]
		j.first++
		j.dropped++
	}
	j.queue = append(j.queue, e)
}

func writeLine(to *bytes.Buffer, e vpn.Seen) {
	if line, err := json.Marshal(e); err == nil { // texts only: it cannot fail
		to.Write(append(line, '\n'))
	}
}

// append writes lines behind the others. A full disk costs what would be told after a restart, and nothing else.
func (j *journal) append(lines []byte, n int) {
	if (j.file == nil || j.lines+n > maxLines) && j.rewrite() || j.file == nil {
		return
	}
	if _, err := j.file.Write(lines); err != nil {
		j.log.Warn("events would be lost with this process", "error", err)
	}
	j.lines += n
}

// rewrite puts a file that holds the queue in the place of the last one. Until it is whole the last one stays.
func (j *journal) rewrite() bool {
	var text bytes.Buffer
	for _, e := range j.queue {
		writeLine(&text, e)
	}
	j.lines = len(j.queue) // also after a failure: every further event would meet it
	file, err := replace(j.path, text.Bytes())
	if err != nil {
		j.log.Warn("events are not kept over a restart, or would be told again", "error", err)
		return false
	}
	if j.file != nil {
		_ = j.file.Close() // it has no name any more
	}
	j.file = file
	return true
}

// replace makes a file with this content, on the disk, take the name of another one, and answers it open for more.
func replace(path string, content []byte) (*os.File, error) {
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path+".new"))
	}
	return file, nil
}

func (j *journal) wake() {
	select {
	case j.noted <- struct{}{}:
	default:
	}
}

func (j *journal) oldest(after int64, most int) (events []vpn.Seen, upTo int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := int(min(max(0, after-j.first), int64(len(j.queue))))
	to := min(from+most, len(j.queue))
	return append(events, j.queue[from:to]...), j.first + int64(to)
}

func (j *journal) forget(upTo int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dropped > 0 {
		j.log.Warn("too many events while the server was away: the oldest are lost", "events", j.dropped)
		j.dropped = 0
	}
	if n := min(upTo-j.first, int64(len(j.queue))); n > 0 {
		j.queue = append([]vpn.Seen(nil), j.queue[n:]...)
		j.first += n
	}
	if len(j.queue) > 0 || j.lines == 0 || j.file == nil {
		return
	}
	if err := j.file.Truncate(0); err != nil {
		j.log.Warn("events would be told again after a restart", "error", err)
		return
	}
	j.lines = 0
}

// clear drops everything: nobody will want it.
func (j *journal) clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.first += int64(len(j.queue))
	j.queue = nil
	if err := j.remove(); err != nil {
		j.log.Warn("events would be told again after a restart", "error", err)
	}
}

// remove takes the file away until there is something to write again. It needs mu.
func (j *journal) remove() (err error) {
	if j.file != nil {
		err = j.file.Close()
	}
	j.file, j.lines = nil, 0
	for _, path := range []string{j.path, j.path + ".new"} {
		if e := os.Remove(path); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// close leaves what is to be told to the next process.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 || j.file == nil {
		return j.remove()
	}
	return j.file.Close()
}

// Events are the oldest of what happened after the one with this number and is not forgotten yet, at most so many, and the
// number of the last.
func (g *Gateway) Events(after int64, most int) ([]vpn.Seen, int64) {
	return g.journal.oldest(after, most)
}

// Noted has an element when there may be events.
func (g *Gateway) Noted() <-chan struct{} { return g.journal.noted }

// Forget drops the events that the server has on its disk.
func (g *Gateway) Forget(upTo int64) { g.journal.forget(upTo) }
