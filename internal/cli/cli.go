// Package cli is the command line: one file a subcommand, each a struct of flags with a Run that wires, starts and waits.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

const description = `IPsec site-to-site VPN as a service. Culvert speaks the OpenStack Networking VPNaaS v2.0 API, makes every
connection a real strongSwan tunnel, and says why a tunnel is down.

Begin with:
  culvert demo                                a server with a working tunnel to look at (needs root)
  culvert sandbox wrong-psk                   a server with a broken tunnel, to see what it says about it (needs root)
  culvert server --data DIR                   the server itself, with a gateway in the same process (needs root)
  culvert server --gateway=none --data DIR    the API alone (needs no root)`

type commands struct {
	Server  serverCmd  `cmd:"" help:"Serve the API and, unless told otherwise, be the gateway."`
	Agent   agentCmd   `cmd:"" help:"Be a gateway for a server that runs elsewhere."`
	Demo    demoCmd    `cmd:"" help:"Start a server and lay a tunnel on it to a branch office, through the public API."`
	Sandbox sandboxCmd `cmd:"" help:"Start a server with connections to peers that are broken on purpose, to see why they are down."`
	Gateway gatewayCmd `cmd:"" help:"Look after what a gateway keeps on this machine."`
	User    userCmd    `cmd:"" help:"Look after users and passwords, on a running or a stopped server."`
	Project projectCmd `cmd:"" help:"Look after projects, likewise."`
	Role    roleCmd    `cmd:"" help:"Look after who may do what, likewise."`
	Key     keyCmd     `cmd:"" help:"Look after the keys that seal secrets at rest."`
	Version versionCmd `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`

	LogLevel  string `default:"info" enum:"debug,info,warn,error" env:"CULVERT_LOG_LEVEL" help:"How much to log: ${enum}."`
	LogFormat string `default:"text" enum:"text,json" env:"CULVERT_LOG_FORMAT" help:"How to log: ${enum}."`
}

// env is what every subcommand gets.
type env struct {
	context.Context // ends with the first signal of untilSignal
	log             *slog.Logger
	in              io.Reader
	out             io.Writer
	err             io.Writer // for advice beside the answer
	version         string
}

// Main runs the command line and returns the exit code: 0 done, 1 it failed, 2 it was called wrongly.
func Main(args []string, version string, stdout, stderr io.Writer) int {
	var c commands
	code := -1
	parser, err := kong.New(&c, kong.Name("culvert"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(stdout, stderr), kong.Vars{"version": "culvert " + version}, kong.Exit(func(n int) { code = n }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 110}))
	if err != nil {
		fmt.Fprintln(stderr, "culvert:", err)
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	k, err := parser.Parse(args)
	if code >= 0 { // --help has been answered
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "culvert: %v\nSee: %s --help\n", err, asked(err))
		return 2
	}
	ctx, stop := untilSignal()
	defer stop()
	e := &env{Context: ctx, log: newLog(stderr, c.LogLevel, c.LogFormat), in: os.Stdin, out: stdout, err: stderr, version: version}
	if err := k.Run(e); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "culvert:", plain(err))
		return 1
	}
	return 0
}

// asked is the command as far as it was understood.
func asked(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		if n := wrong.Context.Selected(); n != nil {
			return n.FullPath()
		}
	}
	return "culvert"
}

// untilSignal ends with the first SIGINT or SIGTERM, or with the terminal unless nohup(1) has seen to that; a second one
// ends the process as usual.
func untilSignal() (context.Context, func()) {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func newLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // kong has checked it
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.out, "culvert", e.version)
	return err
}

// needRoot says in one line what a command needs, and what to do instead.
func needRoot(what, instead string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return fmt.Errorf("%s needs root (network namespaces, nftables, strongSwan): run it as root%s", what, instead)
}
