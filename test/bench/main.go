// Command bench measures Culvert from outside, as its users meet it: a real server process, its public API, real tunnels. Each
// row stands beside a raw limit that is measured in the same run, in turns, so that noise hits both. Nothing of the server's
// inside may enter, but for the VICI client, which speaks to charon for the raw limit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// bench is one run. Stages measure and add rows; what they start they end.
type bench struct {
	binary string
	dir    string // for data folders; on a real disk, or fsync would cost nothing
	self   string // this program
	rows   []row
}

// limit of a whole run: nothing in it should take a tenth of that.
const longest = 10 * time.Minute

func main() {
	if len(os.Args) == 3 && os.Args[1] == rawHandlerCommand {
		exit(serveRaw(os.Args[2]))
	}
	binary := flag.String("binary", "bin/culvert", "the `program` to measure")
	out := flag.String("out", "var/bench.json", "the `file` to write the rows to, as JSON")
	only := flag.String("only", "", "measure only `tunnels` or `answers`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	exit(run(ctx, *binary, *out, *only))
}

func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func run(ctx context.Context, binary, out, only string) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("tunnels are measured in network namespaces, which need root")
	}
	b := &bench{}
	if b.binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(filepath.Dir(out), "bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{{"tunnels", b.tunnels}, {"answers", b.answers}} {
		if only != "" && only != stage.name {
			continue
		}
		if err := stage.run(ctx); err != nil {
			return err
		}
	}
	if err := writeRows(out, b.rows); err != nil {
		return err
	}
	printTable(os.Stdout, b.rows)
	return nil
}

// progress is a line for who waits.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	progress("%s: p50 %s, raw limit %s", r.Name, human(r.P50), human(r.LimitP50))
}
