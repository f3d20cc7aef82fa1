package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/vici"
)

// logTail reads what charon appends to its log from now on. charon would send the same lines as VICI events; but then it
// stops in the middle of a handshake to write some forty messages, and we to read them, which costs a tunnel 2 to 4 ms. The
// file is read in one go, a little later, and always before an event of an SA is taken in: charon writes its log first.
type logTail struct {
	file    *os.File
	watch   *os.File // inotify
	at      int64    // read up to here
	rest    []byte   // of a line that is not yet whole
	changed chan struct{}
}

// logPause is how long lines may wait to be read together with those that follow them.
const logPause = 30 * time.Millisecond

// openLogTail begins at the end of the file, which is made where charon has not yet.
func openLogTail(path string) (*logTail, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("charon's log: %w", err)
	}
	t := &logTail{file: file, changed: make(chan struct{}, 1)}
	if t.at, err = file.Seek(0, io.SeekEnd); err == nil {
		err = t.follow(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("charon's log: %w", err), file.Close())
	}
	return t, nil
}

// follow signals changed after the file has grown, until close. Of a flood that nobody reads fast enough the oldest goes unread:
// the file lies in memory.
func (t *logTail) follow(path string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	t.watch = os.NewFile(uintptr(fd), "inotify")
	go func() {
		buffer := make([]byte, 4096)
		for {
			if _, err := t.watch.Read(buffer); err != nil {
				return
			}
			time.Sleep(logPause)
			if info, err := os.Stat(path); err == nil && info.Size() > 2*logMost {
				_ = shorten(path, logMost) // keepLogsShort meets the same error, and says so
			}
			select {
			case t.changed <- struct{}{}:
			default:
			}
		}
	}()
	return nil
}

func (t *logTail) close() error { return errors.Join(t.watch.Close(), t.file.Close()) }

// read answers the lines that have come, in the form of VICI's log events: Time is when charon wrote them. A file that has outgrown logMost is emptied as
// shorten does, but for lines that were not read.
func (t *logTail) read(now time.Time) ([]vici.Event, error) {
	out, err := t.lines(now)
	if err != nil || t.at <= logMost {
		return out, err
	}
	old, err := io.ReadAll(io.NewSectionReader(t.file, t.at-logMost/2, logMost/2))
	if err == nil {
		err = writeFile(t.file.Name()+".old", old)
	}
	if err != nil {
		return out, fmt.Errorf("charon's log: %w", err)
	}
	more, err := t.lines(now) // what has come meanwhile
	if err == nil {
		err = t.file.Truncate(0)
	}
	if t.at = 0; err != nil {
		err = fmt.Errorf("charon's log: %w", err)
	}
	return append(out, more...), err
}

// lines reads what is behind the last line that was read.
func (t *logTail) lines(now time.Time) ([]vici.Event, error) {
	if info, err := t.file.Stat(); err == nil && info.Size() < t.at { // it was shortened
		t.at, t.rest = 0, nil
	}
	text, err := io.ReadAll(io.NewSectionReader(t.file, t.at, logMost))
	if err != nil {
		return nil, fmt.Errorf("charon's log: %w", err)
	}
	t.at += int64(len(text))
	text = append(t.rest, text...)
	end := bytes.LastIndexByte(text, '\n') + 1
	t.rest = bytes.Clone(text[end:])
	var out []vici.Event
	for line := range bytes.Lines(text[:end]) {
		if m, at := logLine(bytes.TrimRight(line, "\n"), now); m != nil {
			out = append(out, vici.Event{Name: "log", Message: m, Time: at})
		}
	}
	return out, nil
}

// logged is a line as charonConf asks for it: time, thread[group], <connection|IKE_SA> or <IKE_SA> where there is one, text.
var logged = regexp.MustCompile(`^(\S+) \d+\[(\w+)\] (?:<(?:([^|>]*)\|)?(\d+)> )?(.*)$`)

// logLine is a line as a message and when it was written, nil for what is none.
func logLine(line []byte, now time.Time) (*vici.Message, time.Time) {
	m := logged.FindSubmatch(line)
	if m == nil {
		return nil, now
	}
	return vici.NewMessage().Set("group", string(m[2])).Set("ikesa-name", string(m[3])).Set("ikesa-uniqueid", string(m[4])).Set("msg", string(m[5])), writtenAt(string(m[1]), now)
}

// logLate is how old a line can be that is read: what is older has a clock that was set meanwhile.
const logLate = time.Minute

// writtenAt is a line's time, which charon writes as the machine's local time down to the millisecond; now where it does
// not, as one that an earlier version of ours started.
func writtenAt(text string, now time.Time) time.Time {
	at, err := time.ParseInLocation("2006-01-02T15:04:05.000", text, time.Local)
	if err != nil {
		return now
	}
	age := now.Sub(at) - time.Millisecond // what charon cuts off is not to make a line older than what it follows
	if age < 0 || age > logLate {
		return now
	}
	return now.Add(-age)
}
