package gateway

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	logEvery = time.Minute
	logMost  = 4 << 20 // bytes of a charon.log; what was before its last half goes
)

// keepLogsShort bounds every charon.log until the gateway closes: charon appends for months. While a session reads it, logTail
// does so at once.
func (g *Gateway) keepLogsShort() {
	defer g.running.Done()
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.closed.Done():
			return
		case <-tick.C:
		}
		routers, err := g.Routers()
		for _, r := range routers {
			err = errors.Join(err, shorten(folder(g.folderOf(r)).log(), logMost))
		}
		if err != nil {
			g.log.Warn("shorten charon's log", "err", err)
		}
	}
}

// shorten moves the last half of a file that has outgrown most to its .old, and empties it in place: charon keeps the file
// open, for appending.
func shorten(path string, most int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= most {
		return err
	}
	tail, err := io.ReadAll(io.NewSectionReader(f, info.Size()-most/2, most/2))
	if err == nil {
		err = writeFile(path+".old", tail)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
