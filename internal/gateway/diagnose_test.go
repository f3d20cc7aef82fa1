package gateway

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/internal/testbox"
	"culvert/internal/vpn"
)

// Lines of strongSwan 5.9.8 about requests that it repeats.
func TestSilentStage(t *testing.T) {
	fresh, stands := peer{began: true}, peer{began: true, settled: time.Unix(1, 0)}
	for _, tt := range []struct {
		line, version string
		aggressive    bool
		p             peer
		established   bool
		want          stage
	}{
		{"retransmit 1 of request with message ID 0", "v2", false, fresh, false, atInit},
		{"retransmit 3 of request with message ID 1", "v2", false, fresh, false, atAuth},
		{"retransmit 1 of request with message ID 1", "v2", false, fresh, true, atAuth}, // of one more IKE_SA
		{"retransmit 2 of request with message ID 7", "v2", false, stands, true, live},
		{"retransmit 2 of request with message ID 7", "v2", false, peer{}, true, live}, // we came later
		{"sending retransmit 1 of request message ID 0, seq 1", "v1", false, fresh, false, atInit},
		{"sending retransmit 1 of request message ID 0, seq 2", "v1", false, fresh, false, atInit},
		{"sending retransmit 2 of request message ID 0, seq 3", "v1", false, fresh, false, atAuth},
		{"sending retransmit 1 of request message ID 0, seq 1", "v1", true, fresh, false, atInit},
		{"sending retransmit 1 of request message ID 0, seq 2", "v1", true, fresh, false, atAuth},
		{"sending retransmit 1 of request message ID 1788537932, seq 4", "v1", false, stands, true, live},
		{"DPD check timed out, enforcing DPD action", "v1", false, stands, true, live},
		{"received retransmit of request with ID 3, retransmitting response", "v2", false, fresh, false, answering},
		{"giving up after 3 retransmits", "v2", false, fresh, false, answering},
	} {
		c := &connection{established: tt.established, spec: testConnection("c1")}
		c.spec.IKE.Version, c.spec.IKE.Aggressive = tt.version, tt.aggressive
		if got, ok := silentStage(tt.line, c, tt.p); got != tt.want || ok != (tt.want != answering) {
			t.Errorf("%s, %s, %+v: %d, want %d", tt.version, tt.line, tt.p, got, tt.want)
		}
	}
}

func TestDiagnose(t *testing.T) {
	for _, tt := range []struct {
		at      stage
		found   reach
		version string
		code    string
		side    string
	}{
		{atInit, reach{ike: refused}, "v2", "peer_not_listening", "theirs"},
		{atInit, reach{ike: refused, natt: refused, echo: true}, "v1", "peer_not_listening", "theirs"},
		{atInit, reach{echo: true}, "v2", "udp_500_blocked", "path"},
		{atInit, reach{ike: stopped, echo: true}, "v2", "udp_500_blocked", "path"},
		{atInit, reach{ike: forbidden, natt: forbidden}, "v2", "udp_500_blocked", "ours"},
		{atInit, reach{}, "v2", "peer_unreachable", "path"},
		{atInit, reach{ike: stopped, natt: stopped}, "v2", "peer_unreachable", "path"},
		{atInit, reach{ike: noWay, natt: noWay}, "v2", "no_route", "ours"},
		{atInit, reach{ike: answered, natt: answered, echo: true}, "v2", "peer_ignores_us", "theirs"},
		{atAuth, reach{ike: answered}, "v2", "udp_4500_blocked", "path"},
		{atAuth, reach{ike: answered, natt: refused, echo: true}, "v1", "udp_4500_blocked", "path"},
		{atAuth, reach{natt: refused}, "v2", "udp_4500_blocked", "path"},
		{atAuth, reach{echo: true}, "v2", "udp_4500_blocked", "path"},
		{atAuth, reach{}, "v2", "peer_unreachable", "path"},
		{atAuth, reach{ike: refused, natt: refused}, "v2", "peer_not_listening", "theirs"},
		{atAuth, reach{ike: answered, natt: answered}, "v1", "psk_mismatch", "unknown"},
		{atAuth, reach{ike: answered, natt: answered}, "v2", "peer_ignores_us", "theirs"},
		{live, reach{ike: refused, natt: refused, echo: true}, "v2", "peer_not_listening", "theirs"},
		{live, reach{ike: refused, natt: answered}, "v2", "", ""}, // behind a NAT that knows UDP 4500 only
		{live, reach{ike: noWay, natt: noWay}, "v2", "no_route", "ours"},
		{live, reach{}, "v2", "", ""},
	} {
		c := testConnection("c1")
		c.IKE.Version = tt.version
		f := diagnose(tt.at, tt.found, c)
		if f.Code != tt.code || f.Side != tt.side || !f.silence {
			t.Errorf("%d %+v %s: %s on %q, want %s on %q", tt.at, tt.found, tt.version, f.Code, f.Side, tt.code, tt.side)
		}
		if f.Code != "" && (f.Phase == "" || f.Summary == "") {
			t.Errorf("%d %+v: incomplete: %+v", tt.at, tt.found, f.Reason)
		}
	}
}

// TestSilenceInOrder: what a peer says goes before what its silence means, and that before that charon gave up.
func TestSilenceInOrder(t *testing.T) {
	p := newTold(t, testConnection("c1"))
	c := p.conns["c1"]
	expect := func(code string) {
		t.Helper()
		if c.reason == nil || c.reason.Code != code {
			t.Errorf("%+v, want %s", c.reason, code)
		}
	}
	found := func(r reach) {
		p.looks = map[netip.Addr]*look{addrs("192.0.2.2")[0]: {ended: p.now, found: r}}
	}
	found(reach{ike: refused})
	p.hear("<c1|1> initiating IKE_SA c1[1] to 192.0.2.2\n<c1|1> retransmit 1 of request with message ID 0")
	expect("peer_not_listening")
	p.now = p.now.Add(7 * time.Second)
	p.hear("<c1|1> giving up after 3 retransmits")
	expect("peer_not_listening")
	p.hear("<c1|2> received NO_PROPOSAL_CHOSEN notify error")
	expect("no_proposal_chosen")
	found(reach{echo: true})
	p.hear("<c1|2> retransmit 1 of request with message ID 0")
	expect("no_proposal_chosen")
	p.now = p.now.Add(20 * time.Second)
	found(reach{echo: true})
	p.hear("<c1|3> retransmit 1 of request with message ID 0")
	expect("udp_500_blocked")

	p.up("c1")
	found(reach{ike: refused, natt: refused})
	p.hear("<c1|4> retransmit 1 of request with message ID 9")
	if r := c.report(); r.State != vpn.StateUp || r.Reason == nil || r.Reason.Code != "peer_not_listening" {
		t.Errorf("up, and the peer's daemon ended: %+v", r)
	}
	p.hear("<c1|4> parsed INFORMATIONAL response 9 [ ]")
	if r := c.report(); r.Reason != nil {
		t.Errorf("up, and the peer answers again: %+v", r)
	}
	p.hear("<c1|4> retransmit 1 of request with message ID 10\n<c1|4> giving up after 3 retransmits")
	c.see(nil, nil, p.now, 0)
	expect("peer_not_listening")

	p.up("c1")
	found(reach{})
	p.hear("<c1|5> retransmit 1 of request with message ID 3\n<c1|5> giving up after 3 retransmits")
	c.see(nil, nil, p.now, 0)
	expect("liveness_lost")
	p.now = p.now.Add(20 * time.Second)
	found(reach{})
	p.hear("<c1|6> initiating IKE_SA c1[6] to 192.0.2.2\n<c1|6> retransmit 1 of request with message ID 0")
	expect("liveness_lost") // unreachable says no more
}

// TestExamine: another charon answers the header that begins nothing, on both ports, and takes no IKE_SA from it.
func TestExamine(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaad1-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	answers := testConnection("c1")
	answers.Initiate = false
	s.set(testSpec(s.router, answers))
	ns, err := openNamespace(NamespaceName(s.router))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	expect := func(what string, peer netip.Addr, want reach) {
		t.Helper()
		start := time.Now()
		got := examine(t.Context(), ns, here, peer)
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		if took := time.Since(start); took > askLimit+300*time.Millisecond {
			t.Errorf("%s: it took %s", what, took)
		}
	}
	expect("a gateway", there, reach{ike: answered, natt: answered, echo: true})
	if sas, err := s.branch.ListSAs(t.Context()); err != nil || strings.TrimSpace(sas) != "" {
		t.Errorf("the peer has an IKE_SA from a probe: %s %v", sas, err)
	}
	expect("nobody", netip.MustParseAddr("192.0.2.99"), reach{})
	filter := func(in ...string) {
		t.Helper()
		if err := s.branch.Filter(t.Context(), in, nil); err != nil {
			t.Fatal(err)
		}
	}
	filter("udp dport 500 drop")
	expect("UDP 500 blocked", there, reach{natt: answered, echo: true})
	filter("udp dport 4500 reject with icmp type admin-prohibited")
	expect("UDP 4500 prohibited", there, reach{ike: answered, natt: stopped, echo: true})
	filter("drop")
	expect("all blocked", there, reach{})
	filter()
	if err := s.branch.StopCharon(); err != nil {
		t.Fatal(err)
	}
	if got := examine(t.Context(), ns, here, there); got.ike != refused {
		t.Errorf("no daemon: %+v", got)
	}
	output(t, "ip", "-n", NamespaceName(s.router), "route", "del", "default")
	if got := examine(t.Context(), ns, here, netip.MustParseAddr("203.0.113.1")); got.ike != noWay {
		t.Errorf("no route: %+v", got)
	}
}

// TestSilentPeers lets real peers fall silent in each way, and times the answer.
func TestSilentPeers(t *testing.T) {
	t.Parallel()
	s := newSite(t, "aaaaaad2-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA))
	if err := s.branch.StopCharon(); err != nil {
		t.Fatal(err)
	}
	spec := testSpec(s.router, testConnection("c1"))
	why := func(code string, within time.Duration) vpn.Reason {
		t.Helper()
		start := time.Now()
		c := s.await(s.router, "c1", code, within, func(c vpn.ConnectionReport) bool { return c.Reason != nil && c.Reason.Code == code })
		t.Logf("%s after %s", code, time.Since(start).Round(time.Millisecond))
		return *c.Reason
	}
	s.set(spec)
	why("peer_not_listening", 4*time.Second)
	if err := s.branch.Filter(t.Context(), []string{"udp dport 4500 drop"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.branch.StartCharon(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !testbox.KernelESP() { // which without a NAT has no need of that port
		why("udp_4500_blocked", 25*time.Second)
	}
	if err := s.branch.Filter(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	s.awaitUp(s.router, "c1")
	if err := s.branch.KillCharon(); err != nil {
		t.Fatal(err)
	}
	c := s.await(s.router, "c1", "warned", 5*time.Second, func(c vpn.ConnectionReport) bool { return c.Reason != nil })
	if c.State != vpn.StateUp || c.Reason.Code != "peer_not_listening" {
		t.Errorf("the peer's daemon was killed: %s with %+v", c.State, c.Reason)
	}
	c = s.await(s.router, "c1", "down", 15*time.Second, func(c vpn.ConnectionReport) bool { return c.State == vpn.StateDown })
	if c.Reason.Code != "peer_not_listening" || c.Reason.Phase != "liveness" {
		t.Errorf("the peer was given up: %+v", c.Reason)
	}
}
