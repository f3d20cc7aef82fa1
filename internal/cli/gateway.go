package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"culvert/internal/agent"
	"culvert/internal/gateway"
)

// gatewayFlags say how a gateway meets this machine.
type gatewayFlags struct {
	PhysicalNetwork []string `env:"CULVERT_PHYSICAL_NETWORK" sep:"," placeholder:"NAME=IFACE" help:"The host interface or bridge behind provider:physical_network NAME, such as wan=eth0; repeatable."`
	BindRouter      []string `env:"CULVERT_BIND_ROUTER" sep:"," placeholder:"ID=netns:NAME|host" help:"Where router ID is already: the network namespace NAME, or this machine's own network. Nothing there is touched but tunnels, their routes and their guard; repeatable."`
	Dataplane       string   `default:"auto" enum:"auto,kernel,userland" env:"CULVERT_DATAPLANE" help:"Who does ESP: the kernel, strongSwan in userland, or what a probe finds: ${enum} (${default})."`
	RunDir          string   `env:"CULVERT_RUN_DIR" placeholder:"DIR" help:"Folder for sockets and pid files; without it one below /run/culvert."`
}

func (f *gatewayFlags) open(e *env, dir string) (*gateway.Gateway, error) {
	physical, err := f.physical()
	if err != nil {
		return nil, err
	}
	for name, iface := range missing(physical) {
		e.log.Warn("--physical-network: this machine has no such interface yet", "physical_network", name, "interface", iface)
	}
	bind, err := f.bind()
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Config{RunDir: dir, Physical: physical, Bind: bind, Dataplane: f.Dataplane, Log: e.log})
}

// run is a gateway for a server until ctx ends; its tunnels stay.
func (f *gatewayFlags) run(ctx context.Context, e *env, dir string, server agent.Server) error {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if f.RunDir == "" {
		defer removeEmpty(dir)
	}
	e.log.Info("gateway", "run_dir", dir)
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
	if err := needRoot("a gateway", ""); err != nil {
		return err
	}
	token, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return fmt.Errorf("the agents' token: %w", err)
	}
	server := agent.NewClient(c.Server, strings.TrimSpace(string(token)), agent.ClientOptions{TokenFrom: c.TokenFile})
	return c.gatewayFlags.run(e, e, agentDir(c.RunDir, c.Server), server)
}

type gatewayCmd struct {
	Down downCmd `cmd:"" help:"Take away every tunnel, namespace, link and file of a stopped gateway."`
}

type downCmd struct {
	Data   string `default:"/var/lib/culvert" env:"CULVERT_DATA" placeholder:"DIR" help:"The server's data folder (${default})."`
	Server string `placeholder:"URL" help:"Of an agent: the server's address, as the agent was given it."`
	RunDir string `env:"CULVERT_RUN_DIR" placeholder:"DIR" help:"The gateway's run folder, if it was given one."`
}

func (c *downCmd) Run(e *env) error {
	if err := needRoot("taking tunnels down", ""); err != nil {
		return err
	}
	dir, asked := runDir(c.RunDir, c.Data), "--data "+c.Data
	switch {
	case c.RunDir != "":
		asked = "--run-dir " + c.RunDir
	case c.Server != "":
		dir, asked = agentDir("", c.Server), "--server "+c.Server
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("nothing here for %s; %s", asked, runDirs())
	}
	n, err := takeDown(e, dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s taken away\n", count(n, "router"))
	return err
}
