package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"culvert/internal/vpn"
)

const apiTime = "2006-01-02 15:04:05.000000"

// finding is what one line of charon's log says about a connection.
type finding struct {
	vpn.Reason
	certain bool // no other cause gives this line
	generic bool // a consequence: it says nothing where a cause was found in the same attempt
	brief   bool // explains only a loss that follows at once: the line also comes with ordinary rekeys
}

// circumstances are what the same line means different things in.
type circumstances struct {
	established bool // the connection has an IKE_SA
	up          bool // all its CHILD_SAs are installed
}

// rule maps lines of charon's log, known by a part of theirs, to a finding. The parts are of strongSwan 5.9 (recorded
// lines in the tests). Plain text first: every line of a busy charon passes here.
type rule struct {
	parts   []string
	pattern *regexp.Regexp // of what find needs from the line; may be nil
	find    func(match []string, in circumstances) finding
}

func reason(code, side, phase, summary, hint string) vpn.Reason {
	return vpn.Reason{Code: code, Side: side, Phase: phase, Summary: summary, Hint: hint}
}

func fixed(f finding) func([]string, circumstances) finding {
	return func([]string, circumstances) finding { return f }
}

// Reasons that more than one place needs.
var (
	authFailed = finding{Reason: reason("auth_failed", "unknown", "ike_auth",
		"the peer refused our authentication: the pre-shared keys differ, or the peer knows us by another identity; only the peer's log tells which",
		"compare psk, local_id and peer_id with the peer's configuration")}
	pskMismatch = finding{certain: true, Reason: reason("psk_mismatch", "unknown", "ike_auth",
		"the pre-shared keys differ: what the peer signed does not match our key", "set psk to the peer's key")}
	decryptFailed = finding{Reason: reason("psk_mismatch", "unknown", "ike_auth",
		"the peer's message could not be decrypted: with IKEv1 that means that the pre-shared keys differ", "set psk to the peer's key")}
	identityMismatch = finding{Reason: reason("identity_mismatch", "unknown", "ike_auth",
		"the peer's identity, or the one it expects of us, is not that of the connection", "compare peer_id and local_id with the peer's configuration")}
	peerDeleted = finding{certain: true, Reason: reason("peer_deleted", "theirs", "liveness", "the peer closed the tunnel", "")}
)

var rules = []rule{
	{[]string{"received AUTHENTICATION_FAILED"}, nil, fixed(authFailed)},
	{[]string{"no shared key found"}, nil, fixed(finding{certain: true, Reason: reason("no_shared_key", "ours", "ike_auth",
		"this gateway has no pre-shared key for the two identities", "check local_id and peer_id")})},
	{[]string{"but MAC mismatched"}, nil, fixed(pskMismatch)},
	{[]string{"payload length, decryption failed?", "could not decrypt payloads", "calculated HASH does not match"}, nil, fixed(decryptFailed)},
	{[]string{"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"}, nil, childRefused},
	{[]string{"received NO_PROPOSAL_CHOSEN"}, nil, ikeOrChildRefused},
	{[]string{"received proposals unacceptable"}, nil, fixed(ikeProposalMismatch)},
	{[]string{"no acceptable proposal found", "no matching proposal found"}, nil, childRefused},
	{[]string{"no IKE config found for "}, nil, fixed(finding{Reason: reason("no_ike_config", "unknown", "ike_init",
		"the peer asks in a way that no connection here answers: most often another IKE version", "align ike_version of the IKE policy with the peer")})},
	{[]string{"received TS_UNACCEPTABLE", "received INVALID_ID_INFORMATION"}, nil, fixed(finding{Reason: reason("ts_unacceptable", "unknown", "child",
		"the peer refused our networks (traffic selectors): its local and remote networks are not the mirror of ours", alignNetworks)})},
	{[]string{"traffic selectors ", "no matching CHILD_SA config found for "},
		regexp.MustCompile(`traffic selectors (.*) unacceptable|config found for (.*)`), selectorsRefused},
	{[]string{"no matching peer config found", "but none allows"}, nil, fixed(identityMismatch)},
	{[]string{"giving up after ", "DPD check timed out"}, nil, gaveUp},
	{[]string{"unable to resolve "}, regexp.MustCompile(`unable to resolve (.*?),? initiate aborted`), unresolved},
	{[]string{"received DELETE for IKE_SA", "received DELETE for different IKE_SA"}, nil, fixed(peerDeleted)},
	{[]string{"received DELETE for ESP CHILD_SA", "received DELETE for AH CHILD_SA"}, nil, fixed(finding{brief: true, certain: true, Reason: peerDeleted.Reason})},
	{[]string{"unable to install inbound", "unable to install IPsec policies", "error installing route with policy", "unable to allocate SPI"}, nil,
		fixed(finding{certain: true, Reason: reason("install_failed", "ours", "local", "this gateway could not install the negotiated SA or its policies", "")})},
	{[]string{"failed to establish CHILD_SA, keeping IKE_SA"}, nil, fixed(finding{generic: true, Reason: reason("child_failed", "unknown", "child",
		"the IKE_SA stands but there was no agreement on the CHILD_SA", "compare the IPsec policy and the networks with the peer's configuration")})},
}

const alignNetworks = "align peer_cidrs or the endpoint groups with the peer's networks"

var ikeProposalMismatch = finding{certain: true, Reason: reason("ike_proposal_mismatch", "unknown", "ike_init",
	"the peer proposes other IKE algorithms than the IKE policy", "align the IKE policy with the peer: encryption_algorithm, auth_algorithm, pfs")}

// classify answers what a line says, false for the many lines that say nothing about a failure.
func classify(msg string, in circumstances) (finding, bool) {
	for _, r := range rules {
		if !slices.ContainsFunc(r.parts, func(part string) bool { return strings.Contains(msg, part) }) {
			continue
		}
		var match []string
		if r.pattern != nil {
			if match = r.pattern.FindStringSubmatch(msg); match == nil {
				continue
			}
		}
		return r.find(match, in), true
	}
	return finding{}, false
}

func childRefused(_ []string, in circumstances) finding {
	phase := "child"
	hint := "align the IPsec policy with the peer: transform_protocol, encryption_algorithm, auth_algorithm, pfs"
	if in.up {
		phase, hint = "rekey", "align pfs of the IPsec policy with the peer: it counts only from the first rekey on"
	}
	return finding{Reason: reason("child_proposal_mismatch", "unknown", phase, "the peer and the IPsec policy have no common algorithms", hint)}
}

func ikeOrChildRefused(_ []string, in circumstances) finding {
	if in.established {
		return childRefused(nil, in)
	}
	return finding{Reason: reason("no_proposal_chosen", "unknown", "ike_init",
		"the peer refused the first message: its IKE algorithms differ from the IKE policy, or it knows no such connection or IKE version; only the peer's log tells which",
		"compare the IKE policy (ike_version, encryption_algorithm, auth_algorithm, pfs) and peer_address with the peer's configuration")}
}

func selectorsRefused(m []string, _ circumstances) finding {
	return finding{certain: true, Reason: reason("ts_unacceptable", "unknown", "child",
		fmt.Sprintf("the peer asked for other networks (traffic selectors) than the connection has: %s", m[1]+m[2]), alignNetworks)}
}

// unresolved is also what charon says of a literal address of a family that it has no own address of.
func unresolved(m []string, _ circumstances) finding {
	if _, err := netip.ParseAddr(m[1]); err == nil {
		return finding{certain: true, Reason: noRoute()}
	}
	return finding{certain: true, Reason: reason("peer_unresolved", "path", "resolve",
		"the name of the peer cannot be resolved: "+m[1], "set peer_address to a name that resolves here, or to an IP address")}
}

func gaveUp(_ []string, in circumstances) finding {
	if in.up || in.established {
		return finding{certain: true, Reason: reason("liveness_lost", "path", "liveness",
			"the peer does not answer any more (dead peer detection)", "check the peer and the path to it")}
	}
	return finding{generic: true, Reason: reason("peer_unreachable", "path", "ike_init",
		"the peer does not answer: no IKE daemon there, or UDP 500 and 4500 are blocked on the way",
		"check peer_address, the peer, and that UDP 500 and 4500 pass")}
}

// Reasons that come from our own knowledge.
func noRoute() vpn.Reason {
	return reason("no_route", "ours", "ike_init", "this gateway has no route to the peer", "check the router's external gateway and peer_address")
}
func connecting() vpn.Reason {
	return reason("connecting", "unknown", "ike_init", "the tunnel is being set up", "")
}
func notInitiated() vpn.Reason {
	return reason("not_initiated", "theirs", "ike_init", "the connection only answers, and the peer has not come yet",
		"start the tunnel at the peer, or set initiator to bi-directional")
}
func adminDown() vpn.Reason {
	return reason("admin_down", "ours", "config", "admin_state_up is false on the connection or its VPN service", "set admin_state_up to true on both")
}
func noGateway() vpn.Reason {
	return reason("no_gateway", "ours", "config", "the router has no external gateway", "set the router's external gateway")
}
func noLocalAddress() vpn.Reason {
	return reason("no_local_address", "ours", "config", "the router's external gateway has no address of the peer's IP version",
		"give the external network a subnet of that IP version")
}
func charonDied() vpn.Reason {
	return reason("charon_died", "ours", "local", "the IKE daemon of this router ended; it is being restarted", "")
}
func lost() vpn.Reason {
	return reason("sa_lost", "unknown", "liveness", "the tunnel's SA ended and charon gave no reason", "")
}
func gatewayFailed(err error) vpn.Reason {
	hint := ""
	if h := (interface{ Hint() string })(nil); errors.As(err, &h) {
		hint = h.Hint()
	}
	return reason("gateway_error", "ours", "local", "the gateway could not set the router up: "+err.Error(), hint)
}

// stamp gives a reason its times: FirstSeen stays while the code does.
func stamp(r vpn.Reason, before *vpn.Reason, now time.Time) *vpn.Reason {
	r.LastSeen = now.UTC().Format(apiTime)
	r.FirstSeen = r.LastSeen
	if before != nil && before.Code == r.Code {
		r.FirstSeen = before.FirstSeen
	}
	return &r
}
