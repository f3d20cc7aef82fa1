package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"culvert/internal/api"
	"culvert/internal/gateway"
	"culvert/internal/store"
	"culvert/internal/vpn"
)

// Validate is called by kong before Run: what it refuses was called wrongly.
func (c *serverCmd) Validate() error {
	if c.Gateway == "none" && len(c.PhysicalNetwork) > 0 {
		return errors.New("--physical-network is for a gateway: give it to the agents, not beside --gateway=none")
	}
	if c.Gateway == "none" && len(c.BindRouter) > 0 {
		return errors.New("--bind-router is for a gateway: give it to the agents, not beside --gateway=none")
	}
	if c.Gateway == "none" && c.Dataplane != "auto" {
		return errors.New("--dataplane is for a gateway: give it to the agents, not beside --gateway=none")
	}
	if err := address("--listen", c.Listen); err != nil {
		return err
	}
	if c.MetricsListen != "" {
		if err := address("--metrics-listen", c.MetricsListen); err != nil {
			return err
		}
	}
	if err := database(c.Database); err != nil {
		return err
	}
	if c.PublicURL != "" {
		if err := hostURL("--public-url", c.PublicURL); err != nil {
			return err
		}
	}
	switch {
	case c.MaxPairs < 1:
		return fmt.Errorf("--max-pairs %d: it must be at least 1", c.MaxPairs)
	case c.PageLimit < 1:
		return fmt.Errorf("--page-limit %d: it must be at least 1", c.PageLimit)
	case c.TokenLifetime <= 0:
		return fmt.Errorf("--token-lifetime %s: it must be more than 0, such as 1h", c.TokenLifetime)
	}
	if err := vpn.CheckQuotas(c.Quota); err != nil {
		return fmt.Errorf("--quota: %w", err)
	}
	if err := api.CheckOrigins(c.CORSOrigin); err != nil {
		return fmt.Errorf("--cors-origin: %w", err)
	}
	if _, _, err := c.cloud(); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return c.gatewayFlags.validate()
}

// Validate is called by kong before Run.
func (c *agentCmd) Validate() error {
	if c.Server == "" { // kong says that it is missing
		return nil
	}
	if err := hostURL("--server", c.Server); err != nil {
		return err
	}
	return c.gatewayFlags.validate()
}

func (f *gatewayFlags) validate() error {
	if _, err := f.physical(); err != nil {
		return err
	}
	_, err := f.bind()
	return err
}

// bind maps routers to network namespaces, as the gateway's Config wants them.
func (f *gatewayFlags) bind() (map[string]string, error) {
	out := map[string]string{}
	for _, b := range f.BindRouter {
		router, where, _ := strings.Cut(b, "=")
		id, err := uuid.Parse(router)
		name, named := strings.CutPrefix(where, "netns:")
		if where == "host" {
			name, named = gateway.HostNetwork, true
		}
		switch {
		case err != nil || id.String() != strings.ToLower(router):
			return nil, fmt.Errorf("--bind-router %q: it begins with the id of a router, such as 6c0b…-…=host; a name is not enough", b)
		case !named || name == "":
			return nil, fmt.Errorf("--bind-router %q: it must be ID=netns:NAME or ID=host", b)
		case out[id.String()] != "":
			return nil, fmt.Errorf("--bind-router %q: the router is bound already", b)
		}
		out[id.String()] = name
	}
	if err := gateway.CheckBind(out); err != nil {
		return nil, fmt.Errorf("--bind-router: %w", err)
	}
	return out, nil
}

// physical maps provider:physical_network to host interfaces.
func (f *gatewayFlags) physical() (map[string]string, error) {
	out := map[string]string{}
	for _, p := range f.PhysicalNetwork {
		name, iface, ok := strings.Cut(p, "=")
		switch {
		case !ok || name == "" || !isInterfaceName(iface):
			return nil, fmt.Errorf("--physical-network %q: it must be NAME=INTERFACE, such as wan=eth0", p)
		case iface == "lo":
			return nil, fmt.Errorf("--physical-network %q: the loopback interface leads nowhere", p)
		case out[name] != "":
			return nil, fmt.Errorf("--physical-network %q: %s is mapped to %s already", p, name, out[name])
		}
		out[name] = iface
	}
	return out, nil
}

// isInterfaceName follows dev_valid_name of the kernel, and refuses "=".
func isInterfaceName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) < 16 && !strings.ContainsAny(s, "=/: \t\n\v\f\r")
}

// missing are the mapped interfaces that this machine does not have.
func missing(physical map[string]string) map[string]string {
	out := map[string]string{}
	for name, iface := range physical {
		if _, err := net.InterfaceByName(iface); err != nil {
			out[name] = iface
		}
	}
	return out
}

// hostURL checks what must be a scheme and a host; a trailing slash is no harm.
func hostURL(flag, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.TrimRight(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%s %s: it must be http:// or https:// and a host, such as https://vpn.example.net", flag, shown(text))
	}
	return nil
}

// shown is a value in a message, but for one that may hold a password.
func shown(text string) string {
	if strings.Contains(text, "@") {
		return "(not shown: it names a user)"
	}
	return fmt.Sprintf("%q", text)
}

// address checks what is to be listened on.
func address(flag, text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%s %q: it must be ADDRESS:PORT, such as 127.0.0.1:9696", flag, text)
	}
	return nil
}

// Validate is called by kong before Run.
func (c *stage) Validate() error { return address("--listen", c.Listen) }

// Validate is called by kong before Run.
func (f *dataFlags) Validate() error { return database(f.Database) }

func database(url string) error {
	if err := store.CheckURL(url); err != nil {
		return fmt.Errorf("--database: %w", err)
	}
	return nil
}
