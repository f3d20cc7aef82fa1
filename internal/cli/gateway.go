package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"culvert/internal/agent"
	"culvert/internal/gateway"

	"golang.org/x/sys/unix"
)

// gatewayFlags say how a gateway meets this machine.
type gatewayFlags struct {
	PhysicalNetwork []string `env:"CULVERT_PHYSICAL_NETWORK" sep:"," placeholder:"NAME=IFACE" help:"The host interface or bridge behind provider:physical_network NAME, such as wan=eth0; repeatable."`
	Dataplane       string   `default:"auto" enum:"auto,kernel,userland" env:"CULVERT_DATAPLANE" help:"Who does ESP: the kernel, strongSwan in userland, or what a probe finds: ${enum} (${default})."`
	RunDir          string   `env:"CULVERT_RUN_DIR" placeholder:"DIR" help:"Folder for sockets and pid files; without it one below /run/culvert."`
}

func (f *gatewayFlags) open(e *env, dir string) (*gateway.Gateway, error) {
	physical := map[string]string{}
	for _, p := range f.PhysicalNetwork {
		name, iface, ok := strings.Cut(p, "=")
		if !ok || name == "" || iface == "" {
			return nil, fmt.Errorf("--physical-network %q: it must be NAME=INTERFACE, such as wan=eth0", p)
		}
		physical[name] = iface
	}
	return gateway.New(gateway.Config{RunDir: dir, Physical: physical, Dataplane: f.Dataplane, Log: e.log})
}

// run is a gateway for a server until ctx ends; its tunnels stay.
func (f *gatewayFlags) run(ctx context.Context, e *env, dir string, server agent.Server) error {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	g, err := f.open(e, dir)
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Config{Server: server, Gateway: g, Log: e.log})
	if err != nil {
		return errors.Join(err, g.Close())
	}
	return errors.Join(a.Run(ctx), g.Close())
}

type agentCmd struct {
	Server    string `required:"" env:"CULVERT_SERVER" placeholder:"URL" help:"The server's address, such as https://vpn.example.net."`
	TokenFile string `required:"" env:"CULVERT_TOKEN_FILE" type:"existingfile" placeholder:"FILE" help:"The file agent.token from the server's data folder."`
	gatewayFlags
}

// Help is shown by culvert agent --help.
func (agentCmd) Help() string {
	return `The agent follows the server's watch, makes every router's Spec true on this machine and reports what it sees.
Stopping or killing it drops no tunnel. Pre-shared keys travel from the server to the agent: use https, or one machine.`
}

func (c *agentCmd) Run(e *env) error {
	if err := needRoot("a gateway"); err != nil {
		return err
	}
	token, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return fmt.Errorf("the agents' token: %w", err)
	}
	server := agent.NewClient(c.Server, strings.TrimSpace(string(token)), agent.ClientOptions{})
	return c.gatewayFlags.run(e, e, runDir(c.RunDir, c.Server), server)
}

type gatewayCmd struct {
	Down downCmd `cmd:"" help:"Take away every tunnel, namespace, link and file of a stopped gateway."`
}

type downCmd struct {
	Data   string `default:"/var/lib/culvert" env:"CULVERT_DATA" placeholder:"DIR" help:"The server's data folder (${default})."`
	RunDir string `env:"CULVERT_RUN_DIR" placeholder:"DIR" help:"The gateway's run folder, if it was given one."`
}

func (c *downCmd) Run(e *env) error {
	if err := needRoot("taking tunnels down"); err != nil {
		return err
	}
	n, err := takeDown(e, e, runDir(c.RunDir, c.Data))
	fmt.Fprintf(e.out, "%d routers taken away\n", n)
	return err
}

// takeDown removes every router that a gateway left on this machine.
func takeDown(ctx context.Context, e *env, dir string) (int, error) {
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
	return gone, errors.Join(err, g.Close())
}

// lockDir keeps two gateways, or a gateway and its removal, out of one run folder. The lock is on the folder itself, so
// that no file stays; the kernel lets go when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("run folder %s: a running gateway uses it: stop that one first", dir)
	}
	return f, nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
