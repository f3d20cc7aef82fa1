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
	"culvert/internal/gateway"
	"culvert/internal/lab"
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
	start  time.Time
	branch *lab.Branch
	hq     *lab.Host
	// ids of what was made
	wan, lan, lanSubnet, router, service, connection string
	external                                         string // the router's outer address
	toActive                                         time.Duration
}

// Lay makes the whole scene and prints each step with its time. What was made stays until Close, also after an error.
func Lay(ctx context.Context, c Config) (*Demo, error) {
	d := &Demo{Config: c, start: time.Now()}
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

// create posts one resource and returns its id.
func (d *Demo) create(ctx context.Context, collection, key string, attributes client.Object) (string, error) {
	o, err := d.API.Create(ctx, collection, key, attributes)
	id, _ := o["id"].(string)
	return id, err
}

func (d *Demo) makeWAN(ctx context.Context) (said string, err error) {
	if d.wan, err = d.create(ctx, "networks", "network", client.Object{"name": "demo-wan", "router:external": true}); err != nil {
		return "", err
	}
	_, err = d.create(ctx, "subnets", "subnet", client.Object{"name": "demo-wan", "network_id": d.wan, "cidr": outerCIDR, "ip_version": 4,
		"gateway_ip": branchIP, "enable_dhcp": false, "allocation_pools": []client.Object{{"start": "198.51.100.2", "end": "198.51.100.30"}}})
	return "network " + d.wan, err
}

func (d *Demo) makeLAN(ctx context.Context) (said string, err error) {
	if d.lan, err = d.create(ctx, "networks", "network", client.Object{"name": "demo-hq"}); err != nil {
		return "", err
	}
	d.lanSubnet, err = d.create(ctx, "subnets", "subnet", client.Object{"name": "demo-hq", "network_id": d.lan, "cidr": hqCIDR, "ip_version": 4})
	return "subnet " + d.lanSubnet, err
}

func (d *Demo) makeRouter(ctx context.Context) (said string, err error) {
	d.router, err = d.create(ctx, "routers", "router", client.Object{"name": "demo", "external_gateway_info": client.Object{"network_id": d.wan}})
	if err != nil {
		return "", err
	}
	_, err = d.API.Call(ctx, "PUT", "/v2.0/routers/"+d.router+"/add_router_interface", client.Object{"subnet_id": d.lanSubnet})
	return "router " + d.router, err
}

func (d *Demo) makeService(ctx context.Context) (said string, err error) {
	v, err := d.API.Create(ctx, "vpn/vpnservices", "vpnservice", client.Object{"name": "demo", "router_id": d.router})
	if err != nil {
		return "", err
	}
	d.service, _ = v["id"].(string)
	d.external, _ = v["external_v4_ip"].(string)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err = d.API.Await(ctx, "/v2.0/vpn/vpnservices/"+d.service, "vpnservice", 5*time.Millisecond, "ACTIVE")
	return "outer address " + d.external, err
}

func (d *Demo) startHQ(ctx context.Context) (said string, err error) {
	d.hq, err = lab.StartHost(ctx, lab.HostConfig{Name: hqNamespace, Bridge: gateway.BridgeName(d.lan),
		Address: []netip.Prefix{inNet(hqHost, hqCIDR)}, Gateway: []netip.Addr{netip.MustParsePrefix(hqCIDR).Addr().Next()}})
	return hqHost + " in namespace " + hqNamespace, err
}

func (d *Demo) startBranch(ctx context.Context) (said string, err error) {
	d.branch, err = lab.StartBranch(ctx, lab.Config{Name: branchNamespace, Bridge: gateway.BridgeName(d.wan),
		Address: []netip.Prefix{inNet(branchIP, outerCIDR)}, LAN: []netip.Addr{addr(branchHost)}, RunDir: d.RunDir, Swanctl: branchConf(d.external)})
	return branchIP + " in namespace " + branchNamespace, err
}

func (d *Demo) makeConnection(ctx context.Context) (said string, err error) {
	attributes := client.Object{"name": "demo-branch", "vpnservice_id": d.service, "peer_address": branchIP, "peer_id": branchIP, "psk": psk,
		"dpd": client.Object{"action": "restart", "interval": 5, "timeout": 15}}
	for _, part := range []struct {
		attribute, collection, key string
		object                     client.Object
	}{
		{"ikepolicy_id", "vpn/ikepolicies", "ikepolicy", client.Object{"name": "demo"}},
		{"ipsecpolicy_id", "vpn/ipsecpolicies", "ipsecpolicy", client.Object{"name": "demo"}},
		{"local_ep_group_id", "vpn/endpoint-groups", "endpoint_group", client.Object{"name": "demo-hq", "type": "subnet", "endpoints": []string{d.lanSubnet}}},
		{"peer_ep_group_id", "vpn/endpoint-groups", "endpoint_group", client.Object{"name": "demo-branch", "type": "cidr", "endpoints": []string{branchCIDR}}},
	} {
		if attributes[part.attribute], err = d.create(ctx, part.collection, part.key, part.object); err != nil {
			return "", err
		}
	}
	begun := time.Now()
	if d.connection, err = d.create(ctx, "vpn/ipsec-site-connections", "ipsec_site_connection", attributes); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err = d.API.Await(ctx, "/v2.0/vpn/ipsec-site-connections/"+d.connection, "ipsec_site_connection", time.Millisecond, "ACTIVE")
	d.toActive = time.Since(begun)
	return fmt.Sprintf("POST to ACTIVE %.1f ms", ms(d.toActive)), err
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
