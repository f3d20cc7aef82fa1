package gateway

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// explained is a router that knows connections and no charon: what its charon would say is played to it.
type explained struct {
	*router
	history *history
	now     time.Time
}

func newTold(t *testing.T, specs ...vpn.ConnectionSpec) *explained {
	t.Helper()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := &explained{history: newHistory(), now: start}
	p.router = newRouter(&Gateway{now: func() time.Time { return p.now }}, "r")
	for _, spec := range specs {
		var siblings []vpn.ConnectionSpec
		for _, other := range specs {
			if other.ID != spec.ID && kinOf(other) == kinOf(spec) {
				siblings = append(siblings, other)
			}
		}
		cfg, err := configure(spec, Userland, marker("salt"), siblings...)
		if err != nil {
			t.Fatal(err)
		}
		c := &connection{spec: spec, cfg: cfg, loaded: true}
		c.waiting(start)
		p.conns[spec.ID] = c
	}
	return p
}

// up has a connection's tunnel stand.
func (p *explained) up(id string) {
	c := p.conns[id]
	var children []childSA
	for _, name := range c.cfg.children {
		children = append(children, childSA{name: name, state: "INSTALLED"})
	}
	sas := []ikeSA{{id: "1", state: "ESTABLISHED", children: children}}
	c.see(sas, sas, p.now, 0)
}

// hear plays lines as charon's file has them: "<c1|3> message" of IKE_SA 3 of connection c1, "<3> message" before charon
// knows the connection.
func (p *explained) hear(lines string) {
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		m := vici.NewMessage()
		sa, msg, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "<"), "> ")
		name, id, ok := strings.Cut(sa, "|")
		if !ok {
			name, id = "", sa
		}
		if name != "" {
			m.Set("ikesa-name", name)
		}
		p.now = p.now.Add(time.Millisecond)
		p.noteLog(p.history, vici.Event{Name: "log", Time: p.now, Message: m.Set("ikesa-uniqueid", id).Set("msg", msg)})
	}
}

// TestExplained plays what strongSwan 5.9.8 logged against broken peers, and holds the reason against what was broken.
func TestExplained(t *testing.T) {
	v1 := func(s vpn.ConnectionSpec) vpn.ConnectionSpec { s.IKE.Version = "v1"; return s }
	plain := testConnection("c1")
	plain.IKE.Policy, plain.ESP.Policy = "P", "Q"
	named := plain
	named.LocalID, named.PeerID = "west.example.com", "ops@east.example.com"
	aggressive := v1(plain)
	const ids, ike, esp = "local_id 192.0.2.1, peer_id 192.0.2.2", "aes-256, sha256, group19", "esp, aes-256, sha256, pfs group19"
	const nets = "local 10.1.0.0/24, peer 10.2.0.0/24"
	for _, tt := range []struct {
		name, lines              string
		conn                     vpn.ConnectionSpec
		code, ours, theirs, hint string
	}{
		{"IKE algorithms, the peer begins", `<1> received packet: from 192.0.2.2[500] to 192.0.2.1[500] (272 bytes)
			<1> parsed IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) N(REDIR_SUP) ]
			<1> 192.0.2.2 is initiating an IKE_SA
			<1> received proposals: IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256
			<1> configured proposals: IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256
			<1> received proposals unacceptable`, plain,
			"ike_proposal_mismatch", ike, "aes-128, sha256, group19", "set encryption_algorithm of ikepolicy P to aes-128, which the peer offers"},
		{"IKEv1 algorithms, the peer begins", `<1> received packet: from 192.0.2.2[500] to 192.0.2.1[500] (180 bytes)
			<1> parsed ID_PROT request 0 [ SA V V V V V ]
			<1> 192.0.2.2 is initiating a Main Mode IKE_SA
			<1> received proposals: IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048
			<1> no proposal found`, v1(plain),
			"ike_proposal_mismatch", ike, "aes-256, sha256, group14", "set pfs of ikepolicy P to group14, which the peer offers"},
		{"IKE algorithms, we begin", `<c1|1> received NO_PROPOSAL_CHOSEN notify error`, plain,
			"no_proposal_chosen", "ike_version v2, " + ike, "NO_PROPOSAL_CHOSEN", "compare the IKE policy (ike_version, encryption_algorithm, auth_algorithm, pfs) and peer_address with the peer's configuration"},
		{"the peer asks for a group", `<c1|1> peer didn't accept DH group ECP_256, it requested MODP_2048`, plain,
			"ike_proposal_mismatch", ike, "group14", "set pfs of ikepolicy P to group14, which the peer offers"},
		{"IKE version, the peer begins", `<1> received packet: from 192.0.2.2[500] to 192.0.2.1[500] (180 bytes)
			<1> parsed ID_PROT request 0 [ SA V V V V V ]
			<1> no IKE config found for 192.0.2.1...192.0.2.2, sending NO_PROPOSAL_CHOSEN`, plain,
			"no_ike_config", "ike_version v2", "ike_version v1", "set ike_version of ikepolicy P to v1, which the peer uses"},
		{"aggressive mode", `<1> received packet: from 192.0.2.2[500] to 192.0.2.1[500] (180 bytes)
			<1> parsed AGGRESSIVE request 0 [ SA KE No ID V V V V V ]
			<1> found 1 matching config, but none allows pre-shared key authentication using Aggressive Mode`, aggressive,
			"ike_mode_mismatch", "phase1_negotiation_mode main", "phase1_negotiation_mode aggressive", "set phase1_negotiation_mode of ikepolicy P to aggressive, which the peer uses"},
		{"another PSK, the peer begins", `<1> looking for peer configs matching 192.0.2.1[192.0.2.1]...192.0.2.2[192.0.2.2]
			<c1|1> selected peer config 'c1'
			<c1|1> tried 1 shared key for '192.0.2.1' - '192.0.2.2', but MAC mismatched`, plain, "psk_mismatch", "", "", "set psk to the peer's key"},
		{"another PSK or identity, we begin", `<c1|1> received AUTHENTICATION_FAILED notify error`, plain,
			"auth_failed", ids, "AUTHENTICATION_FAILED", "compare psk, local_id and peer_id with the peer's configuration"},
		{"another identity or mode, IKEv1, we begin", `<c1|1> parsed INFORMATIONAL_V1 request 56174201 [ HASH N(AUTH_FAILED) ]
			<c1|1> received AUTHENTICATION_FAILED error notify`, v1(plain),
			"auth_failed", ids, "AUTHENTICATION_FAILED", "compare local_id and phase1_negotiation_mode with the peer's configuration"},
		{"aggressive mode is not allowed, we begin", `<c1|1> parsed INFORMATIONAL_V1 request 851580336 [ N(AUTH_FAILED) ]
			<c1|1> received AUTHENTICATION_FAILED error notify`, v1(plain),
			"auth_failed", ids, "AUTHENTICATION_FAILED", "compare local_id, peer_id, psk and phase1_negotiation_mode with the peer's configuration"},
		{"another PSK, IKEv1, we begin", `<c1|1> invalid HASH_V1 payload length, decryption failed?
			<c1|1> could not decrypt payloads
			<c1|1> giving up after 3 retransmits`, v1(plain), "psk_mismatch", "", "", "set psk to the peer's key"},
		{"another PSK, IKEv1, the peer begins", `<1> received packet: from 192.0.2.2[500] to 192.0.2.1[500] (204 bytes)
			<1> parsed ID_PROT request 0 [ SA V V V V V ]
			<1> received packet: from 192.0.2.2[4500] to 192.0.2.1[4500] (108 bytes)
			<1> invalid ID_V1 payload length, decryption failed?`, v1(plain), "psk_mismatch", "", "", "set psk to the peer's key"},
		{"another identity of the peer, it begins", `<1> parsed IKE_SA_INIT request 0 [ SA KE No ]
			<1> looking for peer configs matching 192.0.2.1[192.0.2.1]...192.0.2.2[east@example.com]
			<1> no matching peer config found`, plain,
			"identity_mismatch", ids, "it calls itself east@example.com, it expects us to be 192.0.2.1", "set peer_id to east@example.com"},
		{"another identity of ours, the peer begins", `<1> looking for peer configs matching 192.0.2.1[gw7]...192.0.2.2[OPS@east.example.com]
			<1> no matching peer config found`, named,
			"identity_mismatch", "local_id west.example.com, peer_id ops@east.example.com", "it calls itself OPS@east.example.com, it expects us to be gw7", "set local_id to gw7"},
		{"another identity of the peer, IKEv1, it begins", `<1> parsed ID_PROT request 0 [ SA V V V V V ]
			<1> looking for pre-shared key peer configs matching 192.0.2.1...192.0.2.2[east@example.com]
			<1> no peer config found`, v1(plain),
			"identity_mismatch", ids, "it calls itself east@example.com", "set peer_id to east@example.com"},
		{"another identity of the peer, IKEv1, we begin", `<c1|1> IDir 'east@example.com' does not match to '192.0.2.2'
			<c1|1> deleting IKE_SA c1[1] between 192.0.2.1[192.0.2.1]...192.0.2.2[%any]`, v1(plain),
			"identity_mismatch", ids, "it calls itself east@example.com", "set peer_id to east@example.com"},
		{"another identity of ours, IKEv1, the peer begins", `<1> parsed ID_PROT request 0 [ SA V V V V V ]
			<c1|1> IKE_SA c1[1] established between 192.0.2.1[192.0.2.1]...192.0.2.2[192.0.2.2]
			<c1|1> received DELETE for IKE_SA c1[1]`, v1(plain),
			"identity_mismatch", ids, "", "compare local_id with the identity that the peer expects"},
		{"an IKEv1 peer closes", `<1> parsed ID_PROT request 0 [ SA V V V V V ]
			<c1|1> IKE_SA c1[1] established between 192.0.2.1[192.0.2.1]...192.0.2.2[192.0.2.2]
			<c1|1> parsed QUICK_MODE request 1788537932 [ HASH SA No KE ID ID ]
			<c1|1> received DELETE for IKE_SA c1[1]`, v1(plain), "peer_deleted", "", "", ""},
		{"the peer answers as somebody else", `<c1|1> no shared key found for '192.0.2.1' - 'east@example.com'`, plain,
			"identity_mismatch", ids, "it calls itself east@example.com", "set peer_id to east@example.com"},
		{"no key here", `<c1|1> no shared key found for '192.0.2.1' - '192.0.2.2'`, plain, "no_shared_key", ids, "", "check local_id and peer_id"},
		{"IPsec algorithms, the peer begins", `<c1|1> received proposals: ESP:AES_CBC_128/HMAC_SHA1_96/NO_EXT_SEQ
			<c1|1> configured proposals: ESP:AES_CBC_256/HMAC_SHA2_256_128/ECP_256/NO_EXT_SEQ
			<c1|1> no acceptable proposal found
			<c1|1> failed to establish CHILD_SA, keeping IKE_SA`, plain,
			"child_proposal_mismatch", esp, "esp, aes-128, sha1", "set encryption_algorithm to aes-128 and auth_algorithm to sha1 of ipsecpolicy Q, which the peer offers"},
		{"IPsec algorithms, we begin", `<c1|1> received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built
			<c1|1> failed to establish CHILD_SA, keeping IKE_SA`, plain,
			"child_proposal_mismatch", esp, "NO_PROPOSAL_CHOSEN", "align ipsecpolicy Q with the peer: transform_protocol, encryption_algorithm, auth_algorithm, pfs"},
		{"PFS, IKEv1, the peer begins", `<c1|1> received proposals: ESP:AES_CBC_256/HMAC_SHA2_256_128/MODP_2048/NO_EXT_SEQ
			<c1|1> no matching proposal found, sending NO_PROPOSAL_CHOSEN`, v1(plain),
			"pfs_mismatch", esp, "esp, aes-256, sha256, pfs group14", "set pfs of ipsecpolicy Q to group14, which the peer offers"},
		{"networks, the peer begins", `<c1|1> traffic selectors 10.1.0.0/24 === 10.9.0.0/24 10.8.0.0/24 unacceptable
			<c1|1> failed to establish CHILD_SA, keeping IKE_SA`, plain,
			"ts_unacceptable", nets, "local 10.1.0.0/24, peer 10.9.0.0/24 10.8.0.0/24", "set peer_cidrs, or the endpoints of the peer endpoint group, to 10.9.0.0/24 10.8.0.0/24, which the peer asks for"},
		{"networks, IKEv1, the peer begins", `<c1|1> no matching CHILD_SA config found for 10.2.0.0/24 === 10.7.0.0/24`, v1(plain),
			"ts_unacceptable", nets, "local 10.7.0.0/24, peer 10.2.0.0/24", "align the service's subnet, or the endpoints of the local endpoint group, with what the peer asks for"},
		{"networks, we begin", `<c1|1> received TS_UNACCEPTABLE notify, no CHILD_SA built`, plain, "ts_unacceptable", nets, "TS_UNACCEPTABLE", alignNetworks},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newTold(t, tt.conn)
			p.hear(tt.lines)
			got := *p.conns["c1"].reason
			want := vpn.Reason{Code: tt.code, Ours: tt.ours, Theirs: tt.theirs, Hint: tt.hint}
			if short := (vpn.Reason{Code: got.Code, Ours: got.Ours, Theirs: got.Theirs, Hint: got.Hint}); short != want {
				t.Errorf("got  %+v\nwant %+v", short, want)
			}
			if got.Summary == "" || got.Side == "" || got.Phase == "" {
				t.Errorf("incomplete: %+v", got)
			}
		})
	}
}

// TestFailedRekey: what the first exchange of IKEv2 did not ask can only be the group.
func TestFailedRekey(t *testing.T) {
	for _, tt := range []struct{ who, lines, theirs string }{
		{"we begin", `<c1|1> received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built
			<c1|1> failed to establish CHILD_SA, keeping IKE_SA`, "NO_PROPOSAL_CHOSEN"},
		{"the peer begins", `<c1|1> received proposals: ESP:AES_CBC_256/HMAC_SHA2_256_128/MODP_2048/NO_EXT_SEQ
			<c1|1> no acceptable proposal found`, "esp, aes-256, sha256, pfs group14"},
	} {
		p := newTold(t, testConnection("c1"))
		p.up("c1")
		p.hear(tt.lines)
		c := p.conns["c1"]
		if r := c.report(); r.State != vpn.StateUp || r.Reason == nil || r.Reason.Code != "pfs_mismatch" || r.Reason.Theirs != tt.theirs || r.Reason.Phase != "rekey" {
			t.Errorf("%s: %s with %+v", tt.who, r.State, r.Reason)
		}
		c.see(nil, nil, p.now.Add(10*time.Minute), 0)
		if c.state != vpn.StateDown || c.reason.Code != "pfs_mismatch" {
			t.Errorf("%s, the SA ran out: %s with %+v", tt.who, c.state, c.reason)
		}
	}
}

// TestConcerned: a failure is that of the connection that the peer means, where several have its address.
func TestConcerned(t *testing.T) {
	with := func(id string, set func(*vpn.ConnectionSpec)) vpn.ConnectionSpec {
		c := testConnection(id)
		set(&c)
		return c
	}
	north := with("north", func(c *vpn.ConnectionSpec) { c.PeerID = "north.example.com" })
	south := with("south", func(c *vpn.ConnectionSpec) { c.PeerID, c.LocalID = "south.example.com", "hub.example.com" })
	old := with("old", func(c *vpn.ConnectionSpec) { c.IKE.Version = "v1" })
	far := with("far", func(c *vpn.ConnectionSpec) { c.PeerAddress = "198.51.100.7" })
	twin := with("twin", func(c *vpn.ConnectionSpec) { c.Peer, c.PeerID = prefixes("10.5.0.0/24"), "north.example.com" })
	for _, tt := range []struct {
		what, lines string
		up          string
		want        map[string]string // codes by connection; others are untouched
	}{
		{"one identity fits", `<1> looking for peer configs matching 192.0.2.1[hub7.example.com]...192.0.2.2[south.example.com]
			<1> no matching peer config found`, "", map[string]string{"south": "identity_mismatch"}},
		{"the version tells", `<1> received packet: from 192.0.2.2[500] to 192.0.2.1[500] (180 bytes)
			<1> parsed ID_PROT request 0 [ SA V V V V V ]
			<1> received packet: from 192.0.2.2[4500] to 192.0.2.1[4500] (108 bytes)
			<1> invalid ID_V1 payload length, decryption failed?`, "", map[string]string{"old": "psk_mismatch"}},
		{"algorithms of all with the version", `<1> received packet: from 192.0.2.2[500] to 192.0.2.1[500] (272 bytes)
			<1> parsed IKE_SA_INIT request 0 [ SA KE No ]
			<1> received proposals unacceptable`, "", map[string]string{"north": "ike_proposal_mismatch", "south": "ike_proposal_mismatch", "twin": "ike_proposal_mismatch"}},
		{"a stranger", `<1> looking for peer configs matching 192.0.2.1[192.0.2.1]...203.0.113.9[203.0.113.9]
			<1> no matching peer config found`, "", nil},
		{"a sibling's CHILD_SA in the IKE_SA of one that is up", `<north|1> traffic selectors 10.1.0.0/24 === 10.6.0.0/24 unacceptable`,
			"north", map[string]string{"twin": "ts_unacceptable"}},
	} {
		p := newTold(t, north, south, old, far, twin)
		if tt.up != "" {
			p.up(tt.up)
		}
		p.hear(tt.lines)
		got := map[string]string{}
		for id, c := range p.conns {
			if c.reason != nil && c.reason.Code != connecting().Code {
				got[id] = c.reason.Code
			}
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v of %v, want %v", tt.what, got, slices.Sorted(maps.Keys(p.conns)), tt.want)
		}
	}
}
