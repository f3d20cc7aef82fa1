package sitetest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/gateway"
	"culvert/internal/lab"
	"culvert/internal/testbox"
)

// The addresses of a site. Each test has links of its own, so they are the same in all.
const (
	OuterNet = "198.51.100.0/24"
	NextHop  = "198.51.100.40" // the first branch's address
	HQNet    = "10.10.0.0/24"
	HQHost   = "10.10.0.10"
)

// Site is a head office on a server: a router between a provider's network and an inner one, a VPN service on it, and
// a machine on the inner network.
type Site struct {
	*Server
	WAN, LAN, Subnet, Router, Service, External string
	HQ                                          *lab.Host
}

// NewSite starts a server and lays a site on it.
func NewSite(t *testing.T, args ...string) *Site {
	t.Helper()
	s := &Site{Server: NewServer(t, args...)}
	s.LayNetworks(nil, nil)
	s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}})
	s.LayService()
	s.AwaitService("ACTIVE", "")
	if testbox.KernelESP() {
		s.AwaitOutput("data plane: kernel, which has ESP", time.Second)
	}
	s.StartHQ(BridgeOf(s.LAN))
	return s
}

// LayNetworks makes the networks with their subnets; physical networks may be given.
func (s *Site) LayNetworks(wan, lan client.Object) {
	s.T.Helper()
	s.WAN = s.Make("networks", "network", With(client.Object{"name": "wan", "router:external": true}, wan))
	s.Make("subnets", "subnet", client.Object{"name": "wan", "network_id": s.WAN, "cidr": OuterNet, "ip_version": 4, "gateway_ip": NextHop,
		"enable_dhcp": false, "allocation_pools": []client.Object{{"start": "198.51.100.2", "end": "198.51.100.30"}}})
	s.LAN = s.Make("networks", "network", With(client.Object{"name": "lan"}, lan))
	s.Subnet = s.Make("subnets", "subnet", client.Object{"name": "lan", "network_id": s.LAN, "cidr": HQNet, "ip_version": 4})
}

func (s *Site) LayRouter(attributes client.Object) {
	s.T.Helper()
	s.Router = s.Make("routers", "router", With(client.Object{"name": "hq"}, attributes))
	s.Call("PUT", "/v2.0/routers/"+s.Router+"/add_router_interface", client.Object{"subnet_id": s.Subnet})
}

func (s *Site) LayService() {
	s.T.Helper()
	v := s.Create("vpn/vpnservices", "vpnservice", client.Object{"name": "hq", "router_id": s.Router})
	s.Service = v["id"].(string)
	s.External, _ = v["external_v4_ip"].(string)
}

func (s *Site) StartHQ(bridge string) {
	s.T.Helper()
	hq, err := lab.StartHost(s.T.Context(), lab.HostConfig{Name: "hq" + Tag(s.T), Bridge: bridge,
		Address: []netip.Prefix{netip.MustParsePrefix(HQHost + "/24")}, Gateway: []netip.Addr{Addr("10.10.0.1")}})
	if err != nil {
		s.T.Fatal(err)
	}
	s.HQ = hq
	s.T.Cleanup(func() {
		if err := hq.Close(); err != nil {
			s.T.Error(err)
		}
	})
}

// Make creates a resource and answers its id.
func (s *Site) Make(collection, key string, attributes client.Object) string {
	s.T.Helper()
	return s.Create(collection, key, attributes)["id"].(string)
}

// With are attributes, some of them changed.
func With(o, changes client.Object) client.Object {
	o = maps.Clone(o)
	maps.Copy(o, changes)
	return o
}

func Addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// Namespace is the router's.
func (s *Site) Namespace() string { return gateway.NamespaceName(s.Router) }

func (s *Site) AwaitService(status, code string) client.Object {
	s.T.Helper()
	codes := []string{}
	if code != "" {
		codes = append(codes, code)
	}
	return s.Await("/v2.0/vpn/vpnservices/"+s.Service, "vpnservice", 20*time.Second, status, codes...)
}

// Await polls an item until it has a status and, where codes are given, a reason with one of them.
func (s *Server) Await(path, key string, within time.Duration, status string, codes ...string) client.Object {
	s.T.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		o, _ := s.Call("GET", path, nil)[key].(client.Object)
		why, _ := o["status_reason"].(client.Object)
		code, _ := why["code"].(string)
		if o["status"] == status && (len(codes) == 0 || slices.Contains(codes, code)) {
			return o
		}
		if time.Now().After(deadline) {
			s.T.Fatalf("%s is not %s %s within %s; it is %v: %v", path, status, strings.Join(codes, " or "), within, o["status"], why)
		}
	}
}

// BridgeOf is the host bridge of a network that is mapped to no physical one.
func BridgeOf(network string) string { return gateway.BridgeName(network) }

// Listed is JSON as text, for a search.
func Listed(v any) string { return fmt.Sprint(v) }
