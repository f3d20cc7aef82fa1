package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"culvert/internal/client"
	"culvert/internal/fault"
	"culvert/internal/server"
)

type sandboxCmd struct {
	Faults []string `arg:"" optional:"" name:"fault" help:"Names of faults, as --list has them."`
	List   bool     `help:"List the faults: what is broken, and what the API then says; start nothing."`
	All    bool     `help:"Lay every fault of the list."`
	stage
}

// Help is shown by culvert sandbox --help.
func (sandboxCmd) Help() string {
	return `It starts the all-in-one server with a head office on it, and for each fault a connection to a peer of its own that is
really broken in that way: a strongSwan with another key, cipher or network, a packet filter before it, a killed daemon, or
something that was done through the API. It prints what GET says of each connection as soon as it says it, and stays up until
Ctrl-C; then it takes everything away but the server's log. A sandbox and a demo do not run at once on a machine.

  culvert sandbox --list
  culvert sandbox wrong-psk pfs-mismatch
  culvert sandbox --all

Connections, policies and groups have the names of their faults. To mend one, do what its hint says, such as:
  openstack vpn ike policy set --encryption-algorithm aes-128 ike-cipher-mismatch`
}

func (c *sandboxCmd) Run(e *env) error {
	switch {
	case c.List:
		return listFaults(e.out)
	case c.All && len(c.Faults) > 0:
		return errors.New("--all lays every fault: name none beside it")
	case !c.All && len(c.Faults) == 0:
		return errors.New("name faults to lay, or --all; see: culvert sandbox --list")
	}
	faults := fault.Catalogue()
	if !c.All {
		var err error
		if faults, err = fault.Find(c.Faults); err != nil {
			return fmt.Errorf("%w; see: culvert sandbox --list", err)
		}
	}
	c.dataplane = "userland" // the same on every machine: some faults are of that data plane
	return c.stage.run(e, "sandbox", func(ctx context.Context, e *env, api *client.Client) error { return c.show(ctx, e, api, faults) })
}

func listFaults(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tSTATUS\tSTATUS_REASON\tWHAT IS BROKEN")
	for _, f := range fault.Catalogue() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, f.Status, f.Code, f.Broken)
	}
	return w.Flush()
}

// show lays the faults, and tells what is said about them until the end.
func (c *sandboxCmd) show(ctx context.Context, e *env, api *client.Client, faults []fault.Fault) (err error) {
	conf := fault.Config{API: api, RunDir: demoRunDir, GatewayDir: demoRunDir, Prefix: sandboxPrefix}
	if slices.ContainsFunc(faults, fault.Fault.Hostless) {
		var stop func() error
		if conf.Hostless, stop, err = c.hostless(ctx, e); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	scene, err := fault.Open(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scene.Close()) }()
	clouds, err := c.offerClouds(api)
	if err != nil {
		return err
	}
	t := &teller{out: e.out, waiting: len(faults), known: make(chan struct{})}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return scene.Watch(ctx, 50*time.Millisecond, t.tell) })
	g.Go(func() error { return t.layAll(ctx, scene, faults) })
	g.Go(func() error {
		if t.allKnown(ctx, faults) {
			fmt.Fprintf(e.out, lookFurther, clouds, api.URL, api.Token, clouds, demoRunDir, demoRunDir)
		}
		c.stay(ctx, e)
		return nil
	})
	return g.Wait()
}

const lookFurther = `
The tunnels stay as they are until Ctrl-C. How to look further, in another terminal:
  the cloud "culvert" is in %s; a connection has the name of its fault
  curl -s %s/v2.0/vpn/ipsec-site-connections -H 'X-Auth-Token: %s'
  OS_CLIENT_CONFIG_FILE=%s OS_CLOUD=culvert openstack vpn ipsec site connection list
  the logs of both sides are %s/*/charon.log: of a router by its id, of a peer by its namespace
  swanctl --list-conns --uri unix://%s/cvs-00/charon.vici    the first peer's configuration
  GET …/ipsec-site-connections/ID/events is what happened to a connection, …/ID/statistics what it carries
`

// hostless starts a second server, without any gateway, for the fault that there is none.
func (c *sandboxCmd) hostless(ctx context.Context, e *env) (*client.Client, func() error, error) {
	ln, err := listen("--listen", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	s := serverCmd{Data: filepath.Join(c.Data, "hostless"), Listen: "127.0.0.1:0", Gateway: "none", Defaults: "secure", WeakCrypto: "warn",
		MaxPairs: 100, PageLimit: 1000, TokenLifetime: 24 * time.Hour}
	quiet := *e
	quiet.out = io.Discard
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan *client.Client, 1), make(chan error, 1)
	go func() {
		ended <- s.serve(ctx, &quiet, ln, func(ctx context.Context, srv *server.Server, url string) error {
			a := srv.FirstAdmin
			api, err := client.Login(ctx, url, a.UserName, a.Password, a.ProjectName)
			ready <- api
			return err
		})
	}()
	stop := func() error { cancel(); return <-ended } // which closes the listener too
	select {
	case api := <-ready:
		if api != nil {
			return api, stop, nil
		}
		return nil, nil, fmt.Errorf("server without a gateway: %w", stop())
	case err := <-ended:
		cancel()
		return nil, nil, fmt.Errorf("server without a gateway: %w", err)
	}
}

// teller prints what becomes known.
type teller struct {
	mu      sync.Mutex
	out     io.Writer
	waiting int // faults that have not been answered as the catalogue says
	right   map[string]bool
	known   chan struct{} // closed when none waits
}

func (t *teller) printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format, args...)
}

// layAll lays the faults, several at once. One that cannot be laid is said, and the others go on.
func (t *teller) layAll(ctx context.Context, scene *fault.Scene, faults []fault.Fault) error {
	t.printf("Laying %s. What GET says of each connection, with the seconds since its fault was there:\n\n", count(len(faults), "fault"))
	var g errgroup.Group
	g.SetLimit(6)
	for _, f := range faults {
		g.Go(func() error {
			if _, err := scene.Lay(ctx, f); err != nil && ctx.Err() == nil {
				t.printf("          %s\n", err)
			}
			return nil
		})
	}
	return g.Wait()
}

// tell prints an answer, and counts those that are right.
func (t *teller) tell(a fault.Answer) bool {
	if a.ReasonCode() == "" && a.Status != "ACTIVE" {
		return true // it is pending
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := "         "
	if a.Since >= 0 {
		at = fmt.Sprintf("%7.2f s", a.Since.Seconds())
	}
	fmt.Fprintf(t.out, "%s  %-32s %-7s %s\n", at, a.Name, a.Status, a.ReasonCode())
	if a.Reason == nil {
		return true
	}
	fmt.Fprintf(t.out, "           broken:   %s\n", a.Broken)
	for _, part := range []string{"summary", "ours", "theirs", "hint"} {
		if text, _ := a.Reason[part].(string); text != "" {
			fmt.Fprintf(t.out, "           %-9s %s\n", part+":", text)
		}
	}
	fmt.Fprintf(t.out, "           %s\n\n", a.URL())
	if a.Right() && a.Since >= 0 && !t.right[a.Name] {
		if t.right == nil {
			t.right = map[string]bool{}
		}
		t.right[a.Name] = true
		if t.waiting--; t.waiting == 0 {
			close(t.known)
		}
	}
	return true
}

// allKnown waits until every fault was answered as the catalogue says, or for the longest time that one may take.
func (t *teller) allKnown(ctx context.Context, faults []fault.Fault) bool {
	longest := time.Duration(0)
	for _, f := range faults {
		longest = max(longest, f.Within)
	}
	select {
	case <-ctx.Done():
		return false
	case <-t.known:
	case <-time.After(longest + 30*time.Second):
	}
	return true
}
