package fault

import (
	"slices"
	"strings"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/site"
)

const (
	onlyThePeer = "the peer refuses without a reason: only its log tells whether the key or an identity is wrong"
	oneRefusal  = "the peer refuses whatever it is offered, in either IKE version: it has no connection for us, or only algorithms that we lack"
)

// authenticated are faults of IKE_AUTH: keys and identities.
func authenticated() []Fault {
	psk := Fault{Name: "wrong-psk", Broken: "the peer has another pre-shared key", Code: "auth_failed", Vague: onlyThePeer,
		peer: func(p *lab.Peer) { p.PSK = "not-the-key-6Rw1" }}.mended("connection", "psk", "not-the-key-6Rw1")
	old := psk.ikev1()
	old.Code, old.Vague, old.Within = "psk_mismatch", "", silent
	theirs := Fault{Name: "peer-has-another-identity", Broken: "the peer calls itself otherwise than peer_id says", Code: "auth_failed", Vague: onlyThePeer,
		peer: func(p *lab.Peer) { p.ID = otherName(p.Local) }}.mended("connection", "peer_id", func(l *Laid) any { return otherName(l.outer.String()) })
	theirsOld := theirs.ikev1()
	theirsOld.Code, theirsOld.Vague = "identity_mismatch", ""
	theirsOldToo := theirs.ikev1().answered("identity_mismatch")
	ours := Fault{Name: "peer-expects-another-identity", Broken: "the peer expects us to have another identity than local_id", Code: "auth_failed", Vague: onlyThePeer,
		peer: func(p *lab.Peer) { p.RemoteID = "head-office.example.net" }}.mended("connection", "local_id", "head-office.example.net")
	none := Fault{Name: "peer-without-psk", Broken: "the peer has no pre-shared key for us", Code: "auth_failed", Vague: onlyThePeer,
		peer: func(p *lab.Peer) { p.PSK = "" }}
	lost := Fault{Name: "gateway-lost-its-psk", Broken: "this gateway's charon has no pre-shared key any more, and the peer closes the tunnel", Code: "no_shared_key",
		Passing: []string{"peer_deleted"}, where: ownRouter, event: forgetKeys}
	return slices.Concat(psk.both("psk_mismatch"), old.both("psk_mismatch"), theirs.both("identity_mismatch"), []Fault{theirsOld, theirsOldToo},
		ours.both("identity_mismatch"), ours.ikev1().both("identity_mismatch"), []Fault{none, lost})
}

// proposed are faults of the algorithms.
func proposed() []Fault {
	asked := []string{"no_proposal_chosen"} // until the gateway has asked the peer what it takes
	ike := func(name, broken, proposal, attribute, value string) Fault {
		return Fault{Name: name, Broken: broken, Code: "ike_proposal_mismatch", Passing: asked,
			peer: func(p *lab.Peer) { p.IKE = proposal }}.mended("ikepolicy", attribute, value)
	}
	version := Fault{Name: "ike-version-mismatch", Broken: "the peer speaks IKEv1 only", Code: "no_ike_config", Passing: asked,
		peer: func(p *lab.Peer) { p.Version = 1 }}.mended("ikepolicy", "ike_version", "v1")
	mode := Fault{Name: "ike-mode-mismatch", Broken: "the peer has IKEv1's aggressive mode, the IKE policy main mode", Code: "auth_failed",
		Vague: "the peer refuses a mode as it refuses an identity", peer: func(p *lab.Peer) { p.Version, p.Aggressive = 1, true },
		tunnel: func(t *site.Tunnel) { t.IKE["ike_version"] = "v1" }}.mended("ikepolicy", "phase1_negotiation_mode", "aggressive")
	stranger := Fault{Name: "peer-does-not-know-us", Broken: "the peer has no connection for our address", Code: "no_proposal_chosen", Vague: oneRefusal,
		peer: func(p *lab.Peer) { p.Remote, p.RemoteID = "203.0.113.99", "203.0.113.99" }}
	cipher := ike("ike-cipher-mismatch", "the peer takes aes-128 for IKE, the IKE policy says aes-256", "aes128-sha256-modp2048", "encryption_algorithm", "aes-128")
	esp := Fault{Name: "esp-cipher-mismatch", Broken: "the peer takes aes-128 for ESP, the IPsec policy says aes-256", Code: "child_proposal_mismatch",
		peer: func(p *lab.Peer) { p.ESP = "aes128-sha256-modp2048" }}.mended("ipsecpolicy", "encryption_algorithm", "aes-128")
	hash := Fault{Name: "esp-hash-mismatch", Broken: "the peer takes sha-512 for ESP, the IPsec policy says sha-256", Code: "child_proposal_mismatch",
		peer: func(p *lab.Peer) { p.ESP = "aes256-sha512-modp2048" }}.mended("ipsecpolicy", "auth_algorithm", "sha512")
	pfs := Fault{Name: "pfs-mismatch", Broken: "the peer has PFS group 16, the IPsec policy group 14: the first rekey would fail", Status: "ACTIVE", Code: "pfs_mismatch",
		Within: silent, peer: func(p *lab.Peer) { p.ESP = "aes256-sha256-modp4096" }}.mended("ipsecpolicy", "pfs", "group16")
	pfsOld := pfs.ikev1()
	pfsOld.Broken = "the peer has PFS group 16, the IPsec policy group 14 (IKEv1: refused at once)"
	pfsOld.Status, pfsOld.Code, pfsOld.Within = "DOWN", "child_proposal_mismatch", soon
	return slices.Concat(cipher.both("ike_proposal_mismatch"), []Fault{cipher.ikev1()},
		ike("ike-hash-mismatch", "the peer takes sha-512 for IKE, the IKE policy says sha-256", "aes256-sha512-modp2048", "auth_algorithm", "sha512").both("ike_proposal_mismatch"),
		ike("ike-dh-group-mismatch", "the peer takes DH group 16 for IKE, the IKE policy says group 14", "aes256-sha256-modp4096", "pfs", "group16").both("ike_proposal_mismatch"),
		version.both("no_ike_config"), mode.both("ike_mode_mismatch"), []Fault{stranger}, esp.both("child_proposal_mismatch"), esp.ikev1().both("child_proposal_mismatch"), []Fault{hash},
		pfs.both("pfs_mismatch"), pfsOld.both("pfs_mismatch"))
}

// selected are faults of the networks behind both sides.
func selected() []Fault {
	other := Fault{Name: "networks-mismatch", Broken: "the peer has other networks behind it than the connection says", Code: "ts_unacceptable",
		peer: func(p *lab.Peer) { p.Networks = otherNet(p.Networks) }}.mended("endpoint_group", "endpoints", func(l *Laid) any { return []string{otherNet(l.network())} })
	narrowed := Fault{Name: "networks-narrowed", Broken: "the peer has only a half of the network that the connection says", Status: "ACTIVE", Code: "ts_narrowed",
		peer: func(p *lab.Peer) { p.Networks = half(p.Networks) }}.mended("endpoint_group", "endpoints", func(l *Laid) any { return []string{half(l.network())} })
	return slices.Concat(other.both("ts_unacceptable"), other.ikev1().both("ts_unacceptable"), narrowed.both("ts_narrowed"))
}

// configured are faults that are found without a packet.
func configured() []Fault {
	return []Fault{
		{Name: "admin-down", Broken: "admin_state_up of the connection was set to false", Code: "admin_down", event: change(client.Object{"admin_state_up": false}),
			Cure: &Mend{"connection", "admin_state_up", true}},
		{Name: "service-admin-down", Broken: "admin_state_up of the VPN service was set to false", Code: "admin_down", Service: "DOWN admin_down", where: ownRouter,
			event: closeService, Cure: &Mend{"vpnservice", "admin_state_up", true}},
		{Name: "router-without-gateway", Broken: "the router has no external gateway", Code: "router_without_gateway", Service: "DOWN router_without_gateway",
			where: grounded, alone: true},
		{Name: "ah-on-userland", Broken: "transform_protocol is ah, and this gateway does IPsec in userland", Status: "ERROR", Code: "ah_unsupported",
			tunnel: func(t *site.Tunnel) { t.ESP["transform_protocol"] = "ah" },
			Cure:   &Mend{"ipsecpolicy", "transform_protocol", "esp"}},
		{Name: "unknown-name", Broken: "peer_address is a name that does not resolve", Code: "peer_unresolved", alone: true, Within: silent,
			tunnel: func(t *site.Tunnel) { t.PeerAddress = "no-such-branch.invalid" }},
		{Name: "no-gateway-host", Broken: "no gateway host watches the server", Code: "no_gateway_host", Service: "DOWN no_gateway_host",
			where: hostless, alone: true, Within: silent},
	}
}

// otherName is an identity that a peer has instead of its address.
func otherName(address string) string {
	return "branch-" + strings.ReplaceAll(address, ".", "-") + ".example.net"
}

// otherNet is a network that a peer has instead of the one it should.
func otherNet(cidr string) string { return strings.Replace(cidr, "192.168.", "172.31.", 1) }
