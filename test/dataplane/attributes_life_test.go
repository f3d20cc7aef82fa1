package dataplane

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// initiatorAttribute: a connection that only answers says nothing first.
func initiatorAttribute(t *testing.T, table *attributes) {
	d := newDual(t)
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External}), sitetest.Network(0))
	wire := tap(t, branch.Namespace(), "eth0")
	c := d.connect(outer4(0), []string{sitetest.Network(0)}, client.Object{"initiator": "response-only"})
	d.Await(c.Path(), "ipsec_site_connection", 5*time.Second, "DOWN", "not_initiated")
	since := quiet(3)
	if sent := wire.sent(d.v4, time.Time{}); len(sent) > 0 {
		t.Errorf("response-only: %d IKE messages before the peer came, first exchange %d", len(sent), sent[0].exchange)
	}
	if err := branch.Initiate(t.Context(), "far-net"); err != nil {
		t.Fatal(err)
	}
	c.AwaitActive()
	d.passes(c.Remote)
	if sent := wire.requests(d.v4, since, exchangeInit, exchangeAuth); len(sent) > 0 {
		t.Errorf("response-only: %d requests of its own", len(sent))
	}
	table.saw("initiator", "response-only", "no IKE message of ours in 3 s; when the peer initiates, ACTIVE")
	if err := branch.Terminate(t.Context(), "far"); err != nil {
		t.Fatal(err)
	}
	d.Await(c.Path(), "ipsec_site_connection", 5*time.Second, "DOWN")
	since = time.Now()
	c.Put(client.Object{"initiator": "bi-directional"})
	c.AwaitActive()
	if sent := wire.requests(d.v4, since, exchangeInit); len(sent) == 0 {
		t.Error("bi-directional: it is ACTIVE without an IKE_SA_INIT of ours")
	}
	d.passes(c.Remote)
	table.saw("initiator", "bi-directional", "IKE_SA_INIT of ours, ACTIVE")
}

// adminAttribute: the peer is told with a DELETE, and nothing passes until it is up again. A name and a description are
// no affair of the wire.
func adminAttribute(t *testing.T, table *attributes) {
	d := newDual(t)
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External}), sitetest.Network(0))
	wire := tap(t, branch.Namespace(), "eth0")
	c := d.connect(outer4(0), []string{sitetest.Network(0)}, nil).With(branch)
	c.AwaitActive()
	c.Settle()
	renamed(t, d, c, wire, table)
	deletes := func() int {
		log, err := branch.Log()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(log, "received DELETE for IKE_SA")
	}
	for _, switched := range []struct{ of, path, key string }{
		{"ipsec_site_connection", c.Path(), "ipsec_site_connection"},
		{"vpnservice", "/v2.0/vpn/vpnservices/" + d.Service, "vpnservice"},
	} {
		before := deletes()
		d.Call("PUT", switched.path, client.Object{switched.key: client.Object{"admin_state_up": false}})
		d.Await(c.Path(), "ipsec_site_connection", 5*time.Second, "DOWN", "admin_down")
		sitetest.Poll(t, 5*time.Second, "the peer gets a DELETE", func() bool { return deletes() > before })
		if got := d.pings(c.Remote, 3); got > 0 {
			t.Errorf("%s admin down: %d pings were answered", switched.of, got)
		}
		since := quiet(1)
		if sent := wire.requests(d.v4, since); len(sent) > 0 {
			t.Errorf("%s admin down: %d IKE requests of ours", switched.of, len(sent))
		}
		table.saw("admin_state_up of "+switched.of, "false", "DELETE for the IKE_SA, no ping passes, no IKE request for 1 s; DOWN admin_down")
		d.Call("PUT", switched.path, client.Object{switched.key: client.Object{"admin_state_up": true}})
		c.AwaitActive()
		d.passes(c.Remote)
		table.saw("admin_state_up of "+switched.of, "true", "initiated again, ACTIVE, pings pass")
	}
}

// renamed counts what a new name and description cause: neither a packet nor a word to charon, whose log tells each.
func renamed(t *testing.T, d *dual, c *sitetest.Tunnel, wire *wire, table *attributes) {
	t.Helper()
	start := time.Now()
	log := d.CharonLog()
	c.Put(client.Object{"name": "another", "description": "another"})
	for kind, key := range map[string]string{"ikepolicies/" + d.ike: "ikepolicy", "ipsecpolicies/" + d.ipsec: "ipsecpolicy",
		"vpnservices/" + d.Service: "vpnservice", "endpoint-groups/" + c.PeerGroup: "endpoint_group"} {
		d.Call("PUT", "/v2.0/vpn/"+kind, client.Object{key: client.Object{"name": "another", "description": "another"}})
	}
	quiet(2)
	if now := d.CharonLog(); now != log {
		t.Errorf("a new name: charon did something:\n%s", strings.TrimPrefix(now, log))
	}
	if n := len(wire.sent(d.v4, start)); n > 0 {
		t.Errorf("a new name: %d IKE messages", n)
	}
	if status, _ := d.status(c); status != "ACTIVE" {
		t.Errorf("a new name: %s", status)
	}
	table.saw("name, description", "of all five resources", "no IKE message and no line in charon's log for 2 s; ACTIVE all the time")
}

// versionAttributes: the exchange types of the wire, and how several subnets become CHILD_SAs.
func versionAttributes(t *testing.T, table *attributes) {
	d := newDual(t)
	nets := []string{sitetest.Network(0), sitetest.SecondNetwork(0)}
	second := d.Make("subnets", "subnet", client.Object{"network_id": d.LAN, "cidr": "10.20.0.0/24", "ip_version": 4})
	d.Call("PUT", "/v2.0/routers/"+d.Router+"/add_router_interface", client.Object{"subnet_id": second})
	group := d.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "subnet", "endpoints": []string{d.Subnet, second}})
	var pairs strings.Builder
	for i, pair := range [][2]string{{nets[0], sitetest.HQNet}, {nets[0], "10.20.0.0/24"}, {nets[1], sitetest.HQNet}, {nets[1], "10.20.0.0/24"}} {
		pairs.WriteString(strings.NewReplacer("#", string(rune('0'+i)), "LOCAL", pair[0], "REMOTE", pair[1]).
			Replace("pair# {\n local_ts = LOCAL\n remote_ts = REMOTE\n esp_proposals = aes256-sha256-ecp256\n }\n "))
	}
	peer := far{local: outer4(0), remote: d.External}
	whole := peer
	whole.nets, whole.hqNets = strings.Join(nets, ","), sitetest.HQNet+",10.20.0.0/24"
	v1 := peer
	v1.version, v1.children = 1, pairs.String()
	aggressive := v1
	aggressive.aggressive = true
	branch := d.peer(0, swanctl(whole), nets...)
	wire := tap(t, branch.Namespace(), "eth0")
	policy := func(changes client.Object) string {
		return d.Make("vpn/ikepolicies", "ikepolicy", sitetest.With(client.Object{"encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group19"}, changes))
	}
	c := d.connect(outer4(0), nets, client.Object{"local_ep_group_id": group})
	for _, v := range []struct {
		value, policy string
		peer          far
		exchanges     []byte
		children      int
		seen          string
	}{
		{"v2", d.ike, whole, []byte{exchangeInit, exchangeAuth}, 1, "exchange types 34 (IKE_SA_INIT), 35 (IKE_AUTH); one CHILD_SA with both subnets of each side"},
		{"v1, main", policy(client.Object{"ike_version": "v1"}), v1, []byte{exchangeMain, exchangeQuick}, 4,
			"exchange types 2 (Identity Protection), 32 (Quick Mode); four CHILD_SAs, one for each pair of two subnets on both sides"},
		{"v1, aggressive", policy(client.Object{"ike_version": "v1", "phase1_negotiation_mode": "aggressive"}), aggressive, []byte{exchangeAggressive, exchangeQuick}, 4,
			"exchange types 4 (Aggressive), 32 (Quick Mode); four CHILD_SAs"},
	} {
		if err := branch.Load(t.Context(), swanctl(v.peer)); err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		if v.policy == d.ike { // it may have been refused before
			since = time.Time{}
		}
		c.Put(client.Object{"ikepolicy_id": v.policy})
		c.AwaitActive()
		for _, remote := range nets {
			d.passes(sitetest.FirstOf(remote))
		}
		var types []byte
		for _, p := range wire.requests(d.v4, since) { // not those of a look at a peer that was slow to answer
			other := int(p.version>>4) != v.peer.filled().version
			if !other && !slices.Contains(types, p.exchange) && !slices.Contains([]byte{exchangeInformational, 5, exchangeCreateChild}, p.exchange) {
				types = append(types, p.exchange)
			}
		}
		if !slices.Equal(types, v.exchanges) {
			t.Errorf("%s: exchange types %v, want %v", v.value, types, v.exchanges)
		}
		sitetest.Poll(t, 5*time.Second, v.value+": the CHILD_SAs at the peer", func() bool { return len(c.With(branch).SPIs()) == 2*v.children })
		table.saw("ike_version, phase1_negotiation_mode", v.value, "%s", v.seen)
	}
}

// lifetimeAttributes: an IKE_SA and a CHILD_SA are replaced under pings. The peer rekeys here, as it may at any time; that
// charon has our lifetimes its list of SAs says, and with CULVERT_SOAK those of 60 s are waited for.
func lifetimeAttributes(t *testing.T, table *attributes) {
	d := newDual(t)
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External}), sitetest.Network(0))
	wire := tap(t, branch.Namespace(), "eth0")
	c := d.connect(outer4(0), []string{sitetest.Network(0)}, nil).With(branch)
	c.AwaitActive()
	first := c.PingOn(5 * time.Millisecond)
	c.Settle()
	first.StopWithoutLoss("it is rekeyed for its PFS group's sake", 100)
	far := netip.MustParseAddr(outer4(0))
	for _, sa := range []struct{ of, flag, name string }{{"ipsecpolicy", "--child", "far-net"}, {"ikepolicy", "--ike", "far"}} {
		before, ike, since, pings := c.SPIs(), onlyIKE(c, ""), time.Now(), c.PingOn(5*time.Millisecond)
		d.Output1("swanctl", "--rekey", sa.flag, sa.name, "--uri", "unix:///run/dp/"+sitetest.Tag(t)+"/"+branch.Namespace()+"/charon.vici")
		sitetest.Poll(t, 5*time.Second, "a CREATE_CHILD_SA exchange", func() bool { return len(wire.requests(far, since, exchangeCreateChild)) > 0 })
		if sa.flag == "--ike" {
			onlyIKE(c, ike)
			c.KeepsSPIs("the IKE_SA is rekeyed", before)
		} else {
			c.AwaitRenewed(before)
		}
		quiet(1)
		pings.StopWithoutLoss("the peer rekeys "+sa.name, 50)
		if status, _ := d.status(c); status != "ACTIVE" {
			t.Errorf("rekeyed: %s", status)
		}
		table.saw("lifetime of "+sa.of, "rekeyed by the peer", "CREATE_CHILD_SA, other SPIs; ACTIVE all the time, no ping lost (5 ms apart)")
	}
	shortLives(t, d, c)
	table.saw("lifetime of ikepolicy", "60 seconds", "charon is to rekey the IKE_SA before it is 55 s old (make soak: CREATE_CHILD_SA of ours, other SPIs, no ping lost)")
	table.saw("lifetime of ipsecpolicy", "60 seconds", "charon is to rekey the CHILD_SA before it is 55 s old, and to end it with 60 s (make soak: CREATE_CHILD_SA of ours, other SPIs, no ping lost)")
	if soak() {
		awaitLives(t, d, c, wire)
	}
}

// shortLives sets both lifetimes to 60 s, one after the other, and waits until charon has SAs of these.
func shortLives(t *testing.T, d *dual, c *sitetest.Tunnel) {
	t.Helper()
	short := client.Object{"lifetime": client.Object{"units": "seconds", "value": 60}}
	lives := func() (ike, child, end int) {
		for _, sa := range ikeOf(c) {
			ike = max(ike, sa.rekeyIn)
		}
		for _, sa := range childSAs(d.Site) {
			child, end = max(child, sa.rekeyIn), max(end, sa.endIn)
		}
		return ike, child, end
	}
	if ike, child, end := lives(); ike < 60 || child < 60 || end < 60 {
		t.Errorf("before: rekeying in %d and %d s, the end of the CHILD_SA in %d s; all want to be longer than 60 s", ike, child, end)
	}
	d.Call("PUT", "/v2.0/vpn/ikepolicies/"+d.ike, client.Object{"ikepolicy": short})
	sitetest.Poll(t, 15*time.Second, "an IKE_SA that is rekeyed in 54 s at most", func() bool {
		ike, child, _ := lives()
		return ike > 0 && ike <= 54 && child > 60
	})
	d.Call("PUT", "/v2.0/vpn/ipsecpolicies/"+d.ipsec, client.Object{"ipsecpolicy": short})
	sitetest.Poll(t, 15*time.Second, "a CHILD_SA that is rekeyed in 54 s at most, and ends with 60 s", func() bool {
		_, child, end := lives()
		return child > 0 && child <= 54 && end > 0 && end <= 60
	})
	c.AwaitActive()
}

// awaitLives waits for the gateway to rekey by itself: both SAs come to have other SPIs, and no IKE_SA is made anew for it.
func awaitLives(t *testing.T, d *dual, c *sitetest.Tunnel, wire *wire) {
	t.Helper()
	settle(t, c)
	child, ike := spisOf(c), onlyIKE(c, "")
	since, pings := time.Now(), c.PingOn(5*time.Millisecond)
	for what, changed := range map[string]func() bool{
		"an ike_rekey":  func() bool { sas := ikeOf(c); return len(sas) == 1 && sas[0].spis != ike },
		"a child_rekey": func() bool { now := spisOf(c); return now != "" && now != child },
	} {
		sitetest.Poll(t, 90*time.Second, what, changed)
		t.Logf("lifetimes of 60 s: %s within %s", what, time.Since(since).Round(time.Second))
	}
	pings.StopWithoutLoss("both lifetimes are 60 s", 5000)
	if n := len(wire.requests(d.v4, since, exchangeCreateChild)); n < 2 {
		t.Errorf("%d CREATE_CHILD_SA requests of ours, want at least 2", n)
	}
	if n := len(wire.requests(d.v4, since, exchangeInit)); n > 0 {
		t.Errorf("%d IKE_SA_INIT requests of ours: an IKE_SA was made anew, not rekeyed", n)
	}
}

// pfsAttribute: the first exchange of IKEv2 does not speak of the group, so it is tried a moment later.
func pfsAttribute(t *testing.T, table *attributes) {
	d := newDual(t)
	branch := d.peer(0, swanctl(far{local: outer4(0), remote: d.External, esp: "aes256-sha256-modp2048"}), sitetest.Network(0))
	wire := tap(t, branch.Namespace(), "eth0")
	c := d.connect(outer4(0), []string{sitetest.Network(0)}, nil)
	d.Await(c.Path(), "ipsec_site_connection", 10*time.Second, "ACTIVE")
	up := time.Now()
	o := d.Await(c.Path(), "ipsec_site_connection", 10*time.Second, "ACTIVE", "pfs_mismatch")
	t.Logf("pfs: warned %s after ACTIVE: %v", time.Since(up).Round(time.Millisecond), o["status_reason"])
	if len(wire.requests(d.v4, time.Time{}, exchangeCreateChild)) == 0 {
		t.Error("pfs: no CREATE_CHILD_SA of ours")
	}
	d.passes(c.Remote)
	table.saw("pfs of ipsecpolicy", "other than the peer's", "the tunnel comes up; CREATE_CHILD_SA 1 to 2 s later is refused: ACTIVE with the warning pfs_mismatch, pings pass")
	d.Call("PUT", "/v2.0/vpn/ipsecpolicies/"+d.ipsec, client.Object{"ipsecpolicy": client.Object{"pfs": "group14"}})
	c.AwaitActive()
	sitetest.Poll(t, 10*time.Second, "rekeyed with the peer's group", c.Proven)
	if status, code := d.status(c); status != "ACTIVE" || code != "" {
		t.Errorf("pfs as the peer's: %s %s", status, code)
	}
	table.saw("pfs of ipsecpolicy", "changed to the peer's", "CREATE_CHILD_SA at once, with the group: ACTIVE without a warning")
}
