package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"culvert/internal/agent"
	"culvert/internal/api"
	"culvert/internal/server"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

type serverCmd struct {
	Data     string `default:"/var/lib/culvert" env:"CULVERT_DATA" placeholder:"DIR" help:"Folder for the database, the keyset and the agents' token; made if missing (${default})."`
	Listen   string `default:"127.0.0.1:9696" env:"CULVERT_LISTEN" placeholder:"ADDR" help:"Address and port to serve on (${default})."`
	Database string `env:"CULVERT_DATABASE" placeholder:"URL" help:"postgres://USER:PASSWORD@HOST/DB (or postgresql://…), sqlite:FILE or a FILE for SQLite; without it culvert.db in the data folder."`
	Gateway  string `default:"local" enum:"local,none" env:"CULVERT_GATEWAY" help:"local: this process is a gateway too and needs root; none: agents elsewhere are (${default})."`
	gatewayFlags

	MetricsListen string `env:"CULVERT_METRICS_LISTEN" placeholder:"ADDR" help:"Address and port to serve GET /metrics on, for Prometheus, such as 127.0.0.1:9697. It asks for no token and shows ids of all projects: keep it from tenants. Without it there is none."`

	PublicURL   string            `env:"CULVERT_PUBLIC_URL" placeholder:"URL" help:"What links and the catalog say, such as https://vpn.example.net; without it what each request was sent to."`
	Defaults    string            `default:"secure" enum:"secure,neutron" env:"CULVERT_DEFAULTS" help:"Algorithms of a policy that leaves them out: secure (IKEv2, aes-256, group14) or neutron (IKEv1, aes-128, group5)."`
	WeakCrypto  string            `default:"warn" enum:"allow,warn,deny" env:"CULVERT_WEAK_CRYPTO" help:"What happens to md5, sha1, 3des and groups 1, 2, 5, 22: ${enum} (${default})."`
	MaxPairs    int               `default:"100" env:"CULVERT_MAX_PAIRS" placeholder:"N" help:"Most pairs of local and peer networks in one connection (${default})."`
	PageLimit   int               `default:"1000" env:"CULVERT_PAGE_LIMIT" placeholder:"N" help:"Most rows in one list answer; the rest is a link away (${default})."`
	Quota       map[string]int64  `env:"CULVERT_QUOTA" placeholder:"KIND=N" help:"Most of a kind that a project may have, -1 for no limit; repeatable. Shipped: vpnservice 10, ipsec_site_connection 50, ikepolicy 50, ipsecpolicy 50, endpoint_group 100. Per project through the API."`
	CORSOrigin  []string          `name:"cors-origin" env:"CULVERT_CORS_ORIGIN" placeholder:"ORIGIN" help:"Web pages of this origin, such as https://ui.example.net, may call the API; repeatable. Without it none may."`
	CatalogName map[string]string `env:"CULVERT_CATALOG_NAME" mapsep:"," placeholder:"TYPE=NAME" help:"List the network API in the catalog as a service of this type too, such as vpc=vpc for clients of Open Telekom Cloud; repeatable."`
	cloudFlags

	TokenLifetime time.Duration `default:"1h" env:"CULVERT_TOKEN_LIFETIME" placeholder:"TIME" help:"How long a login lasts (${default})."`
}

// Help is shown by culvert server --help.
func (serverCmd) Help() string {
	return `The network API is at /, identity (Keystone v3) below /identity. The first start makes the domain Default, the project
admin and the user admin, and prints admin's password once.

Stopping or killing the server drops no tunnel: strongSwan goes on, and the next start takes it over unchanged.
"culvert gateway down" takes the tunnels away too.

A router gets a network namespace of its own. --bind-router puts it where its network is already, as on a branch gateway box
with one WAN and one LAN interface: the router's external address (external_fixed_ips) must be that of an interface there.

  culvert server --data /var/lib/culvert --physical-network wan=eth0`
}

func (c *serverCmd) config(e *env) (server.Config, error) {
	cloud, neutron, err := c.cloud()
	return server.Config{Data: c.Data, Database: c.Database, PublicURL: c.PublicURL, Defaults: c.Defaults, WeakCrypto: c.WeakCrypto,
		MaxPairs: c.MaxPairs, PageLimit: c.PageLimit, Quotas: c.Quota, CORSOrigins: c.CORSOrigin, TokenLifetime: c.TokenLifetime,
		CatalogNames: catalogNames(c.CatalogName), Keystone: cloud, Neutron: neutron, Log: e.log, Version: e.version}, err
}

func catalogNames(in map[string]string) (out []api.CatalogName) {
	for _, kind := range slices.Sorted(maps.Keys(in)) {
		out = append(out, api.CatalogName{Type: kind, Name: in[kind]})
	}
	return out
}

func (c *serverCmd) Run(e *env) error {
	if c.Gateway == "local" {
		if err := needRoot("a server with a gateway", ", or try culvert server --gateway=none --data DIR"); err != nil {
			return err
		}
	}
	ln, err := listen("--listen", c.Listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	return c.serve(e, e, ln, func(_ context.Context, s *server.Server, url string) error {
		if err := unmark(c.Data); err != nil {
			return err
		}
		login := url + "/identity"
		if c.Identity == "keystone" {
			login = c.KeystoneURL
		}
		fmt.Fprintf(e.out, "Culvert serves on %s (identity: %s)\n", url, login)
		return nil
	})
}

// gcPercent lets the heap grow to five times what lives: that is a few MB, and a list of 1,000 connections is 1.5 MB of
// rows for a moment. Go's own 100 would collect at every second such list, in the time of who asked. GOGC in the
// environment goes first.
const gcPercent = 400

// serve runs the server, and with it a local gateway, until ctx ends or something fails; ready is called once it answers.
func (c *serverCmd) serve(ctx context.Context, e *env, ln net.Listener, ready func(context.Context, *server.Server, string) error) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	conf, err := c.config(e)
	if err != nil {
		return err
	}
	s, err := server.Open(ctx, conf)
	if err != nil {
		return err
	}
	defer s.Close()
	if a := s.FirstAdmin; a != nil {
		fmt.Fprintf(e.out, "First start: made the domain %s, the project %s and the user %s.\nPassword of %s, shown this once: %s\n",
			a.DomainName, a.ProjectName, a.UserName, a.UserName, a.Password)
	}
	var scraped net.Listener
	if c.MetricsListen != "" {
		if scraped, err = listen("--metrics-listen", c.MetricsListen); err != nil {
			return err
		}
		defer scraped.Close()
	}
	g, ctx := errgroup.WithContext(ctx)
	url := "http://" + reachable(c.Listen, ln.Addr())
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return serveHTTP(ctx, ln, s.Handler) })
	if scraped != nil {
		e.log.Info("metrics", "url", "http://"+scraped.Addr().String()+"/metrics")
		g.Go(func() error { return serveHTTP(ctx, scraped, s.Metrics) })
	}
	if c.Gateway == "local" {
		own := agent.NewClient(url, s.AgentToken, agent.ClientOptions{Direct: true})
		g.Go(func() error { return c.gatewayFlags.run(ctx, e, runDir(c.RunDir, c.Data), own) })
	}
	g.Go(func() error { return ready(ctx, s, url) })
	return g.Wait()
}

// deafAfter is how long a client may leave unconfirmed what it was sent before the kernel ends the connection: a gateway
// host that lost its power says no goodbye, and would else be taken for one that watches for a quarter of an hour.
const deafAfter = 10 * time.Second

// listen opens a listener, or says in one line what to do.
func listen(flag, address string) (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) (err error) {
		err2 := conn.Control(func(fd uintptr) { // connections inherit it
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deafAfter.Milliseconds()))
		})
		return errors.Join(err, err2)
	}}
	ln, err := c.Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another process uses this address: choose another with %s", address, flag)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return ln, nil
}

// reachable is the address by which this machine reaches a listener that was asked for as listen: of one on all
// addresses, the loopback one.
func reachable(listen string, at net.Addr) string {
	host, _, err := net.SplitHostPort(listen)
	_, port, err2 := net.SplitHostPort(at.String())
	switch ip := net.ParseIP(host); {
	case err != nil || err2 != nil:
		return at.String()
	case host == "" || ip != nil && ip.To4() != nil && ip.IsUnspecified():
		return net.JoinHostPort("127.0.0.1", port)
	case ip != nil && ip.IsUnspecified():
		return net.JoinHostPort("::1", port)
	}
	return at.String()
}

// serveHTTP serves until ctx ends; then watches end at once and other requests get 5 s to finish.
func serveHTTP(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := srv.Shutdown(last)
		if errors.Is(err, context.DeadlineExceeded) { // also for a connection on which nobody has asked anything yet
			err = srv.Close()
		}
		done <- err
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return <-done
}
