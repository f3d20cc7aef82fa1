package gateway

import (
	"testing"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// Lines as strongSwan 5.9.8 writes them.
func TestClassify(t *testing.T) {
	down, ike, up := circumstances{}, circumstances{established: true}, circumstances{established: true, up: true}
	for _, tt := range []struct {
		line        string
		in          circumstances
		code, phase string
	}{
		{"received AUTHENTICATION_FAILED notify error", down, "auth_failed", "ike_auth"},
		{"received AUTHENTICATION_FAILED error notify", down, "auth_failed", "ike_auth"},
		{"tried 1 shared key for '192.0.2.2' - '192.0.2.1', but MAC mismatched", down, "psk_mismatch", "ike_auth"},
		{"tried 2 shared keys for '192.0.2.2' - '192.0.2.1', but MAC mismatched", down, "psk_mismatch", "ike_auth"},
		{"invalid HASH_V1 payload length, decryption failed?", down, "psk_mismatch", "ike_auth"},
		{"no shared key found for '192.0.2.1' - '192.0.2.2'", down, "no_shared_key", "ike_auth"},
		{"received NO_PROPOSAL_CHOSEN notify error", down, "no_proposal_chosen", "ike_init"},
		{"received NO_PROPOSAL_CHOSEN error notify", down, "no_proposal_chosen", "ike_init"},
		{"received NO_PROPOSAL_CHOSEN error notify", ike, "child_proposal_mismatch", "child"},
		{"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", ike, "child_proposal_mismatch", "child"},
		{"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", up, "child_proposal_mismatch", "rekey"},
		{"no acceptable proposal found", ike, "child_proposal_mismatch", "child"},
		{"no acceptable proposal found", up, "child_proposal_mismatch", "rekey"},
		{"no matching proposal found, sending NO_PROPOSAL_CHOSEN", ike, "child_proposal_mismatch", "child"},
		{"received proposals unacceptable", down, "ike_proposal_mismatch", "ike_init"},
		{"no IKE config found for 192.0.2.1...192.0.2.2, sending NO_PROPOSAL_CHOSEN", down, "no_ike_config", "ike_init"},
		{"received TS_UNACCEPTABLE notify, no CHILD_SA built", ike, "ts_unacceptable", "child"},
		{"traffic selectors 10.1.0.0/24 === 10.9.0.0/24 unacceptable", ike, "ts_unacceptable", "child"},
		{"no matching CHILD_SA config found for 10.1.0.0/24 === 10.9.0.0/24", ike, "ts_unacceptable", "child"},
		{"no matching peer config found", down, "identity_mismatch", "ike_auth"},
		{"giving up after 3 retransmits", down, "peer_unreachable", "ike_init"},
		{"giving up after 3 retransmits", ike, "liveness_lost", "liveness"},
		{"giving up after 5 retransmits", up, "liveness_lost", "liveness"},
		{"unable to resolve vpn.example.com, initiate aborted", down, "peer_unresolved", "resolve"},
		{"unable to resolve 2001:db8::2, initiate aborted", down, "no_route", "ike_init"},
		{"received DELETE for IKE_SA c1[4]", up, "peer_deleted", "liveness"},
		{"received DELETE for ESP CHILD_SA with SPI c1c2c3c4", up, "peer_deleted", "liveness"},
		{"error installing route with policy 10.1.0.0/24 === 10.2.0.0/24 out", ike, "install_failed", "local"},
		{"unable to install IPsec policies (SPD) in kernel", ike, "install_failed", "local"},
		{"failed to establish CHILD_SA, keeping IKE_SA", ike, "child_failed", "child"},
		{"sending packet: from 192.0.2.1[500] to 192.0.2.2[500] (272 bytes)", down, "", ""},
		{"IKE_SA c1[1] established between 192.0.2.1[192.0.2.1]...192.0.2.2[192.0.2.2]", down, "", ""},
		{"selecting traffic selectors for us", up, "", ""},
		{"sending DPD request", up, "", ""},
	} {
		f, ok := classify(tt.line, tt.in)
		if ok != (tt.code != "") || f.Code != tt.code || f.Phase != tt.phase {
			t.Errorf("%q %+v: %s in %s, want %s in %s", tt.line, tt.in, f.Code, f.Phase, tt.code, tt.phase)
		}
		if ok && (f.Side == "" || f.Summary == "") {
			t.Errorf("%q: no side or summary: %+v", tt.line, f.Reason)
		}
	}
}

func TestHistory(t *testing.T) {
	h := newHistory()
	line := func(sa, msg string) peer {
		return h.note(vici.NewMessage().Set("ikesa-uniqueid", sa).Set("msg", msg), time.Time{})
	}
	if p := line("", "no IKE config found for 192.0.2.1...192.0.2.2, sending NO_PROPOSAL_CHOSEN"); p.address != addrs("192.0.2.2")[0] {
		t.Errorf("no IKE config: %+v", p)
	}
	line("7", "192.0.2.2 is initiating an IKE_SA")
	line("7", "looking for peer configs matching 192.0.2.1[west]...192.0.2.2[east.example.com]")
	line("8", "received packet: from 2001:db8::9[4500] to 2001:db8::1[4500] (80 bytes)")
	if p := line("7", "no matching peer config found"); p != (peer{address: addrs("192.0.2.2")[0], ours: "west", theirs: "east.example.com"}) {
		t.Errorf("SA 7: %+v", p)
	}
	if p := line("8", "anything"); p.address != addrs("2001:db8::9")[0] {
		t.Errorf("SA 8: %+v", p)
	}
}

// TestReasons plays what a connection learns against the reason that it gives.
func TestReasons(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	installed := []ikeSA{{id: "1", state: "ESTABLISHED", children: []childSA{{name: "c1", state: "INSTALLED"}}}}
	fresh := func() *connection {
		spec := testConnection("c1")
		cfg, err := configure(spec, Userland, marker("salt"))
		if err != nil {
			t.Fatal(err)
		}
		c := &connection{spec: spec, cfg: cfg, loaded: true}
		c.waiting(start)
		return c
	}
	note := func(c *connection, line string, after time.Duration) {
		f, ok := classify(line, circumstances{established: c.established, up: c.state == vpn.StateUp})
		if !ok {
			t.Fatalf("%q says nothing", line)
		}
		c.note(f, start.Add(after))
	}
	expect := func(what string, c *connection, code string) {
		t.Helper()
		got := "up"
		if c.reason != nil {
			got = c.reason.Code
		}
		if got != code || (code == "up") != (c.state == vpn.StateUp) {
			t.Errorf("%s: %s %s, want %s", what, c.state, got, code)
		}
	}

	c := fresh()
	note(c, "invalid HASH_V1 payload length, decryption failed?", time.Second)
	note(c, "giving up after 3 retransmits", 5*time.Second)
	expect("a consequence after its cause", c, "psk_mismatch")
	note(c, "giving up after 3 retransmits", 30*time.Second)
	expect("a later attempt", c, "peer_unreachable")

	c = fresh()
	note(c, "tried 1 shared key for 'a' - 'b', but MAC mismatched", time.Second)
	note(c, "received AUTHENTICATION_FAILED notify error", 2*time.Second)
	expect("a vague one after a certain one", c, "psk_mismatch")
	first := c.reason.FirstSeen
	note(c, "tried 1 shared key for 'a' - 'b', but MAC mismatched", 3*time.Second)
	if c.reason.FirstSeen != first || c.reason.LastSeen == first {
		t.Errorf("the same code again: first seen %s, then %+v", first, c.reason)
	}
	c.see(installed, installed, start, 0)
	expect("installed", c, "up")

	c = fresh()
	c.see(installed, installed, start, 0)
	note(c, "received DELETE for ESP CHILD_SA with SPI c1c2c3c4", time.Second) // of a rekey
	c.see(installed, installed, start.Add(time.Second), 0)
	expect("rekeyed", c, "up")
	c.see(nil, nil, start.Add(time.Minute), 0)
	expect("lost long after", c, "sa_lost")
	if !c.starting(start.Add(time.Minute)) || c.starting(start.Add(time.Minute+startGrace)) {
		t.Error("lost for no known reason: told at once, or never")
	}
	note(c, "received DELETE for IKE_SA c1[4]", time.Minute+100*time.Millisecond)
	expect("the line that came late", c, "peer_deleted")
	if c.starting(start.Add(time.Minute + 100*time.Millisecond)) {
		t.Error("the reason that came late is not told")
	}

	c = fresh()
	c.see(installed, installed, start, 0)
	note(c, "received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built", time.Minute)
	c.see(nil, nil, start.Add(10*time.Minute), 0)
	expect("the rekey failed", c, "child_proposal_mismatch")

	c = fresh()
	c.spec.DPD.Action = "clear"
	c.see(installed, installed, start, 0)
	note(c, "giving up after 3 retransmits", time.Minute)
	c.see(nil, nil, start.Add(time.Minute), 0)
	expect("peer silent", c, "liveness_lost")
	if c.try.wanted {
		t.Error("dpd action clear: it is to be initiated again")
	}
	c.see(nil, []ikeSA{{state: "CONNECTING", children: []childSA{{name: "c1", state: "INSTALLED"}}}}, start, 0)
	expect("an IKE_SA that is not established", c, "liveness_lost")
	c.see(nil, installed, start, 0)
	expect("installed in the IKE_SA of a sibling", c, "up")
}
