package cli

import (
	"context"
	"fmt"

	"culvert/internal/client"
	"culvert/internal/demo"
)

type demoCmd struct{ stage }

// Help is shown by culvert demo --help.
func (demoCmd) Help() string {
	return `It starts the all-in-one server, makes networks, a router, policies and a connection through the public API, and a branch
office that Culvert does not manage: a plain strongSwan in a network namespace of its own. It pings through the tunnel both
ways, prints what the API answers, and stays up until Ctrl-C; then it takes everything away but the server's log. What a
killed demo left is cleaned up by the next one. One demo at a time runs on a machine.`
}

func (c *demoCmd) Run(e *env) error { return c.stage.run(e, "demo", c.show) }

// show lays the tunnel and stays until the end.
func (c *demoCmd) show(ctx context.Context, e *env, api *client.Client) error {
	d, err := demo.Lay(ctx, demo.Config{API: api, Out: e.out, RunDir: demoRunDir})
	defer d.Close()
	if err != nil {
		return err
	}
	clouds, err := c.offerClouds(api)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, goOn, clouds, api.URL, api.Token, clouds)
	c.stay(ctx, e)
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
