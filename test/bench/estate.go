package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"culvert/internal/agent"
	"culvert/internal/client"
	"culvert/internal/vpn"
)

// perRouter is how many connections share a router.
const perRouter = 50

// fill makes n connections through the API, and has a gateway's report say that all are up: without one they would change
// under the measurement. It returns the id of one in the middle.
func (c *culvert) fill(ctx context.Context, n int) (middle string, err error) {
	e := &estate{culvert: c}
	if err := e.common(ctx); err != nil {
		return "", err
	}
	for i := range n {
		if i%perRouter == 0 {
			if err := e.site(ctx, i/perRouter); err != nil {
				return "", err
			}
		}
		id, err := e.connection(ctx, i/perRouter, i%perRouter)
		if err != nil {
			return "", err
		}
		if i == n/2 {
			middle = id
		}
	}
	return middle, c.reportUp(ctx)
}

// estate is what the connections stand on.
type estate struct {
	*culvert
	wan, ike, ipsec     string // ids for all of them
	service, local, lan string // ids for one router
}

func (e *estate) common(ctx context.Context) (err error) {
	no := -1 // limit
	quota := client.Object{"vpnservice": no, "ipsec_site_connection": no, "ikepolicy": no, "ipsecpolicy": no, "endpoint_group": no}
	if _, err = e.api.Call(ctx, "PUT", "/v2.0/quotas/"+e.api.Project, client.Object{"quota": quota}); err != nil {
		return err
	}
	if e.wan, err = e.create(ctx, "networks", "network", client.Object{"name": "wan", "router:external": true}); err != nil {
		return err
	}
	if _, err = e.create(ctx, "subnets", "subnet", client.Object{"network_id": e.wan, "cidr": outerCIDR, "ip_version": 4}); err != nil {
		return err
	}
	if e.ike, err = e.create(ctx, "vpn/ikepolicies", "ikepolicy", client.Object{"name": "all"}); err != nil {
		return err
	}
	e.ipsec, err = e.create(ctx, "vpn/ipsecpolicies", "ipsecpolicy", client.Object{"name": "all"})
	return err
}

// site makes a router with its network, service and local endpoint group.
func (e *estate) site(ctx context.Context, i int) error {
	name := fmt.Sprintf("site-%02d", i)
	network, err := e.create(ctx, "networks", "network", client.Object{"name": name})
	if err != nil {
		return err
	}
	if e.lan, err = e.create(ctx, "subnets", "subnet", client.Object{"network_id": network, "cidr": fmt.Sprintf("192.168.%d.0/24", i), "ip_version": 4}); err != nil {
		return err
	}
	router, err := e.create(ctx, "routers", "router", client.Object{"name": name, "external_gateway_info": client.Object{"network_id": e.wan}})
	if err != nil {
		return err
	}
	if _, err := e.api.Call(ctx, "PUT", "/v2.0/routers/"+router+"/add_router_interface", client.Object{"subnet_id": e.lan}); err != nil {
		return err
	}
	if e.service, err = e.create(ctx, "vpn/vpnservices", "vpnservice", client.Object{"name": name, "router_id": router}); err != nil {
		return err
	}
	e.local, err = e.create(ctx, "vpn/endpoint-groups", "endpoint_group", client.Object{"name": name, "type": "subnet", "endpoints": []string{e.lan}})
	return err
}

// connection makes the connection j of site i, with a peer network of its own.
func (e *estate) connection(ctx context.Context, i, j int) (string, error) {
	name := fmt.Sprintf("site-%02d-branch-%02d", i, j)
	peer, err := e.create(ctx, "vpn/endpoint-groups", "endpoint_group",
		client.Object{"name": name, "type": "cidr", "endpoints": []string{fmt.Sprintf("10.%d.%d.0/24", i, j)}})
	if err != nil {
		return "", err
	}
	address := fmt.Sprintf("203.0.113.%d", j+1)
	return e.create(ctx, "vpn/ipsec-site-connections", "ipsec_site_connection", client.Object{
		"name": name, "vpnservice_id": e.service, "ikepolicy_id": e.ike, "ipsecpolicy_id": e.ipsec, "local_ep_group_id": e.local,
		"peer_ep_group_id": peer, "peer_address": address, "peer_id": address, "psk": fmt.Sprintf("bench-key-%02d-%02d-kT7-wq2Lz9-Xm", i, j)})
}

var errSynced = errors.New("synced")

// reportUp tells the server, as a gateway does, that everything it wants is up.
func (c *culvert) reportUp(ctx context.Context) error {
	token, err := os.ReadFile(filepath.Join(c.data, "agent.token"))
	if err != nil {
		return err
	}
	gateway := agent.NewClient(c.api.URL, strings.TrimSpace(string(token)), agent.ClientOptions{})
	defer gateway.Close()
	var reports []vpn.Report
	err = gateway.Watch(ctx, 0, func(l agent.Line) error {
		if l.Synced != nil {
			return errSynced
		}
		if l.Spec != nil {
			reports = append(reports, allUp(l.Spec))
		}
		return nil
	})
	if !errors.Is(err, errSynced) {
		return err
	}
	return gateway.Report(ctx, vpn.Batch{Reports: reports})
}

func allUp(s *vpn.Spec) vpn.Report {
	r := vpn.Report{Router: s.Router, Rev: s.Rev, Ready: true}
	for _, c := range s.Connections {
		r.Connections = append(r.Connections, vpn.ConnectionReport{ID: c.ID, State: vpn.StateUp})
	}
	return r
}
