package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/resource"
	"culvert/internal/store"
)

// crashDir names the data folder for the child process of TestKill; its presence makes this binary that child.
const crashDir = "CULVERT_STORE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, insertForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// insertForever inserts rows from several goroutines and prints the id of each that was acknowledged.
func insertForever(dir string) error {
	ctx := context.Background()
	st, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range 3 {
		run := st.Change
		if w == 2 { // the end of a process takes no observation back either
			run = st.Observe
		}
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				_, err := run(ctx, func(t resource.Tx) error {
					return t.Insert(ctx, resource.Row{ID: id, Kind: "thing", Doc: []byte(`{"name":"` + id + `"}`)})
				})
				if err == nil {
					_, err = os.Stdout.WriteString(id + "\n")
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// TestKill kills a process with SIGKILL while it writes: every row that it had acknowledged is there afterwards, and
// the database goes on.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []string
	for range 5 {
		acknowledged = append(acknowledged, killed(t, dir)...)
	}
	st, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = st.View(t.Context(), func(r resource.Reader) error {
		for _, id := range acknowledged {
			if _, err := r.Get(t.Context(), "thing", id); err != nil {
				return err
			}
		}
		rev, err := r.Rev(t.Context())
		if err != nil {
			return err
		}
		n, err := r.Count(t.Context(), resource.Query{Kind: "thing"})
		if n != rev || n < int64(len(acknowledged)) {
			t.Errorf("%d rows at revision %d, %d acknowledged", n, rev, len(acknowledged))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acknowledged rows", len(acknowledged))
}

// killed runs the child, kills it after a random number of acknowledgements, and returns all that it gave.
func killed(t *testing.T, dir string) (ids []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	lines, enough := bufio.NewReader(out), 1+rand.IntN(100)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // a line cut short was not acknowledged
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, strings.TrimSpace(line)); len(ids) == enough {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(ids) < enough {
		t.Fatalf("the child ended by itself after %d rows: %v %s", len(ids), err, stderr.String())
	}
	return ids
}
