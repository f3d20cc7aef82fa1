package conformance

import (
	"encoding/json"
	"strings"
	"testing"
)

const psk = "rattle-the-drain-7"

// Everything that the command openstack can do with the five VPN resources, as admin and as a plain member at the same time,
// each in a project of its own; and a reader who sees what the member made and can change none of it. The command has no
// "unset" for VPN resources; a router has one.
func TestOpenStackClient(t *testing.T) {
	t.Parallel()
	pristine(t, "python3-openstackclient", "python3-neutronclient", "python3-osc-lib")
	s := newServer(t)
	home := s.project("home")
	member, reader := s.user("mia", "member", "home", home), s.user("rob", "reader", "home", home)
	t.Run("admin", func(t *testing.T) {
		t.Parallel()
		l := &life{openstack: newOpenStack(t, s, s.admin), name: "hq", external: s.external}
		l.begin()
		l.end()
	})
	t.Run("exit codes", func(t *testing.T) {
		t.Parallel()
		exitCodes(t, debian(t.TempDir(), s.variables(s.admin)...))
	})
	t.Run("member and reader", func(t *testing.T) {
		t.Parallel()
		l := &life{openstack: newOpenStack(t, s, member), name: "shop", external: s.external}
		l.begin()
		l.reads(newOpenStack(t, s, reader))
		l.end()
	})
}

// exitCodes are what scripts look at: a process for each command.
func exitCodes(t *testing.T, c command) {
	var made struct{ ID, Name string }
	out := c.must(t, openstackCommand, strings.Fields("vpn ike policy create once -f json")...)
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Name != "once" {
		t.Fatalf("%v: %s", err, out)
	}
	if got := c.must(t, openstackCommand, strings.Fields("vpn ike policy show once -f value -c ID")...); strings.TrimSpace(got) != made.ID {
		t.Errorf("show by name prints %q, want the id %s", got, made.ID)
	}
	c.must(t, openstackCommand, "vpn", "ike", "policy", "delete", made.ID)
	if r := c.run(t, openstackCommand, strings.Fields("vpn ike policy show once")...); r.code != 1 || !strings.Contains(r.stderr, "Unable to find") {
		t.Errorf("show after delete: exit code %d and %q, want 1 and a word on why", r.code, r.stderr)
	}
}

// life is that of one connection with all that it needs. Every name begins with the life's own.
type life struct {
	*openstack
	name, external                            string
	network, subnet, router                   string // ids
	local, peers, ike, ipsec, service, tunnel string
}

// named puts the life's name for every %.
func (l *life) named(line string) string { return strings.ReplaceAll(line, "%", l.name) }

func (l *life) shows(want object, line string) object {
	l.t.Helper()
	return l.openstack.shows(want, l.named(line))
}

func (l *life) lists(want object, line string) {
	l.t.Helper()
	l.openstack.lists(want, l.named(line))
}

func (l *life) refused(says, line string) {
	l.t.Helper()
	l.openstack.refused(says, l.named(line))
}

func (l *life) does(lines ...string) {
	l.t.Helper()
	for _, line := range lines {
		l.openstack.does(l.named(line))
	}
}

func (l *life) begin() {
	l.t.Helper()
	l.topology()
	l.groups()
	l.ikePolicy()
	l.ipsecPolicy()
	l.vpnService()
	l.connection()
}

func (l *life) topology() {
	l.t.Helper()
	l.network = id(l.shows(object{"name": l.name + "-lan", "status": "ACTIVE", "router:external": false, "mtu": 1500.0}, "network create %-lan"))
	l.subnet = id(l.shows(object{"name": l.name + "-lan4", "network_id": l.network, "cidr": "10.1.0.0/24", "gateway_ip": "10.1.0.1", "ip_version": 4.0},
		"subnet create --network %-lan --subnet-range 10.1.0.0/24 %-lan4"))
	l.router = id(l.shows(object{"name": l.name + "-gw", "external_gateway_info": nil, "admin_state_up": true}, "router create %-gw"))
	l.does("router set --external-gateway ext %-gw", "router add subnet %-gw %-lan4")
	r := l.shows(object{"id": l.router}, "router show %-gw")
	gateway, _ := r["external_gateway_info"].(object)
	ports, _ := r["interfaces_info"].([]any)
	if len(ports) != 1 || gateway["network_id"] != l.external {
		l.t.Fatalf("the router has the gateway %v and the interfaces %v", gateway, ports)
	}
	l.compare("the router's interface", object{"subnet_id": l.subnet, "ip_address": "10.1.0.1"}, ports[0].(object))
}

func (l *life) groups() {
	l.t.Helper()
	local := object{"Name": l.name + "-local", "Type": "subnet", "Endpoints": []any{l.subnet}, "Description": "", ".Project": true}
	l.local = id(l.shows(local, "vpn endpoint group create --type subnet --value %-lan4 %-local"))
	peers := object{"Name": l.name + "-far", "Type": "cidr", "Endpoints": []any{"10.2.0.0/24", "10.3.0.0/24"}, "Description": "branches"}
	l.peers = id(l.shows(peers, "vpn endpoint group create --type cidr --value 10.2.0.0/24 --value 10.3.0.0/24 --description branches %-far"))
	l.lists(object{"ID": l.local, "Name": l.name + "-local", "Type": "subnet", "Endpoints": []any{l.subnet}}, "vpn endpoint group list")
	l.does("vpn endpoint group set --name %-peers --description two %-far")
	peers["Name"], peers["Description"], peers["ID"] = l.name+"-peers", "two", l.peers
	l.shows(peers, "vpn endpoint group show %-peers")
	l.shows(local, "vpn endpoint group show "+l.local)
}

func (l *life) ikePolicy() {
	l.t.Helper()
	p := object{"Name": l.name + "-ike", "Description": "d", "Authentication Algorithm": "sha512", "Encryption Algorithm": "aes-192", "IKE Version": "v2",
		"Perfect Forward Secrecy (PFS)": "group14", "Phase1 Negotiation Mode": "main", "Lifetime": object{"units": "seconds", "value": 7200.0}, ".Project": true}
	l.ike = id(l.shows(p, "vpn ike policy create --description d --auth-algorithm sha512 --encryption-algorithm aes-192 --ike-version v2"+
		" --pfs group14 --phase1-negotiation-mode main --lifetime units=seconds,value=7200 %-ike"))
	l.does("vpn ike policy set --lifetime value=5400 --encryption-algorithm aes-256 %-ike")
	p["ID"], p["Lifetime"], p["Encryption Algorithm"] = l.ike, object{"units": "seconds", "value": 5400.0}, "aes-256"
	l.shows(p, "vpn ike policy show %-ike")
	l.lists(object{"ID": l.ike, "Name": l.name + "-ike", "Authentication Algorithm": "sha512", "Encryption Algorithm": "aes-256", "IKE Version": "v2",
		"Perfect Forward Secrecy (PFS)": "group14"}, "vpn ike policy list")
}

func (l *life) ipsecPolicy() {
	l.t.Helper()
	p := object{"Name": l.name + "-ipsec", "Description": "", "Authentication Algorithm": "sha384", "Encryption Algorithm": "aes-256", "Encapsulation Mode": "tunnel",
		"Transform Protocol": "esp", "Perfect Forward Secrecy (PFS)": "group14", "Lifetime": object{"units": "seconds", "value": 3600.0}}
	l.ipsec = id(l.shows(p, "vpn ipsec policy create --auth-algorithm sha384 --encryption-algorithm aes-256 --encapsulation-mode tunnel"+
		" --transform-protocol esp --pfs group14 %-ipsec"))
	l.does("vpn ipsec policy set --description quick --lifetime units=seconds,value=1800 %-ipsec")
	p["ID"], p["Description"], p["Lifetime"] = l.ipsec, "quick", object{"units": "seconds", "value": 1800.0}
	l.shows(p, "vpn ipsec policy show %-ipsec")
	l.lists(object{"ID": l.ipsec, "Name": l.name + "-ipsec", "Authentication Algorithm": "sha384", "Encapsulation Mode": "tunnel", "Transform Protocol": "esp",
		"Encryption Algorithm": "aes-256"}, "vpn ipsec policy list")
}

func (l *life) vpnService() {
	l.t.Helper()
	v := object{"Name": l.name + "-vpn", "Router": l.router, "Subnet": nil, "Flavor": nil, "State": true, "Description": "", ".Status": true, ".external_v4_ip": true}
	l.service = id(l.shows(v, "vpn service create --router %-gw %-vpn"))
	l.does("vpn service set --disable --description off %-vpn")
	v["ID"], v["State"], v["Description"] = l.service, false, "off"
	l.shows(v, "vpn service show %-vpn")
	l.does("vpn service set --enable %-vpn")
	l.lists(object{"ID": l.service, "Name": l.name + "-vpn", "Router": l.router, "State": true}, "vpn service list")
}

func (l *life) connection() {
	l.t.Helper()
	c := object{"Name": l.name + "-tunnel", "VPN Service": l.service, "IKE Policy": l.ike, "IPSec Policy": l.ipsec, "Local Endpoint Group ID": l.local,
		"Peer Endpoint Group ID": l.peers, "Peer Address": "203.0.113.77", "Peer ID": "203.0.113.77", "Peer CIDRs": []any{}, "Local ID": "", "MTU": 1400.0,
		"Initiator": "bi-directional", "Route Mode": "static", "Authentication Algorithm": "psk", "Pre-shared Key": psk, "State": true, ".Status": true,
		"Description": "", "dpd": object{"action": "restart", "interval": 15.0, "timeout": 60.0}}
	l.tunnel = id(l.shows(c, "vpn ipsec site connection create --vpnservice %-vpn --ikepolicy %-ike --ipsecpolicy %-ipsec --peer-address 203.0.113.77"+
		" --peer-id 203.0.113.77 --psk "+psk+" --local-endpoint-group %-local --peer-endpoint-group %-peers --mtu 1400 --dpd action=restart,interval=15,timeout=60 %-tunnel"))
	l.does("vpn ipsec site connection set --peer-id branch.example --dpd action=hold,interval=20,timeout=90 --initiator response-only --description new %-tunnel")
	c["ID"], c["Peer ID"], c["Initiator"], c["Description"] = l.tunnel, "branch.example", "response-only", "new"
	c["dpd"] = object{"action": "hold", "interval": 20.0, "timeout": 90.0}
	l.shows(c, "vpn ipsec site connection show %-tunnel")
	delete(c, "dpd") // the list has no column for it
	l.lists(c, "vpn ipsec site connection list --long")
	l.refused("in use", "vpn ike policy delete %-ike")
	l.refused("in use", "vpn service delete %-vpn")
}

// reads is what somebody with the role reader can do beside the life.
func (l *life) reads(o *openstack) {
	l.t.Helper()
	r := &life{openstack: o, name: l.name}
	r.lists(object{"ID": l.peers, "Name": l.name + "-peers"}, "vpn endpoint group list")
	r.lists(object{"ID": l.ike, "Name": l.name + "-ike"}, "vpn ike policy list")
	r.lists(object{"ID": l.ipsec, "Name": l.name + "-ipsec"}, "vpn ipsec policy list")
	r.lists(object{"ID": l.service, "Name": l.name + "-vpn"}, "vpn service list")
	r.lists(object{"ID": l.tunnel, "Name": l.name + "-tunnel", "Pre-shared Key": "******"}, "vpn ipsec site connection list --long")
	r.shows(object{"ID": l.tunnel, "Pre-shared Key": "******", "Peer ID": "branch.example"}, "vpn ipsec site connection show %-tunnel")
	const no = "disallowed by policy"
	r.refused(no, "vpn ike policy create mine")
	r.refused(no, "vpn endpoint group create --type cidr --value 10.9.0.0/24 mine")
	r.refused(no, "vpn ipsec policy set --description mine %-ipsec")
	r.refused(no, "vpn service set --disable %-vpn")
	r.refused(no, "vpn ipsec site connection set --peer-id stolen.example %-tunnel")
	r.refused(no, "vpn ipsec site connection delete %-tunnel")
	l.shows(object{"ID": l.tunnel, "Pre-shared Key": psk, "Peer ID": "branch.example"}, "vpn ipsec site connection show %-tunnel")
}

// end deletes everything and looks whether it is gone.
func (l *life) end() {
	l.t.Helper()
	l.does("vpn ipsec site connection delete %-tunnel", "vpn service delete "+l.service, "vpn ipsec policy delete %-ipsec", "vpn ike policy delete %-ike",
		"vpn endpoint group delete %-local %-peers")
	const gone = "Unable to find"
	l.refused(gone, "vpn ipsec site connection show %-tunnel")
	l.refused(gone, "vpn service show %-vpn")
	l.refused(gone, "vpn ipsec policy show %-ipsec")
	l.refused(gone, "vpn ike policy show "+l.ike)
	l.refused(gone, "vpn endpoint group show %-peers")
	l.does("router unset --external-gateway %-gw", "router remove subnet %-gw %-lan4", "router delete %-gw", "subnet delete %-lan4", "network delete %-lan")
}

// id is a resource's, under the name that its commands print.
func id(o object) string {
	for _, name := range []string{"ID", "id"} {
		if s, _ := o[name].(string); s != "" {
			return s
		}
	}
	return ""
}
