package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"culvert/internal/client"
	"culvert/internal/demo"
	"culvert/internal/server"
)

type demoCmd struct {
	Data   string `default:"var/demo" placeholder:"DIR" help:"Folder for the demo's database; emptied at every start (${default})."`
	Listen string `default:"127.0.0.1:9696" placeholder:"ADDR" help:"Address and port to serve on (${default})."`
	Clouds string `default:"var/clouds.yaml" placeholder:"FILE" help:"Where to write the clouds.yaml with the cloud culvert (${default})."`
}

// Help is shown by culvert demo --help.
func (demoCmd) Help() string {
	return `It starts the all-in-one server, makes networks, a router, policies and a connection through the public API, and a branch
office that Culvert does not manage: a plain strongSwan in a network namespace of its own. It pings through the tunnel both
ways, prints what the API answers, and stays up until Ctrl-C; then it leaves nothing behind. What a killed demo left is
cleaned up by the next one.`
}

func (c *demoCmd) Run(e *env) error {
	if err := needRoot("the demo"); err != nil {
		return err
	}
	dir := runDir("", c.Data)
	if err := c.sweep(e, dir); err != nil {
		return fmt.Errorf("clean up after an earlier demo: %w", err)
	}
	logFile, err := demoLog(e, c.Data)
	if err != nil {
		return err
	}
	defer logFile.Close()
	s := serverCmd{Data: c.Data, Listen: c.Listen, Gateway: "local", Defaults: "secure", WeakCrypto: "warn", MaxPairs: 100, PageLimit: 1000,
		TokenLifetime: 24 * time.Hour, gatewayFlags: gatewayFlags{Dataplane: "auto", RunDir: dir}}
	err = s.serve(e, e, func(ctx context.Context, srv *server.Server, url string) error { return c.show(ctx, e, srv, url, dir) })
	last, cancel := context.WithTimeout(context.WithoutCancel(e), 30*time.Second)
	defer cancel()
	swept := demo.Sweep(dir)
	_, down := takeDown(last, e, dir)
	return errors.Join(err, swept, down, os.RemoveAll(dir))
}

// sweep takes away what a killed demo left, and its database.
func (c *demoCmd) sweep(e *env, dir string) error {
	if err := server.Free(c.Data); err != nil {
		return err
	}
	swept := demo.Sweep(dir) // before the routers: a bridge goes when nothing is attached to it any more
	n, err := takeDown(e, e, dir)
	if n > 0 {
		fmt.Fprintf(e.out, "Cleaned up after an earlier demo: %d routers.\n", n)
	}
	return errors.Join(swept, err, os.RemoveAll(c.Data))
}

// demoLog sends the server's log to a file, so that the steps can be read.
func demoLog(e *env, data string) (*os.File, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(data, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	fmt.Fprintf(e.out, "The server's log is in %s\n", f.Name())
	e.log = newLog(f, "info", "text")
	return f, nil
}

// show lays the tunnel and stays until the end.
func (c *demoCmd) show(ctx context.Context, e *env, s *server.Server, url, dir string) error {
	a := s.FirstAdmin
	api, err := client.Login(ctx, url, a.UserName, a.Password, a.ProjectName)
	if err != nil {
		return err
	}
	d, err := demo.Lay(ctx, demo.Config{API: api, Out: e.out, RunDir: dir})
	defer d.Close()
	if err != nil {
		return err
	}
	if err := writeClouds(c.Clouds, url, a.Password); err != nil {
		return err
	}
	fmt.Fprintf(e.out, goOn, c.Clouds, url, api.Token, c.Clouds)
	<-ctx.Done()
	fmt.Fprintln(e.out, "Taking everything away.")
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

// writeClouds writes a clouds.yaml that only its owner can read.
func writeClouds(path, url, password string) error {
	text := fmt.Sprintf(`clouds:
  culvert:
    region_name: RegionOne
    identity_api_version: 3
    auth:
      auth_url: %s/identity/v3
      username: admin
      password: %q
      project_name: admin
      user_domain_name: Default
      project_domain_name: Default
`, url, password)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("clouds.yaml: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("clouds.yaml: %w", err)
	}
	return nil
}
