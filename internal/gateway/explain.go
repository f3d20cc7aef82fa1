package gateway

import (
	"fmt"
	"strings"
	"time"

	"culvert/internal/vpn"
)

// explain fills in what a finding means for one connection: what it wants, what the peer offers or said, and the change
// that would bring them together. p is what the log told of the IKE_SA before.
func explain(f finding, c vpn.ConnectionSpec, p peer, now time.Time) finding {
	if f.Code == peerDeleted.Code && p.version == "v1" && !p.asked && now.Sub(p.settled) < soonDeleted {
		f = expectsAnother
	}
	if f.Code == "no_shared_key" && !sameID(f.ids[1], c.PeerID) {
		ids := f.ids
		f = identityMismatch
		f.ids[1] = ids[1]
	}
	if f.Code == "auth_failed" && p.sealed {
		f = knowsAnother
	}
	switch f.Code {
	case "no_proposal_chosen":
		f.Ours = "ike_version " + c.IKE.Version + ", " + ikePolicy(c.IKE).String()
	case "ike_proposal_mismatch":
		f = compare(f, ikePolicy(c.IKE), p.ike)
	case "child_proposal_mismatch", "pfs_mismatch":
		f = compare(f, ipsecPolicy(c.ESP), p.child)
	case "ts_unacceptable":
		f = compareSelectors(f, c)
	case "auth_failed", "no_shared_key":
		f.Ours = idsText(c.LocalID, c.PeerID)
	case "identity_mismatch":
		f = compareIDs(f, c, p)
	case "no_ike_config":
		f.Ours = "ike_version " + c.IKE.Version
		if p.version != "" && p.version != c.IKE.Version {
			f.Theirs, f.Summary = "ike_version "+p.version, "the peer speaks another IKE version than the IKE policy"
			f.Hint = fmt.Sprintf("set ike_version of %s to %s, which the peer uses", nameOf("ikepolicy", c.IKE.Policy), p.version)
		}
	case "ike_mode_mismatch":
		f = compareModes(f, c)
	}
	return f
}

// soonDeleted is how long after its IKE_SA stood an IKEv1 peer closes it that did not like who we are.
const soonDeleted = 2 * time.Second

// expectsAnother: in IKEv1 the answering side says who it is in the last message, so that a peer which expects somebody
// else can only close the IKE_SA that has just come to stand.
var expectsAnother = finding{Reason: vpn.Reason{Code: "identity_mismatch", Side: "unknown", Phase: "ike_auth",
	Summary: "the peer closed the IKE_SA as soon as it stood, as an IKEv1 peer does that expects another identity of us",
	Hint:    "compare local_id with the identity that the peer expects"}}

// knowsAnother: the keys of IKEv1's phase 1 come from the pre-shared key, so that a peer which refuses us with a message that
// we can read has the same one.
var knowsAnother = finding{Reason: said(saidAuthFailed, reason("auth_failed", "unknown", "ike_auth",
	"the peer has our pre-shared key and refuses us all the same: it knows us by another identity, or wants the other mode (main or aggressive); only the peer's log tells which",
	"compare local_id and phase1_negotiation_mode with the peer's configuration"))}

// compare sets a policy against the proposals that we refused; where the peer refused ours, it told nothing of its own.
func compare(f finding, p policy, proposals string) finding {
	f.Ours = p.String()
	if f.Theirs != "" {
		if word := f.Theirs; groups[word] != "" {
			f.Hint = p.mend([]attribute{{"pfs", p.group, []string{word}}})
		} else if p.protocol != "ike" && p.id != "" {
			f.Hint = strings.Replace(f.Hint, "the IPsec policy", nameOf(p.kind, p.id), 1)
		}
		return f
	}
	offers := readOffers(proposals)
	lacks := p.nearest(offers)
	if len(lacks) == 0 {
		return f
	}
	if p.protocol != "ike" && len(lacks) == 1 && lacks[0].name == "pfs" {
		f.Reason = pfsMismatch(f.Phase)
		f.Ours = p.String()
	}
	f.Theirs, f.Hint = offersText(offers), p.mend(lacks)
	return f
}

func compareSelectors(f finding, c vpn.ConnectionSpec) finding {
	f.Ours = selectorsText(texts(c.Local), texts(c.Peer))
	_, peer, ok := strings.Cut(f.Theirs, ", peer ")
	if ok && peer != strings.Join(texts(c.Peer), " ") {
		f.Hint = "set peer_cidrs, or the endpoints of the peer endpoint group, to " + peer + ", which the peer asks for"
	} else if ok {
		f.Hint = "align the service's subnet, or the endpoints of the local endpoint group, with what the peer asks for"
	}
	return f
}

// compareIDs takes the identities from the line itself, or from the peer's request.
func compareIDs(f finding, c vpn.ConnectionSpec, p peer) finding {
	f.Ours = idsText(c.LocalID, c.PeerID)
	expected, is := p.ours, p.theirs // of a request of the peer's
	if f.ids != [2]string{} {
		expected, is = f.ids[0], f.ids[1]
	}
	if expected == "%any" {
		expected = ""
	}
	var said, sets []string
	if is != "" {
		said = append(said, "it calls itself "+is)
		if !sameID(is, c.PeerID) {
			sets = append(sets, "set peer_id to "+is)
		}
	}
	if expected != "" {
		said = append(said, "it expects us to be "+expected)
		if !sameID(expected, c.LocalID) {
			sets = append(sets, "set local_id to "+expected)
		}
	}
	if len(said) > 0 {
		f.Theirs = strings.Join(said, ", ")
	}
	if len(sets) > 0 {
		f.Summary = "the identities differ: the peer's own, or the one that it expects of us, is not that of the connection"
		f.Hint = strings.Join(sets, " and ")
	}
	return f
}

func compareModes(f finding, c vpn.ConnectionSpec) finding {
	modes := map[bool]string{false: "main", true: "aggressive"}
	f.Ours, f.Theirs = "phase1_negotiation_mode "+modes[c.IKE.Aggressive], "phase1_negotiation_mode "+modes[!c.IKE.Aggressive]
	f.Hint = fmt.Sprintf("set phase1_negotiation_mode of %s to %s, which the peer uses", nameOf("ikepolicy", c.IKE.Policy), modes[!c.IKE.Aggressive])
	return f
}

func idsText(local, peer string) string { return "local_id " + local + ", peer_id " + peer }

func nameOf(kind, id string) string { return strings.TrimSpace(kind + " " + id) }

// sameID compares an identity as charon prints it with one of the API.
func sameID(printed, api string) bool {
	_, bare, typed := strings.Cut(vpn.Identity(api), ":")
	if text := vpn.Identity(api); !typed || parseAddr(text).IsValid() {
		bare = text
	}
	return strings.EqualFold(printed, bare)
}
