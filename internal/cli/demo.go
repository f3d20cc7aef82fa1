package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"culvert/internal/client"
	"culvert/internal/demo"
	"culvert/internal/server"
)

type demoCmd struct {
	Data   string `default:"var/demo" placeholder:"DIR" help:"Folder for the demo's database: an empty one, or an earlier demo's, which is emptied (${default})."`
	Listen string `default:"127.0.0.1:9696" placeholder:"ADDR" help:"Address and port to serve on (${default})."`
	Clouds string `default:"var/clouds.yaml" placeholder:"FILE" help:"Where to write the clouds.yaml with the cloud culvert, while the demo runs (${default})."`
}

// Help is shown by culvert demo --help.
func (demoCmd) Help() string {
	return `It starts the all-in-one server, makes networks, a router, policies and a connection through the public API, and a branch
office that Culvert does not manage: a plain strongSwan in a network namespace of its own. It pings through the tunnel both
ways, prints what the API answers, and stays up until Ctrl-C; then it takes everything away but the server's log. What a
killed demo left is cleaned up by the next one. One demo at a time runs on a machine.`
}

// demoRunDir is the same for every demo, so that the next one finds what a killed one left, wherever its data was.
const demoRunDir = runRoot + "/demo"

func (c *demoCmd) Run(e *env) error {
	if err := needRoot("the demo", ""); err != nil {
		return err
	}
	alone, err := lockDemo()
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(os.Remove(alone.Name()), alone.Close()) }() // the lock ends with the process anyway
	if err := checkFolder(c.Data); err != nil {
		return err
	}
	if err := checkClouds(c.Clouds); err != nil {
		return err
	}
	ln, err := listen(c.Listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := c.sweep(e); err != nil {
		return fmt.Errorf("clean up after an earlier demo: %w", err)
	}
	logFile, err := demoLog(e, c.Data)
	if err != nil {
		return err
	}
	defer logFile.Close()
	return c.serve(e, ln)
}

// serve runs the demo's server until the end and takes everything away.
func (c *demoCmd) serve(e *env, ln net.Listener) error {
	s := serverCmd{Data: c.Data, Listen: c.Listen, Gateway: "local", Defaults: "secure", WeakCrypto: "warn", MaxPairs: 100, PageLimit: 1000,
		TokenLifetime: 24 * time.Hour, gatewayFlags: gatewayFlags{Dataplane: "auto", RunDir: demoRunDir}}
	err := s.serve(e, e, ln, func(ctx context.Context, srv *server.Server, url string) error { return c.show(ctx, e, srv, url) })
	last, cancel := context.WithTimeout(context.WithoutCancel(e), 30*time.Second)
	defer cancel()
	swept := demo.Sweep(demoRunDir)
	_, down := takeDown(last, demoRunDir)
	return errors.Join(err, swept, down, os.RemoveAll(demoRunDir), emptyFolder(c.Data, demoLogName), c.removeClouds())
}

// removeClouds takes away what is of no use without the server.
func (c *demoCmd) removeClouds() error {
	if checkClouds(c.Clouds) != nil { // somebody else's by now
		return nil
	}
	return os.RemoveAll(c.Clouds)
}

// sweep takes away what a killed demo left, and its database.
func (c *demoCmd) sweep(e *env) error {
	if err := errors.Join(markFolder(c.Data), server.Free(c.Data)); err != nil {
		return err
	}
	swept := demo.Sweep(demoRunDir) // before the routers: a bridge goes when nothing is attached to it any more
	n, err := takeDown(e, demoRunDir)
	if n > 0 {
		fmt.Fprintf(e.out, "Cleaned up after an earlier demo: %s.\n", count(n, "router"))
	}
	return errors.Join(swept, err, emptyFolder(c.Data))
}

// demoLog sends the server's log to a file, so that the steps can be read.
func demoLog(e *env, data string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(data, demoLogName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	fmt.Fprintf(e.out, "The server's log is in %s\n", f.Name())
	e.log = newLog(f, "info", "text")
	return f, nil
}

// show lays the tunnel and stays until the end.
func (c *demoCmd) show(ctx context.Context, e *env, s *server.Server, url string) error {
	a := s.FirstAdmin
	api, err := client.Login(ctx, url, a.UserName, a.Password, a.ProjectName)
	if err != nil {
		return err
	}
	d, err := demo.Lay(ctx, demo.Config{API: api, Out: e.out, RunDir: demoRunDir})
	defer d.Close()
	if err != nil {
		return err
	}
	clouds, err := filepath.Abs(c.Clouds)
	if err != nil {
		return fmt.Errorf("clouds.yaml: %w", err)
	}
	if err := writeClouds(clouds, url, a.Password); err != nil {
		return err
	}
	fmt.Fprintf(e.out, goOn, clouds, url, api.Token, clouds)
	<-ctx.Done()
	fmt.Fprintf(e.out, "Taking everything away but the log in %s\n", filepath.Join(c.Data, demoLogName))
	return nil
}

const goOn = `
The tunnel stays up until Ctrl-C. How to go on, in another terminal:
  the cloud "culvert" is in %s
  curl -s %s/v2.0/vpn/ipsec-site-connections -H 'X-Auth-Token: %s'
  OS_CLIENT_CONFIG_FILE=%s OS_CLOUD=culvert openstack vpn ipsec site connection list
      (Debian: apt-get install python3-openstackclient python3-neutronclient)
  ip netns exec cvd-hq ping 192.168.40.1
`
