package gateway

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"culvert/internal/vpn"
)

// finding is what one line of charon's log says about a connection.
type finding struct {
	vpn.Reason
	certain bool      // no other cause gives this line
	generic bool      // a consequence: it says nothing where a cause was found in the same attempt
	silence bool      // what we found out of a peer\'s silence: more than a consequence, less than what a peer says
	brief   bool      // explains only a loss that follows at once: the line also comes with ordinary rekeys
	ids     [2]string // identities in the line: ours, the peer's; explain turns them into ours and theirs
}

// aCause is the greatest weight.
const aCause = 2

// weight orders findings of the same attempt.
func (f finding) weight() int {
	switch {
	case f.generic:
		return 0
	case f.silence:
		return 1
	}
	return aCause
}

// circumstances are what the same line means different things in.
type circumstances struct {
	established bool   // the connection has an IKE_SA
	up          bool   // all its CHILD_SAs are installed
	version     string // of IKE: v1, v2; "" where the line names no connection
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

// What peers answer when they refuse, and say no more.
const (
	saidNoProposal = "NO_PROPOSAL_CHOSEN"
	saidAuthFailed = "AUTHENTICATION_FAILED"
	saidTS         = "TS_UNACCEPTABLE"
)

// Reasons that more than one place needs.
var (
	pskMismatch = finding{certain: true, Reason: reason("psk_mismatch", "unknown", "ike_auth",
		"the pre-shared keys differ: what the peer signed does not match our key", "set psk to the peer's key")}
	decryptFailed = finding{Reason: reason("psk_mismatch", "unknown", "ike_auth",
		"the peer's message could not be decrypted: with IKEv1 that means that the pre-shared keys differ", "set psk to the peer's key")}
	identityMismatch = finding{certain: true, Reason: reason("identity_mismatch", "unknown", "ike_auth",
		"the peer's identity, or the one it expects of us, is not that of the connection", "compare peer_id and local_id with the peer's configuration")}
	modeMismatch = finding{certain: true, Reason: reason("ike_mode_mismatch", "unknown", "ike_init",
		"the peer asks for another mode of IKEv1, main or aggressive, than the IKE policy", "align phase1_negotiation_mode of the IKE policy with the peer")}
	peerDeleted         = finding{certain: true, Reason: reason("peer_deleted", "theirs", "liveness", "the peer closed the tunnel", "")}
	ikeProposalMismatch = finding{certain: true, Reason: reason("ike_proposal_mismatch", "unknown", "ike_init",
		"the peer proposes other IKE algorithms than the IKE policy", "align the IKE policy with the peer: encryption_algorithm, auth_algorithm, pfs")}
)

const alignNetworks = "align peer_cidrs or the endpoint groups with the peer's networks"

var rules = []rule{
	{[]string{"received AUTHENTICATION_FAILED"}, nil, authRefused},
	{[]string{"no shared key found for "}, regexp.MustCompile(`no shared key found for '(.*?)' - '(.*)'`), noSharedKey},
	{[]string{"but MAC mismatched"}, nil, fixed(pskMismatch)},
	{[]string{"payload length, decryption failed?", "could not decrypt payloads", "calculated HASH does not match"}, nil, fixed(decryptFailed)},
	{[]string{"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built"}, nil, childRefused},
	{[]string{"received NO_PROPOSAL_CHOSEN"}, nil, ikeOrChildRefused},
	{[]string{"received proposals unacceptable", "no proposal found"}, nil, fixed(ikeProposalMismatch)},
	{[]string{"t accept DH group ", "t accept key exchange method "}, regexp.MustCompile(`it requested (\S+)$`), groupRefused},
	{[]string{"no acceptable proposal found", "no matching proposal found"}, nil, childUnacceptable},
	{[]string{"no IKE config found for "}, nil, fixed(finding{certain: true, Reason: reason("no_ike_config", "unknown", "ike_init",
		"the peer asks in a way that no connection here answers: most often another IKE version", "align ike_version of the IKE policy with the peer")})},
	{[]string{"received TS_UNACCEPTABLE", "received INVALID_ID_INFORMATION"}, nil, fixed(finding{Reason: said(saidTS, reason("ts_unacceptable", "unknown", "child",
		"the peer refused our networks (traffic selectors): its local and remote networks are not the mirror of ours", alignNetworks))})},
	{[]string{"traffic selectors "}, regexp.MustCompile(`traffic selectors (.*) === (.*) unacceptable`), selectorsRefused},
	{[]string{"no matching CHILD_SA config found for "}, regexp.MustCompile(`config found for (.*) === (.*)`), pairRefused},
	{[]string{"no matching peer config found", "no peer config found"}, nil, fixed(identityMismatch)},
	{[]string{"but none allows "}, nil, fixed(modeMismatch)},
	{[]string{"IDir '"}, regexp.MustCompile(`IDir '(.*)' does not match to '(.*)'`), otherIdentity},
	{[]string{"constraint check failed: identity "}, nil, fixed(identityMismatch)},
	{[]string{"giving up after ", "DPD check timed out"}, nil, gaveUp},
	{[]string{"unable to resolve "}, regexp.MustCompile(`unable to resolve (.*?),? initiate aborted`), unresolved},
	{[]string{"received DELETE for IKE_SA", "received DELETE for different IKE_SA"}, nil, fixed(peerDeleted)},
	{[]string{"received DELETE for ESP CHILD_SA", "received DELETE for AH CHILD_SA"}, nil, fixed(finding{brief: true, certain: true, Reason: peerDeleted.Reason})},
	{[]string{"unable to install inbound", "unable to install IPsec policies", "error installing route with policy", "unable to allocate SPI"}, nil,
		fixed(finding{certain: true, Reason: reason("install_failed", "ours", "local", "this gateway could not install the negotiated SA or its policies", "")})},
	{[]string{"failed to establish CHILD_SA, keeping IKE_SA"}, nil, fixed(finding{generic: true, Reason: reason("child_failed", "unknown", "child",
		"the IKE_SA stands but there was no agreement on the CHILD_SA", "compare the IPsec policy and the networks with the peer's configuration")})},
}

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

// said adds what the peer answered.
func said(what string, r vpn.Reason) vpn.Reason {
	r.Theirs = what
	return r
}

// authRefused: a peer that speaks IKEv1 and has another key cannot even read our message, so a refusal is about identities.
func authRefused(_ []string, in circumstances) finding {
	if in.version == "v1" {
		return finding{Reason: said(saidAuthFailed, reason("auth_failed", "unknown", "ike_auth",
			"the peer refused our authentication: it knows us by another identity, has another pre-shared key, or does not allow the mode (main or aggressive); only the peer's log tells which",
			"compare local_id, peer_id, psk and phase1_negotiation_mode with the peer's configuration"))}
	}
	return finding{Reason: said(saidAuthFailed, reason("auth_failed", "unknown", "ike_auth",
		"the peer refused our authentication: the pre-shared keys differ, or the peer knows us by another identity; only the peer's log tells which",
		"compare psk, local_id and peer_id with the peer's configuration"))}
}

// noSharedKey names the identities that charon looked for; explain tells whether they are the connection's.
func noSharedKey(m []string, _ circumstances) finding {
	return finding{certain: true, ids: [2]string{m[1], m[2]}, Reason: reason("no_shared_key", "ours", "ike_auth",
		"this gateway has no pre-shared key for the two identities", "check local_id and peer_id")}
}

// otherIdentity is of IKEv1, where the peer says who it is only in its answer.
func otherIdentity(m []string, _ circumstances) finding {
	f := identityMismatch
	f.ids = [2]string{"", m[1]}
	return f
}

// childRefused: where the tunnel stands, the algorithms were agreed on before; what the first exchange of IKEv2 leaves out
// is the group.
func childRefused(_ []string, in circumstances) finding {
	if in.up && in.version == "v2" {
		return finding{certain: true, Reason: said(saidNoProposal, pfsMismatch("rekey"))}
	}
	return finding{Reason: said(saidNoProposal, childMismatch(in))}
}

// childUnacceptable is about what the peer proposes.
func childUnacceptable(_ []string, in circumstances) finding {
	return finding{certain: true, Reason: childMismatch(in)}
}

func childMismatch(in circumstances) vpn.Reason {
	phase := "child"
	if in.up {
		phase = "rekey"
	}
	return reason("child_proposal_mismatch", "unknown", phase, "the peer and the IPsec policy have no common algorithms",
		"align the IPsec policy with the peer: transform_protocol, encryption_algorithm, auth_algorithm, pfs")
}

// pfsMismatch is found in phase child (IKEv1) or rekey: IKEv2 speaks of the group only from the first rekey on.
func pfsMismatch(phase string) vpn.Reason {
	return reason("pfs_mismatch", "unknown", phase, "the peer and the IPsec policy have different groups for perfect forward secrecy: the keys of the tunnel cannot be replaced",
		"align pfs of the IPsec policy with the peer")
}

func ikeOrChildRefused(_ []string, in circumstances) finding {
	if in.established {
		return childRefused(nil, in)
	}
	return finding{Reason: said(saidNoProposal, reason("no_proposal_chosen", "unknown", "ike_init",
		"the peer refused the first message: its IKE algorithms differ from the IKE policy, or it knows no such connection or IKE version; only the peer's log tells which",
		"compare the IKE policy (ike_version, encryption_algorithm, auth_algorithm, pfs) and peer_address with the peer's configuration"))}
}

// groupRefused: an IKE policy has one group, so a peer that wants another will not come to terms.
func groupRefused(m []string, _ circumstances) finding {
	f := ikeProposalMismatch
	f.Theirs = groupWord(m[1])
	f.Summary = "the peer wants another Diffie-Hellman group than the IKE policy"
	return f
}

// selectorsRefused and pairRefused: IKEv2 names ours first, IKEv1 the peer's.
func selectorsRefused(m []string, _ circumstances) finding { return otherSelectors(m[1], m[2]) }
func pairRefused(m []string, _ circumstances) finding      { return otherSelectors(m[2], m[1]) }

func otherSelectors(local, peer string) finding {
	return finding{certain: true, Reason: said(selectorsText(strings.Fields(local), strings.Fields(peer)), reason("ts_unacceptable", "unknown", "child",
		"the peer asked for other networks (traffic selectors) than the connection has", alignNetworks))}
}

func selectorsText(local, peer []string) string {
	return "local " + strings.Join(local, " ") + ", peer " + strings.Join(peer, " ")
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
		return finding{certain: true, generic: true, Reason: peerDead()}
	}
	return finding{generic: true, Reason: peerUnreachable()}
}
