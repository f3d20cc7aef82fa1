package api

import (
	"testing"

	"culvert/internal/client"
	"culvert/internal/vpntest"
)

// scene is the topology that the transcripts stand on, laid through the API. In the project home:
//
//	$router    gateway 203.0.113.0/24 and 2001:db8:ffff::/64; $lan 10.10.0.0/24, $lan_b 10.11.0.0/24, $lan6 2001:db8:10::/64
//	$router4   gateway 198.18.0.0/24 alone; $lan4 10.40.0.0/24
//	$bare      no gateway; $bare_lan 10.20.0.0/24
//	$loose     10.30.0.0/24, a subnet on no router
//
// In away: $away_router with $away_lan 10.90.0.0/24, on the first external network.
type scene struct {
	testing.TB
	srv  *vpntest.Server
	vars map[string]string
}

func layScene(t testing.TB, srv *vpntest.Server) map[string]string {
	t.Helper()
	s := &scene{t, srv, map[string]string{"home": srv.Home, "away": srv.Away, "admin_project": srv.As("admin").Project}}
	s.network("admin", "wan", client.Object{"router:external": true})
	s.subnet("admin", "wan", "wan_v4", 4, "203.0.113.0/24")
	s.subnet("admin", "wan", "wan_v6", 6, "2001:db8:ffff::/64")
	s.network("admin", "wan4", client.Object{"router:external": true})
	s.subnet("admin", "wan4", "wan4_v4", 4, "198.18.0.0/24")
	s.router("member", "router", "wan")
	s.lan("member", "router", "lan", 4, "10.10.0.0/24")
	s.lan("member", "router", "lan_b", 4, "10.11.0.0/24")
	s.lan("member", "router", "lan6", 6, "2001:db8:10::/64")
	s.router("member", "router4", "wan4")
	s.lan("member", "router4", "lan4", 4, "10.40.0.0/24")
	s.router("member", "bare", "")
	s.lan("member", "bare", "bare_lan", 4, "10.20.0.0/24")
	s.network("member", "loose_net", client.Object{})
	s.subnet("member", "loose_net", "loose", 4, "10.30.0.0/24")
	s.router("stranger", "away_router", "wan")
	s.lan("stranger", "away_router", "away_lan", 4, "10.90.0.0/24")
	srv.Base = srv.Rev(t)
	return s.vars
}

func (s *scene) create(as, name, collection, key string, attributes client.Object) {
	s.Helper()
	attributes["name"] = name
	made, err := s.srv.As(as).Create(s.Context(), collection, key, attributes)
	if err != nil {
		s.Fatal(err)
	}
	s.vars[name] = made["id"].(string)
}

func (s *scene) network(as, name string, attributes client.Object) {
	s.Helper()
	s.create(as, name, "networks", "network", attributes)
}

func (s *scene) subnet(as, network, name string, version int, cidr string) {
	s.Helper()
	s.create(as, name, "subnets", "subnet", client.Object{"network_id": s.vars[network], "ip_version": version, "cidr": cidr})
}

func (s *scene) router(as, name, gateway string) {
	s.Helper()
	attributes := client.Object{}
	if gateway != "" {
		attributes["external_gateway_info"] = client.Object{"network_id": s.vars[gateway]}
	}
	s.create(as, name, "routers", "router", attributes)
}

// lan is a network with one subnet on the router.
func (s *scene) lan(as, router, name string, version int, cidr string) {
	s.Helper()
	s.network(as, name+"_net", client.Object{})
	s.subnet(as, name+"_net", name, version, cidr)
	_, err := s.srv.As(as).Call(s.Context(), "PUT", "/v2.0/routers/"+s.vars[router]+"/add_router_interface", client.Object{"subnet_id": s.vars[name]})
	if err != nil {
		s.Fatal(err)
	}
}
