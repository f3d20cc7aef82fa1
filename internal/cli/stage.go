package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"culvert/internal/client"
	"culvert/internal/demo"
	"culvert/internal/fault"
	"culvert/internal/server"
)

// stage is what the demo and the sandbox stand on: an all-in-one server of their own, of which nothing stays.
type stage struct {
	Data   string `default:"var/demo" placeholder:"DIR" help:"Folder for the server's database: an empty one, or that of an earlier demo or sandbox, which is emptied (${default})."`
	Listen string `default:"127.0.0.1:9696" placeholder:"ADDR" help:"Address and port to serve on (${default})."`
	Clouds string `default:"var/clouds.yaml" placeholder:"FILE" help:"Where to write the clouds.yaml with the cloud culvert, while it runs (${default})."`

	password  string
	dataplane string // "": auto
}

const (
	// demoRunDir is the same for every demo and sandbox, so that the next one finds what a killed one left, wherever its
	// data was.
	demoRunDir = runRoot + "/demo"
	// sandboxPrefix begins the names of the sandbox's namespaces.
	sandboxPrefix = "cvs-"
)

// run serves, calls show with a client that has logged in as admin, and takes everything away when it returns.
func (c *stage) run(e *env, what string, show func(context.Context, *env, *client.Client) error) error {
	if err := needRoot("the "+what, ""); err != nil {
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
	ln, err := listen("--listen", c.Listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := c.sweep(e, what); err != nil {
		return fmt.Errorf("clean up after an earlier %s: %w", what, err)
	}
	logFile, err := demoLog(e, c.Data)
	if err != nil {
		return err
	}
	defer logFile.Close()
	return c.serve(e, ln, show)
}

// serve runs the server until the end and takes everything away.
func (c *stage) serve(e *env, ln net.Listener, show func(context.Context, *env, *client.Client) error) error {
	s := serverCmd{Data: c.Data, Listen: c.Listen, Gateway: "local", Defaults: "secure", WeakCrypto: "warn", MaxPairs: 100, PageLimit: 1000,
		TokenLifetime: 24 * time.Hour, gatewayFlags: gatewayFlags{Dataplane: cmp.Or(c.dataplane, "auto"), RunDir: demoRunDir}}
	err := s.serve(e, e, ln, func(ctx context.Context, srv *server.Server, url string) error {
		a := srv.FirstAdmin
		api, err := client.Login(ctx, url, a.UserName, a.Password, a.ProjectName)
		if err != nil {
			return err
		}
		c.password = a.Password
		return show(ctx, e, api)
	})
	last, cancel := context.WithTimeout(context.WithoutCancel(e), 30*time.Second)
	defer cancel()
	swept := sweepHosts()
	_, down := takeDown(last, demoRunDir)
	return errors.Join(err, swept, down, os.RemoveAll(demoRunDir), emptyFolder(c.Data, demoLogName), c.removeClouds())
}

// offerClouds writes the clouds.yaml and answers its path.
func (c *stage) offerClouds(api *client.Client) (string, error) {
	path, err := filepath.Abs(c.Clouds)
	if err != nil {
		return "", fmt.Errorf("clouds.yaml: %w", err)
	}
	return path, writeClouds(path, api.URL, c.password)
}

// stay waits for the end.
func (c *stage) stay(ctx context.Context, e *env) {
	<-ctx.Done()
	fmt.Fprintf(e.out, "Taking everything away but the log in %s\n", filepath.Join(c.Data, demoLogName))
}

// removeClouds takes away what is of no use without the server.
func (c *stage) removeClouds() error {
	if checkClouds(c.Clouds) != nil { // somebody else's by now
		return nil
	}
	return os.RemoveAll(c.Clouds)
}

// sweepHosts takes away the hosts and branches of a demo or a sandbox that was killed.
func sweepHosts() error {
	return errors.Join(demo.Sweep(demoRunDir), fault.Sweep(demoRunDir, sandboxPrefix))
}

// sweep takes away what a killed demo or sandbox left, and its database.
func (c *stage) sweep(e *env, what string) error {
	if err := errors.Join(markFolder(c.Data), server.Free(c.Data)); err != nil {
		return err
	}
	swept := sweepHosts() // before the routers: a bridge goes when nothing is attached to it any more
	n, err := takeDown(e, demoRunDir)
	if n > 0 {
		fmt.Fprintf(e.out, "Cleaned up after an earlier %s: %s.\n", what, count(n, "router"))
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
