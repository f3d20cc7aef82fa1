package gateway

import (
	"net/netip"
	"regexp"
	"strings"

	"culvert/internal/vici"
)

// history remembers of each IKE_SA what later lines of it leave out: on the answering side a failure is logged before
// charon knows which connection it belongs to.
type history struct {
	peers map[string]peer // by uniqueid
}

type peer struct {
	address      netip.Addr
	ours, theirs string // the identities that the peer expects and has
}

const maxHistory = 4096 // IKE_SAs; then it starts afresh

var (
	packetFrom = regexp.MustCompile(`^(?:received packet: from |no IKE config found for \S+\.\.\.)(\S+?)(?:\[\d+\]|,)`)
	initiating = regexp.MustCompile(`^(\S+) is initiating a`)
	matching   = regexp.MustCompile(`^looking for (?:.* )?(?:peer )?configs matching \S+?\[(.*?)\]\.\.\.(\S+?)\[(.*)\]$`)
)

func newHistory() *history { return &history{peers: map[string]peer{}} }

// note takes a line in and answers what is known of its peer.
func (h *history) note(line *vici.Message) peer {
	id, msg := line.Get("ikesa-uniqueid"), line.Get("msg")
	p := h.peers[id]
	if !strings.HasPrefix(msg, "received packet") && !strings.HasPrefix(msg, "looking for") &&
		!strings.HasPrefix(msg, "no IKE config") && !strings.Contains(msg, "is initiating a") {
		return p
	}
	if m := packetFrom.FindStringSubmatch(msg); m != nil {
		p.address = parseAddr(m[1])
	} else if m := initiating.FindStringSubmatch(msg); m != nil {
		p.address = parseAddr(m[1])
	} else if m := matching.FindStringSubmatch(msg); m != nil {
		p.ours, p.theirs, p.address = m[1], m[3], parseAddr(m[2])
	} else {
		return p
	}
	if id == "" {
		return p
	}
	if len(h.peers) >= maxHistory {
		clear(h.peers)
	}
	h.peers[id] = p
	return p
}

func parseAddr(text string) netip.Addr {
	addr, _ := netip.ParseAddr(strings.TrimSuffix(text, ",")) // zero where it is none
	return addr.Unmap()
}
