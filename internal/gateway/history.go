package gateway

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"culvert/internal/vici"
)

// history remembers of each IKE_SA what later lines of it leave out: on the answering side a failure is logged before
// charon knows which connection it belongs to.
type history struct {
	peers map[string]peer // by uniqueid
}

type peer struct {
	address      netip.Addr
	ours, theirs string    // the identities that the peer expects and has
	version      string    // of IKE, v1 or v2, where the peer began
	ike, child   string    // the proposals that we refused, as charon prints them
	began        bool      // the IKE_SA's first message was in the log
	settled      time.Time // it was established then
	asked        bool      // IKEv1: the peer then asked for a CHILD_SA
	sealed       bool      // IKEv1: its refusal was made with the keys of both
}

const maxOffer = 4096 // bytes of a line with proposals

const maxHistory = 4096 // IKE_SAs; then it starts afresh

var (
	packetFrom = regexp.MustCompile(`^(?:received packet: from |no IKE config found for \S+\.\.\.)(\S+?)(?:\[\d+\]|,)`)
	initiating = regexp.MustCompile(`^(\S+) is initiating a`)
	matching   = regexp.MustCompile(`^looking for (?:.* )?(?:peer )?configs matching (?:\S+?\[(.*?)\]|\S+?)\.\.\.(\S+?)\[(.*)\]$`)
)

func newHistory() *history { return &history{peers: map[string]peer{}} }

// note takes a line in and answers what is known of its peer.
func (h *history) note(line *vici.Message, now time.Time) peer {
	id := line.Get("ikesa-uniqueid")
	p := h.peers[id]
	if !p.note(line.Get("msg"), now) || id == "" {
		return p
	}
	if len(h.peers) >= maxHistory {
		clear(h.peers)
	}
	h.peers[id] = p
	return p
}

// note answers whether the line told something. Most do not, and every line of a busy charon passes here.
func (p *peer) note(msg string, now time.Time) bool {
	switch {
	case strings.HasPrefix(msg, "received packet"), strings.HasPrefix(msg, "no IKE config"):
		m := packetFrom.FindStringSubmatch(msg)
		if m == nil || parseAddr(m[1]) == p.address {
			return false
		}
		p.address = parseAddr(m[1])
	case strings.HasPrefix(msg, "received proposals: "):
		offers := strings.Clone(msg[len("received proposals: "):min(len(msg), maxOffer)]) // anybody may send one, and as long as a packet
		if strings.HasPrefix(offers, "IKE:") {
			p.ike = offers
		} else {
			p.child = offers
		}
	case strings.HasPrefix(msg, "looking for"):
		m := matching.FindStringSubmatch(msg)
		if m == nil || strings.Contains(m[1]+m[3], "]...") { // an identity is the peer's to choose, and may look like more of the line
			return false
		}
		if p.ours, p.theirs = m[1], m[3]; !p.address.IsValid() {
			p.address = parseAddr(m[2])
		}
	case strings.HasPrefix(msg, "parsed "):
		return p.parsed(msg)
	case strings.HasPrefix(msg, "IKE_SA ") && strings.Contains(msg, " established between "):
		p.settled = now
	case strings.HasPrefix(msg, "initiating "):
		p.began = true
	default:
		if !strings.Contains(msg, "is initiating a") {
			return false
		}
		m := initiating.FindStringSubmatch(msg)
		if m == nil {
			return false
		}
		p.address = parseAddr(m[1])
	}
	return true
}

// parsed is about the requests with which a peer begins.
func (p *peer) parsed(msg string) bool {
	switch {
	case strings.HasPrefix(msg, "parsed IKE_SA_INIT request "):
		p.version, p.began = "v2", true
	case strings.HasPrefix(msg, "parsed ID_PROT request 0 [ SA "), strings.HasPrefix(msg, "parsed AGGRESSIVE request 0 [ SA "):
		p.version, p.began = "v1", true
	case strings.HasPrefix(msg, "parsed QUICK_MODE request ") && !p.asked:
		p.asked = true
	case strings.HasPrefix(msg, "parsed INFORMATIONAL_V1 ") && strings.Contains(msg, "[ HASH N(AUTH_FAILED) ]"):
		p.sealed = true
	default:
		return false
	}
	return true
}

func parseAddr(text string) netip.Addr {
	addr, _ := netip.ParseAddr(strings.TrimSuffix(text, ",")) // zero where it is none
	return addr.Unmap()
}
