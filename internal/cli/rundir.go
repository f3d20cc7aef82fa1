package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"culvert/internal/gateway"

	"golang.org/x/sys/unix"
)

// runRoot is above the run folders that nobody chose.
const runRoot = "/run/culvert"

// runDir is the folder of a gateway's sockets and pid files: the asked one, or one of its own for each data folder.
func runDir(asked, data string) string {
	if asked != "" {
		return asked
	}
	abs, err := filepath.Abs(data)
	if err != nil {
		abs = data
	}
	return filepath.Join(runRoot, digest(abs))
}

// agentDir is likewise an agent's, of its own for each server.
func agentDir(asked, url string) string {
	if asked != "" {
		return asked
	}
	return filepath.Join(runRoot, digest(strings.ToLower(strings.TrimRight(url, "/"))))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

// lockDir keeps two gateways, or a gateway and its removal, out of one run folder. The lock is on the folder itself, so
// that no file stays; the kernel lets go when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	f, err := lockFile(dir, os.O_RDONLY)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("run folder %s: a running gateway uses it: stop that one first", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	return f, nil
}

// lockDemo lets one demo run on a machine: its namespaces have fixed names.
func lockDemo() (*os.File, error) {
	if err := os.MkdirAll(runRoot, 0o700); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	f, err := lockFile(runRoot+"/demo.lock", os.O_CREATE|os.O_RDWR)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.New("another demo or sandbox is running on this machine")
	}
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return f, nil
}

// lockFile opens and locks; EWOULDBLOCK says that somebody else has the lock.
func lockFile(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	locked, err := f.Stat()
	there, err2 := os.Stat(path)
	if err != nil || err2 != nil || !os.SameFile(locked, there) { // removed by whoever had the lock
		f.Close()
		return nil, unix.EWOULDBLOCK
	}
	return f, nil
}

// takeDown removes every router that a gateway left on this machine, and the run folder if nothing is left in it.
func takeDown(ctx context.Context, dir string) (int, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	g, err := gateway.New(gateway.Config{RunDir: dir, Dataplane: "auto", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	routers, err := g.Routers()
	gone := 0
	for _, r := range routers {
		if e := g.Remove(ctx, r); e != nil {
			err = errors.Join(err, e)
			continue
		}
		gone++
	}
	err = errors.Join(err, g.Close())
	removeEmpty(dir)
	return gone, err
}

// removeEmpty takes a run folder away that nothing is in; its lock must be held. Any other one stays.
func removeEmpty(dir string) { _ = unix.Rmdir(dir) }

// runDirs describes the run folders on this machine that nobody chose.
func runDirs() string {
	entries, err := os.ReadDir(runRoot)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err.Error()
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(runRoot, e.Name())
		below, err := os.ReadDir(dir)
		if err != nil {
			continue // gone meanwhile
		}
		n := 0
		for _, r := range below {
			if r.IsDir() {
				n++
			}
		}
		out = append(out, fmt.Sprintf("%s (%s)", dir, count(n, "router")))
	}
	if len(out) == 0 {
		return "there is no run folder on this machine"
	}
	return "run folders on this machine, for --run-dir: " + strings.Join(out, ", ")
}

// count is "1 router" or "2 routers".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
