package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/site"
)

// Config is what a demo needs: a client of a running server with a gateway on this machine.
type Config struct {
	API    *client.Client
	Out    io.Writer
	RunDir string // short path for the branch's sockets
}

// Demo is a laid tunnel, until Close.
type Demo struct {
	Config
	site   *site.Site
	branch *lab.Branch
	hq     *lab.Host
}

// Lay makes the whole scene and prints each step with its time. What was made stays until Close, also after an error.
func Lay(ctx context.Context, c Config) (*Demo, error) {
	d := &Demo{Config: c, site: &site.Site{API: c.API, Name: "demo", Outer: netip.MustParsePrefix(outerCIDR), Hop: branchIP,
		Inner: netip.MustParsePrefix(hqCIDR)}}
	steps := []struct {
		what string
		do   func(context.Context) (string, error)
	}{
		{"provider's network " + outerCIDR, d.makeWAN},
		{"head office's network " + hqCIDR, d.makeLAN},
		{"router between the two", d.makeRouter},
		{"VPN service on the router", d.makeService},
		{"a machine in the head office", d.startHQ},
		{"the branch office: a plain strongSwan that Culvert does not manage", d.startBranch},
		{"policies, endpoint groups and the connection", d.makeConnection},
		{"ping head office -> branch", d.pingOut},
		{"ping branch -> head office", d.pingIn},
	}
	for i, s := range steps {
		begun := time.Now()
		said, err := s.do(ctx)
		if err != nil {
			return d, fmt.Errorf("step %d, %s: %w", i+1, s.what, err)
		}
		fmt.Fprintf(c.Out, "%2d. %-68s %6.0f ms  %s\n", i+1, s.what, ms(time.Since(begun)), said)
	}
	return d, d.show(ctx)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (d *Demo) makeWAN(ctx context.Context) (said string, err error) {
	err = d.site.MakeWAN(ctx)
	return "network " + d.site.WAN, err
}

func (d *Demo) makeLAN(ctx context.Context) (said string, err error) {
	err = d.site.MakeLAN(ctx)
	return "subnet " + d.site.Subnet, err
}

func (d *Demo) makeRouter(ctx context.Context) (said string, err error) {
	err = d.site.MakeRouter(ctx)
	return "router " + d.site.Router, err
}

func (d *Demo) makeService(ctx context.Context) (said string, err error) {
	if err = d.site.MakeService(ctx, nil); err != nil {
		return "", err
	}
	return "outer address " + d.site.External, d.site.AwaitService(ctx)
}

func (d *Demo) startHQ(ctx context.Context) (said string, err error) {
	d.hq, err = d.site.StartHost(ctx, hqNamespace, addr(hqHost))
	return hqHost + " in namespace " + hqNamespace, err
}

func (d *Demo) startBranch(ctx context.Context) (said string, err error) {
	conf := lab.Peer{Local: branchIP, Remote: d.site.External, PSK: psk, Networks: branchCIDR, Peers: hqCIDR}.Conf()
	d.branch, err = lab.StartBranch(ctx, lab.Config{Name: branchNamespace, Bridge: d.site.OuterBridge(),
		Address: []netip.Prefix{inNet(branchIP, outerCIDR)}, LAN: []netip.Addr{addr(branchHost)}, RunDir: d.RunDir, Swanctl: conf})
	return branchIP + " in namespace " + branchNamespace, err
}

func (d *Demo) makeConnection(ctx context.Context) (said string, err error) {
	attributes, err := d.site.Parts(ctx, site.Tunnel{Name: "demo-branch", PeerAddress: branchIP, PSK: psk, PeerCIDR: branchCIDR,
		Attributes: client.Object{"dpd": client.Object{"action": "restart", "interval": 5, "timeout": 15}}})
	if err != nil {
		return "", err
	}
	begun := time.Now()
	connection, err := d.site.Post(ctx, attributes)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err = d.API.Await(ctx, "/v2.0/vpn/ipsec-site-connections/"+connection, "ipsec_site_connection", time.Millisecond, "ACTIVE")
	return fmt.Sprintf("POST to ACTIVE %.1f ms", ms(time.Since(begun))), err
}

func (d *Demo) pingOut(ctx context.Context) (string, error) {
	return pinged(d.hq.Ping(ctx, addr(hqHost), addr(branchHost), 5, 50*time.Millisecond))
}

func (d *Demo) pingIn(ctx context.Context) (string, error) {
	return pinged(d.branch.Ping(ctx, addr(branchHost), addr(hqHost), 5, 50*time.Millisecond))
}

func pinged(r lab.PingResult, err error) (string, error) {
	if err == nil && r.Lost() > 0 {
		err = fmt.Errorf("packets were lost: %s", r)
	}
	return r.String(), err
}

// show prints the list of connections as the API answers it.
func (d *Demo) show(ctx context.Context) error {
	o, err := d.API.Call(ctx, "GET", "/v2.0/vpn/ipsec-site-connections", nil)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.Out, "\nGET /v2.0/vpn/ipsec-site-connections\n%s\n", text)
	return err
}

// Close takes the branch and the head office's machine away; what lies in the server is the server's.
func (d *Demo) Close() error {
	var errs []error
	if d.branch != nil {
		errs = append(errs, d.branch.Close())
	}
	if d.hq != nil {
		errs = append(errs, d.hq.Close())
	}
	return errors.Join(errs...)
}

// Sweep takes away what a demo left that was killed.
func Sweep(runDir string) error {
	return lab.Sweep(runDir, branchNamespace, hqNamespace)
}
