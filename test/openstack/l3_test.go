//go:build openstack

package openstack

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/lab"
)

// A tunnel in the namespace that Neutron's L3 agent makes of a router: everything that the API was asked for is there
// without anybody else's help, and what Neutron does to the router later leaves the tunnel alone.
func TestTunnelInTheCloudsNamespace(t *testing.T) {
	l := newLine(t, "qrouter-", object{})
	guard := l.guard(t)
	same := func(what string) {
		t.Helper()
		if d := cmp.Diff(guard, l.guard(t)); d != "" {
			t.Errorf("the guard after %s: %s", what, d)
		}
	}

	for _, c := range []struct {
		what string
		do   func()
	}{
		{"the L3 agent restarts", func() { l.restart(t, "l3", "Finished a router update for "+l.routerID) }},
		{"the L2 agent restarts", func() { l.restart(t, "l2", "Port tap"+l.internalPort(t)[:11]+" updated. Details") }},
		{"the router gets a name and a static route", func() {
			route := []object{{"destination": "10.3.0.0/24", "nexthop": "10.1.0.10"}}
			want(t, l.member, "PUT", l.router(""), object{"router": object{"name": "renamed", "routes": route}}, 200)
			eventually(t, "the L3 agent has set the route", 30*time.Second, func() bool { return strings.Contains(l.look(t), "10.3.0.0/24") })
		}},
		{"SNAT is switched off", func() {
			l.snat(t, false)
			eventually(t, "the L3 agent has no SNAT", 30*time.Second, func() bool { return !l.hasSNAT(t) })
		}},
		{"SNAT is switched on", func() {
			l.snat(t, true)
			eventually(t, "the L3 agent has SNAT", 30*time.Second, func() bool { return l.hasSNAT(t) })
		}},
	} {
		if lost := l.while(t, c.what, c.do); lost > 0 {
			t.Errorf("%s: %d pings lost", c.what, lost)
		}
		same(c.what)
	}

	// What Neutron takes away and makes anew: the tunnel comes back by itself.
	l.whileAway(t, "the router is switched off and on", func() {
		for _, up := range []bool{false, true} {
			want(t, l.member, "PUT", l.router(""), object{"router": object{"admin_state_up": up}}, 200)
			eventually(t, "the L3 agent has done so", 30*time.Second, func() bool {
				_, err := os.Stat("/run/netns/" + l.namespace)
				return (err == nil) == up
			})
			eventually(t, "Culvert has seen so", 30*time.Second, func() bool { return strings.HasSuffix(l.switched(t), "=false") != up })
		}
	})

	// Behind our back, at Neutron itself: through Culvert it would be refused.
	told := len(l.timeline(t, l.connection))
	l.whileAway(t, "the router's gateway is taken and given back", func() {
		l.site.gateway(t, at(l.admin, l.neutron), "", 200)
		l.lacksGateway(t, l.service, l.connection)
		l.snat(t, true)
	})
	l.tells(t, l.connection, told, "update external_gateway_info=null", "down router_without_gateway|reason router_without_gateway", "update external_gateway_info", "up")
	l.leaves(t)
}

// switched is the newest of the timeline about the router's admin_state_up.
func (l *line) switched(t *testing.T) (newest string) {
	t.Helper()
	for _, e := range l.timeline(t, l.connection) {
		if strings.HasPrefix(e, "update admin_state_up") {
			newest = e
		}
	}
	return newest
}

// whileAway is what takes the router away and brings it back: how long the tunnel is gone is measured from then on.
func (l *line) whileAway(t *testing.T, what string, fn func()) {
	t.Helper()
	fn()
	l.until(t, what+": the tunnel is there again", 60*time.Second, func() bool {
		got, err := lab.Ping(t.Context(), l.host, here, there, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		return got.Received == 1
	})
	eventually(t, "the connection is ACTIVE again", 10*time.Second, func() bool { return l.status(t) == "ACTIVE" })
}

// leaves takes the VPN away, and then the router: the namespace is Neutron's alone, and goes.
func (l *line) leaves(t *testing.T) {
	t.Helper()
	want(t, l.member, "DELETE", l.connection, nil, 204)
	want(t, l.member, "DELETE", "/v2.0/vpn/vpnservices/"+l.service, nil, 204)
	eventually(t, "nothing of ours is in the namespace", 20*time.Second, func() bool {
		text := l.look(t)
		return !strings.Contains(text, "culvert") && !strings.Contains(text, "ipsec0") && !strings.Contains(text, "lookup 220") && l.hasSNAT(t)
	})
	l.pinged(t, l.host, here, netip.MustParseAddr("192.0.2.2")) // by Neutron's SNAT
	l.clear(t)
	eventually(t, "the namespace has gone", 30*time.Second, func() bool {
		_, err := os.Stat("/run/netns/" + l.namespace)
		return os.IsNotExist(err)
	})
}

// restart ends an agent and starts it again, and waits until the new process's log says so that it has done its work.
func (l *line) restart(t *testing.T, name, says string) {
	t.Helper()
	if err := script("stop", l.dir, name); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(l.dir, "log", name)
	before, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := script("start", l.dir, name); err != nil {
		t.Fatal(err)
	}
	eventually(t, name+" has done its work", 60*time.Second, func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text[len(before):]), says)
	})
}

// internalPort is the router's port in the tenant's network.
func (s *site) internalPort(t *testing.T) string {
	t.Helper()
	for _, p := range list(t, s.admin, "/v2.0/ports?device_id="+s.routerID+"&network_id="+s.network, "ports") {
		return p["id"].(string)
	}
	t.Fatal("the router has no port in the tenant's network")
	return ""
}

var snatRule = regexp.MustCompile(`-o qg-\S+ -j SNAT --to-source 192\.0\.2\.1`)

func (l *line) hasSNAT(t *testing.T) bool { return snatRule.MatchString(l.look(t)) }

// snat sets enable_snat of the router's gateway.
func (l *line) snat(t *testing.T, on bool) {
	t.Helper()
	info := object{"network_id": l.external, "enable_snat": on, "external_fixed_ips": []object{{"subnet_id": l.externalSubnet, "ip_address": "192.0.2.1"}}}
	want(t, l.admin, "PUT", l.router(""), object{"router": object{"external_gateway_info": info}}, 200)
}
