package gateway

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// Data planes: who does ESP.
const (
	Auto     = "auto"
	Kernel   = "kernel"
	Userland = "userland"
)

// connConfig is one connection in charon's words.
type connConfig struct {
	id       string
	conn     *vici.Message // of load-conn: one section named by the connection's id
	shared   *vici.Message // of load-shared; holds the PSK
	children []string      // names of the CHILD_SAs that must be installed, in order (see childName)
	siblings bool          // its CHILD_SAs may stand in the IKE_SA of another connection
}

// kin is what makes siblings of connections: the peer cannot but take them for one. Then charon, when the peer
// initiates, cannot know either which of them is meant, and picks one.
type kin struct{ local, peer, ours, theirs, version string }

func kinOf(c vpn.ConnectionSpec) kin {
	return kin{c.LocalAddress.String(), c.PeerAddress, c.LocalID, c.PeerID, c.IKE.Version}
}

// configError is a connection that this gateway cannot configure; its Reason goes to the user.
type configError struct{ reason vpn.Reason }

func (e *configError) Error() string { return e.reason.Code + ": " + e.reason.Summary }

func refuse(code, summary, hint string) error {
	return &configError{vpn.Reason{Code: code, Side: "ours", Phase: "config", Summary: summary, Hint: hint}}
}

// configure turns a connection into charon's configuration. The CHILD_SAs of its siblings are part of it, so that the
// peer may ask for them in whichever IKE_SA it has. key makes the marks in names. Errors are *configError.
func configure(c vpn.ConnectionSpec, dataplane string, key marker, siblings ...vpn.ConnectionSpec) (*connConfig, error) {
	if err := configurable(c, dataplane); err != nil {
		return nil, err
	}
	ike, err := ikeProposal(c.IKE)
	if err != nil {
		return nil, refuse("unknown_algorithm", "IKE policy: "+err.Error(), "choose another algorithm in the IKE policy")
	}
	child, err := childProposal(c.ESP)
	if err != nil {
		return nil, refuse("unknown_algorithm", "IPsec policy: "+err.Error(), "choose another algorithm in the IPsec policy")
	}
	var names []string
	sections := vici.NewMessage()
	for _, child := range named(c, ike, child, key) {
		names = append(names, child.name)
		sections.SetSection(child.name, child.whole)
	}
	for _, other := range siblings {
		ike, err1 := ikeProposal(other.IKE)
		child, err2 := childProposal(other.ESP)
		if err1 != nil || err2 != nil {
			continue
		}
		for _, child := range named(other, ike, child, key) {
			sections.SetSection(child.name, child.whole)
		}
	}
	conn := vici.NewMessage()
	negotiatedIKE(conn, c, ike)
	conn.Section("local").Set("aaa_id", key.mark("key", string(c.PSK))) // see childName
	localConfig(conn, c)
	conn.SetSection("children", sections)
	return &connConfig{
		id: c.ID, conn: vici.NewMessage().SetSection(c.ID, conn), shared: sharedKey(c), children: names, siblings: len(siblings) > 0,
	}, nil
}

func configurable(c vpn.ConnectionSpec, dataplane string) error {
	switch {
	case c.ESP.Protocol == "ah" && dataplane == Userland:
		return refuse("ah_unsupported", "this gateway does IPsec in userland, which has no AH",
			"set transform_protocol of the IPsec policy to esp")
	case c.ESP.Protocol != "esp" && c.ESP.Protocol != "ah":
		return refuse("protocol_unsupported", fmt.Sprintf("transform protocol %q is not supported", c.ESP.Protocol),
			"set transform_protocol of the IPsec policy to esp")
	case len(c.Local) == 0 || len(c.Peer) == 0:
		return refuse("no_selectors", "the connection has no local or no peer networks",
			"set peer_cidrs and the service's subnet, or both endpoint groups")
	}
	if _, aead, err := cipher(c.IKE.Encryption); err == nil && aead && c.IKE.Version == "v1" {
		return refuse("ikev1_aead_unsupported", "IKEv1 has no AEAD ciphers such as "+c.IKE.Encryption,
			"set ike_version of the IKE policy to v2, or its encryption_algorithm to aes-256")
	}
	return nil
}

// negotiatedIKE writes what both peers must agree on.
func negotiatedIKE(m *vici.Message, c vpn.ConnectionSpec, proposal string) {
	m.Set("version", strings.TrimPrefix(c.IKE.Version, "v"))
	m.SetList("local_addrs", c.LocalAddress.String())
	m.SetList("remote_addrs", c.PeerAddress)
	m.SetList("proposals", proposal)
	m.Set("aggressive", yesNo(c.IKE.Aggressive))
	m.SetSection("local", vici.NewMessage().Set("auth", "psk").Set("id", vpn.Identity(c.LocalID)))
	m.SetSection("remote", vici.NewMessage().Set("auth", "psk").Set("id", vpn.Identity(c.PeerID)))
}

// localConfig writes what is this side's own affair.
//
// unique=no: only a peer that says INITIAL_CONTACT (it restarted) ends old SAs. "replace" would end an SA whenever both
// sides initiate at once.
//
// over_time and rand_time differ a little between connections, on purpose: charon takes two connections with equal
// parameters for the same one, whatever their names, and would put the CHILD_SA of one into the IKE_SA of the other.
//
// keyingtries=1: the session retries by itself, paced and with backoff.
func localConfig(m *vici.Message, c vpn.ConnectionSpec) {
	m.Set("unique", "no")
	m.Set("keyingtries", "1")
	m.Set("mobike", "no")
	m.Set("fragmentation", "yes")
	rekey, over, random := lifetimes(c.IKE.Lifetime, c.ID)
	m.Set("rekey_time", seconds(rekey))
	m.Set("over_time", seconds(over))
	m.Set("rand_time", seconds(random))
	m.Set("dpd_delay", dpdDelay(c.DPD))
	if c.IKE.Version == "v1" && c.DPD.Action != "disabled" {
		m.Set("dpd_timeout", seconds(c.DPD.Timeout))
	}
}

func dpdDelay(d vpn.DPDSpec) string {
	if d.Action == "disabled" {
		return "0s"
	}
	return seconds(d.Interval)
}

// lifetimes splits an IKE lifetime: rekeying starts at nine tenths (earlier by up to random, so that the ends do not
// collide), and over is the grace until the hard end, at the lifetime itself or a little before. The id spreads over and
// random within half of their range.
func lifetimes(lifetime int64, id string) (rekey, over, random int64) {
	rekey = lifetime * 9 / 10
	over, random = lifetime-rekey, lifetime/20
	hash := fnv.New32a()
	hash.Write([]byte(id)) // never fails
	n := int64(hash.Sum32())
	spread := over/2 + 1
	return rekey, over - n%spread, random - n/spread%(random/2+1)
}

type childConfig struct {
	name              string
	negotiated, whole *vici.Message
}

// childSections answers the CHILD_SAs in order: one with all selectors for IKEv2, one a pair for IKEv1, whose quick mode
// carries a single pair.
func childSections(c vpn.ConnectionSpec, proposal string) []childConfig {
	if c.IKE.Version != "v1" {
		return []childConfig{childSection(c.ID, c, proposal, c.Local, c.Peer)}
	}
	var out []childConfig
	for _, local := range c.Local {
		for _, peer := range c.Peer {
			name := c.ID + "-" + strconv.Itoa(len(out)+1)
			out = append(out, childSection(name, c, proposal, []netip.Prefix{local}, []netip.Prefix{peer}))
		}
	}
	return out
}

// childSection writes one CHILD_SA. start_action and close_action are none: a reload then never touches a live SA,
// and no trap policy is needed since the guard stands and the session initiates.
func childSection(name string, c vpn.ConnectionSpec, proposal string, local, peer []netip.Prefix) childConfig {
	negotiated := func() *vici.Message {
		m := vici.NewMessage()
		m.SetList("local_ts", texts(local)...)
		m.SetList("remote_ts", texts(peer)...)
		m.SetList(c.ESP.Protocol+"_proposals", proposal)
		return m.Set("mode", "tunnel")
	}
	soft := c.ESP.Lifetime * 9 / 10
	whole := negotiated().
		Set("rekey_time", seconds(soft)).
		Set("life_time", seconds(c.ESP.Lifetime)).
		Set("rand_time", seconds(c.ESP.Lifetime/20)).
		Set("start_action", "none").
		Set("close_action", "none").
		Set("dpd_action", "none")
	return childConfig{name: name, negotiated: negotiated(), whole: whole}
}

func sharedKey(c vpn.ConnectionSpec) *vici.Message {
	return vici.NewMessage().Set("id", c.ID).Set("type", "IKE").Set("data", string(c.PSK)).
		SetList("owners", vpn.Identity(c.LocalID), vpn.Identity(c.PeerID))
}

func texts(prefixes []netip.Prefix) []string {
	out := make([]string, len(prefixes))
	for i, p := range prefixes {
		out[i] = p.String()
	}
	return out
}

func seconds(n int64) string { return strconv.FormatInt(n, 10) + "s" }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
