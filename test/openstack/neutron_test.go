//go:build openstack

package openstack

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/client"
	"culvert/internal/testbox"
)

// site is a router of a new project in Neutron, with one network inside. All of it was made through Culvert.
type site struct {
	*cloud
	url                       string
	log                       *testbox.Transcript
	admin, member             *client.Client // at Culvert
	project, projectName      string
	external, externalSubnet  string
	network, subnet, routerID string
}

// newSite makes one whose external network is of a kind of its own.
func newSite(t *testing.T, gateway string, flags ...string) *site {
	t.Helper()
	return newSiteOn(t, object{}, object{}, gateway, flags...)
}

// newSiteOn adds attributes to the external network and to the router, which the cloud's administrator then makes.
func newSiteOn(t *testing.T, wan, router object, gateway string, flags ...string) *site {
	t.Helper()
	s := &site{cloud: theCloud(t)}
	s.url, s.log = s.beside(t, gateway, flags...)
	s.project, s.projectName = s.newProject(t, "site")
	p := s.newPerson(t, s.project, s.projectName, "member")
	s.admin, s.member = at(s.cloud.admin(t), s.url), at(s.login(t, p.name, p.password, p.project), s.url)
	s.external = made(t, s.admin, "/v2.0/networks", "network", with(object{"name": "wan", "router:external": true}, wan))
	s.externalSubnet = made(t, s.admin, "/v2.0/subnets", "subnet", object{"network_id": s.external, "ip_version": 4, "cidr": "192.0.2.0/24", "gateway_ip": "192.0.2.254"})
	s.network = made(t, s.member, "/v2.0/networks", "network", object{"name": "lan"})
	s.subnet = made(t, s.member, "/v2.0/subnets", "subnet", object{"network_id": s.network, "ip_version": 4, "cidr": "10.1.0.0/24"})
	maker := s.member
	if len(router) > 0 {
		maker, router = s.admin, with(router, object{"project_id": s.project})
	}
	s.routerID = made(t, maker, "/v2.0/routers", "router", with(object{"name": "r"}, router))
	want(t, s.member, "PUT", s.router("/add_router_interface"), object{"subnet_id": s.subnet}, 200)
	return s
}

func with(o, more object) object {
	out := maps.Clone(o)
	maps.Copy(out, more)
	return out
}

func (s *site) router(action string) string { return "/v2.0/routers/" + s.routerID + action }

// gateway sets, or with "" clears, the router's external gateway.
func (s *site) gateway(t *testing.T, c *client.Client, network string, status int) object {
	t.Helper()
	info := object{}
	if network != "" {
		info["network_id"] = network
	}
	return want(t, c, "PUT", s.router(""), object{"router": object{"external_gateway_info": info}}, status)
}

// What is not ours is Neutron's: the same answers, its own refusals, and one address for everything.
func TestPassThrough(t *testing.T) {
	s := newSite(t, "none")
	direct := at(s.member, s.neutron)
	for _, uri := range []string{"/v2.0/networks?fields=id&fields=name", "/v2.0/routers/" + s.routerID, "/v2.0/subnets.json?ip_version=4",
		"/v2.0/security-groups", "/v2.0/floatingips", "/v2.0/routers/no-such", "/v2.0/no-such", "/v2.0/extensions/dvr"} {
		code1, one, err1 := s.member.Do(t.Context(), "GET", uri, nil)
		code2, two, err2 := direct.Do(t.Context(), "GET", uri, nil)
		if err1 != nil || err2 != nil || code1 != code2 || string(one) != string(two) {
			t.Errorf("%s: %d %s %v, from Neutron itself %d %s %v", uri, code1, one, err1, code2, two, err2)
		}
	}
	made(t, s.member, "/v2.0/networks", "network", object{"name": "more"})
	a, page := get(t, s.member, "/v2.0/networks?limit=1")
	if ids := a.Header.Values("X-Openstack-Request-Id"); len(ids) != 1 {
		t.Errorf("request ids %q", ids)
	}
	if links := page["networks_links"].([]any); !strings.HasPrefix(links[0].(object)["href"].(string), s.url+"/v2.0/networks?") {
		t.Errorf("the next page lies at %v, not at Culvert", links)
	}
	if a, _ := get(t, &client.Client{URL: s.url, Token: "nonsense"}, "/v2.0/networks"); a.StatusCode != 401 {
		t.Errorf("with a token of nobody: %s", a.Status)
	}
}

// Extensions and the index are of both.
func TestDiscoveryOfBoth(t *testing.T) {
	s := newSite(t, "none")
	aliases := func(c *client.Client) (out []string) {
		for _, e := range list(t, c, "/v2.0/extensions", "extensions") {
			out = append(out, e["alias"].(string))
		}
		slices.Sort(out)
		return out
	}
	here, there := aliases(s.member), aliases(at(s.member, s.neutron))
	if slices.Contains(there, "vpnaas") || !slices.Contains(here, "vpnaas") {
		t.Fatalf("vpnaas is Culvert's: Neutron has %v, we answer %v", there, here)
	}
	for _, alias := range there {
		if !slices.Contains(here, alias) {
			t.Errorf("the extension %s of Neutron is missing", alias)
		}
	}
	if len(slices.Compact(slices.Clone(here))) != len(here) {
		t.Errorf("an extension is there twice: %v", here)
	}
	want(t, s.member, "GET", "/v2.0/extensions/vpnaas", nil, 200)
	names := []string{}
	for _, r := range list(t, s.member, "/v2.0/", "resources") {
		names = append(names, r["name"].(string))
	}
	for _, name := range []string{"vpnservice", "network", "subnet"} {
		if !slices.Contains(names, name) {
			t.Errorf("the index has no %s: %v", name, names)
		}
	}
}

// get is a GET with the headers of its answer.
func get(t *testing.T, c *client.Client, uri string) (*http.Response, object) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", c.URL+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", c.Token)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	var o object
	if err := json.NewDecoder(a.Body).Decode(&o); err != nil {
		t.Fatalf("%s: %v", uri, err)
	}
	return a, o
}

// While Neutron is away, what is its own is a 503, and so is what would have to be asked; what a VPN stands on already can be
// worked on. When it is back, so is everything.
func TestNeutronAway(t *testing.T) {
	s := newSite(t, "none")
	id := made(t, s.member, "/v2.0/vpn/vpnservices", "vpnservice", object{"router_id": s.routerID})
	group := made(t, s.member, "/v2.0/vpn/endpoint-groups", "endpoint_group", object{"type": "subnet", "endpoints": []string{s.subnet}})
	s.gateway(t, s.member, s.external, 200)
	eventually(t, "Culvert has looked at what is in use", 10*time.Second, func() bool { return s.service(t, id)["external_v4_ip"] != nil })
	connection := s.connection(t, id, group, object{})
	other := made(t, s.member, "/v2.0/routers", "router", object{"name": "other"})
	if err := script("stop", s.dir, "neutron"); err != nil {
		t.Fatal(err)
	}
	up := false
	start := func() {
		if up = true; script("start", s.dir, "neutron") != nil {
			t.Error("Neutron does not start again")
		}
	}
	defer func() {
		if !up {
			start()
		}
	}()
	onOther := object{"vpnservice": object{"router_id": other}}
	refused(t, s.member, "GET", "/v2.0/networks", nil, 503, "ServiceUnavailable")
	refused(t, s.member, "DELETE", s.router(""), nil, 409, "RouterInUse")
	refused(t, s.member, "POST", "/v2.0/vpn/vpnservices", onOther, 503, "ServiceUnavailable")
	want(t, s.member, "POST", "/v2.0/vpn/ikepolicies", object{"ikepolicy": object{"name": "one"}}, 201)
	want(t, s.member, "PUT", connection, object{"ipsec_site_connection": object{"peer_address": "192.0.2.9"}}, 200)
	want(t, s.member, "PUT", "/v2.0/vpn/vpnservices/"+id, object{"vpnservice": object{"admin_state_up": false}}, 200)
	start()
	eventually(t, "Neutron can be asked again", 30*time.Second, func() bool {
		code, _, err := s.member.Do(t.Context(), "POST", "/v2.0/vpn/vpnservices", onOther)
		return err == nil && code == 201
	})
	s.watchAnswers(t)
}

// service is a VPN service as the API answers it.
func (s *site) service(t *testing.T, id string) object {
	t.Helper()
	return want(t, s.member, "GET", "/v2.0/vpn/vpnservices/"+id, nil, 200)["vpnservice"].(object)
}

func reasonOf(v object) string {
	why, _ := v["status_reason"].(object)
	code, _ := why["code"].(string)
	return code
}

// A VPN service on a router of Neutron: the router's gateway and subnets are what Neutron says, now and after each change,
// whoever makes it; and what the VPN uses cannot be taken away through Culvert.
func TestServiceOnNeutronsRouter(t *testing.T) {
	s := newSite(t, "none")
	services := "/v2.0/vpn/vpnservices"
	refused(t, s.member, "POST", services, object{"vpnservice": object{"router_id": "00000000-0000-4000-8000-000000000000"}}, 404, "RouterNotFound")
	refused(t, s.member, "POST", services, object{"vpnservice": object{"router_id": s.routerID, "subnet_id": s.externalSubnet}}, 400, "SubnetIsNotConnectedToRouter")
	other, otherName := s.newProject(t, "other")
	p := s.newPerson(t, other, otherName, "member")
	stranger := at(s.login(t, p.name, p.password, p.project), s.url)
	refused(t, stranger, "POST", services, object{"vpnservice": object{"router_id": s.routerID}}, 404, "RouterNotFound")

	// Without a gateway (D7), then with one, through Culvert: it takes the address that Neutron gave.
	id := made(t, s.member, services, "vpnservice", object{"router_id": s.routerID})
	if v := s.service(t, id); v["status"] != "DOWN" || reasonOf(v) != "router_without_gateway" || v["external_v4_ip"] != nil {
		t.Fatalf("without a gateway: %v", v)
	}
	set := s.gateway(t, s.member, s.external, 200)["router"].(object)
	address := set["external_gateway_info"].(object)["external_fixed_ips"].([]any)[0].(object)["ip_address"]
	eventually(t, "the service has the router's address", 10*time.Second, func() bool { return s.service(t, id)["external_v4_ip"] == address })

	group := made(t, s.member, "/v2.0/vpn/endpoint-groups", "endpoint_group", object{"type": "subnet", "endpoints": []string{s.subnet}})
	refused(t, s.member, "POST", "/v2.0/vpn/endpoint-groups", object{"endpoint_group": object{"type": "subnet", "endpoints": []string{s.externalSubnet}}}, 400, "NonExistingSubnetInEndpointGroup")
	connection := s.connection(t, id, group, object{})
	s.guards(t, id, connection, group)

	// Behind our back, at Neutron itself.
	direct := at(s.member, s.neutron)
	s.gateway(t, direct, "", 200)
	eventually(t, "the service has no address", 20*time.Second, func() bool {
		v := s.service(t, id)
		return v["external_v4_ip"] == nil
	})
	s.lacksGateway(t, id, connection)
	s.gateway(t, direct, s.external, 200)
	eventually(t, "service and connection lack only a gateway host", 20*time.Second, func() bool {
		c := want(t, s.member, "GET", connection, nil, 200)["ipsec_site_connection"].(object)
		return reasonOf(s.service(t, id)) == "no_gateway_host" && reasonOf(c) == "no_gateway_host"
	})
	s.gateway(t, direct, "", 200)
	s.lacksGateway(t, id, connection)
	s.tells(t, connection, 0, "create", "update external_gateway_info=null", "reason router_without_gateway", "update external_gateway_info", "reason no_gateway_host",
		"update external_gateway_info=null", "reason router_without_gateway")
	want(t, direct, "PUT", s.router("/remove_router_interface"), object{"subnet_id": s.subnet}, 200)
	s.tells(t, connection, 0, "reason router_without_gateway", "update interfaces")
	want(t, direct, "DELETE", s.router(""), nil, 204)
	eventually(t, "service and connection say that the router is gone", 20*time.Second, func() bool {
		c := want(t, s.member, "GET", connection, nil, 200)["ipsec_site_connection"].(object)
		return reasonOf(s.service(t, id)) == "router_gone" && reasonOf(c) == "router_gone" && c["status"] == "DOWN"
	})
	s.tells(t, connection, 0, "update interfaces", "reason router_gone")
	want(t, s.member, "DELETE", connection, nil, 204)
	want(t, s.member, "DELETE", services+"/"+id, nil, 204)
	want(t, s.member, "DELETE", "/v2.0/vpn/endpoint-groups/"+group, nil, 204)
	want(t, s.member, "DELETE", "/v2.0/networks/"+s.network, nil, 204)
	s.watchAnswers(t)
}

// connection makes one with new policies and answers its URI.
func (s *site) connection(t *testing.T, service, group string, more object) string {
	t.Helper()
	ike := made(t, s.member, "/v2.0/vpn/ikepolicies", "ikepolicy", object{"pfs": "group19"})
	esp := made(t, s.member, "/v2.0/vpn/ipsecpolicies", "ipsecpolicy", object{"pfs": "group19"})
	peer := made(t, s.member, "/v2.0/vpn/endpoint-groups", "endpoint_group", object{"type": "cidr", "endpoints": []string{"10.2.0.0/24"}})
	attrs := with(object{"vpnservice_id": service, "ikepolicy_id": ike, "ipsecpolicy_id": esp, "peer_address": "192.0.2.2", "peer_id": "192.0.2.2",
		"psk": psk, "local_ep_group_id": group, "peer_ep_group_id": peer, "mtu": 1400}, more)
	return "/v2.0/vpn/ipsec-site-connections/" + made(t, s.member, "/v2.0/vpn/ipsec-site-connections", "ipsec_site_connection", attrs)
}

const psk = "kT7-wq2Lz9_Xm-beside"

// guards tries to take away what is used.
func (s *site) guards(t *testing.T, service, connection, group string) {
	t.Helper()
	member, port := s.member, ""
	for _, p := range list(t, member, "/v2.0/ports?device_id="+s.routerID, "ports") {
		if p["device_owner"] == "network:router_interface" {
			port = p["id"].(string)
		}
	}
	refused(t, member, "PUT", s.router(""), object{"router": object{"external_gateway_info": object{}}}, 409, "RouterInUse")
	refused(t, member, "PUT", s.router(""), object{"router": object{"external_gateway_info": nil}}, 409, "RouterInUse")
	second := made(t, s.admin, "/v2.0/networks", "network", object{"name": "wan2", "router:external": true})
	refused(t, member, "PUT", s.router(""), object{"router": object{"external_gateway_info": object{"network_id": second}}}, 409, "RouterInUse")
	refused(t, member, "DELETE", s.router(""), nil, 409, "RouterInUse")
	refused(t, member, "PUT", s.router("/remove_router_interface"), object{"subnet_id": s.subnet}, 409, "SubnetInUseByIPsecSiteConnection")
	refused(t, member, "PUT", s.router("/remove_router_interface"), object{"port_id": port}, 409, "SubnetInUseByIPsecSiteConnection")
	refused(t, member, "DELETE", "/v2.0/subnets/"+s.subnet, nil, 409, "SubnetInUse")
	refused(t, member, "DELETE", "/v2.0/networks/"+s.network, nil, 409, "SubnetInUse")
	refused(t, member, "DELETE", "/v2.0/ports/"+port, nil, 409, "ServicePortInUse")
	// What takes nothing away passes.
	want(t, member, "PUT", s.router(""), object{"router": object{"name": "renamed"}}, 200)
	s.gateway(t, member, s.external, 200)
	if got := want(t, at(member, s.neutron), "GET", s.router(""), nil, 200)["router"].(object); got["name"] != "renamed" || got["external_gateway_info"] == nil {
		t.Errorf("the router after all that: %v", got)
	}
}

// watchAnswers checks that gateways still get every Spec: nothing that is gone keeps the others from being told.
func (s *site) watchAnswers(t *testing.T) {
	t.Helper()
	if text := s.log.String(); strings.Contains(text, "specs after") || strings.Contains(text, psk) {
		t.Errorf("the server said:\n%s", text)
	}
	if d := cmp.Diff(0, strings.Count(s.log.String(), "status=500")); d != "" {
		t.Errorf("answers with 500: %s", d)
	}
}
