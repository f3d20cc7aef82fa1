package gateway

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"culvert/internal/vpn"
)

// A peer that refuses our first message says NO_PROPOSAL_CHOSEN, whatever it would have taken. So it is asked: a first
// message that offers everything is answered with what the peer has, and one of the other IKE version tells whether it is
// that. Nothing follows, and the peer forgets it.

// inquiry is what came of asking one address.
type inquiry struct {
	busy  bool
	ended time.Time
	found preference
}

// preference is what a peer takes of us.
type preference struct {
	asked   bool   // it answered at all
	version string // of IKE that it knows us in; "": neither
	takes   *offer // of that version; nil: only the group is known
	group   string
}

// Bounds of asking.
const (
	askAgain     = time.Minute // the same address
	inquiryLimit = 3 * time.Second
)

// inquire refines what is known of a refusal, or starts to find out. It needs mu.
func (r *router) inquire(c *connection, f finding, now time.Time) finding {
	addr := parseAddr(c.spec.PeerAddress)
	known := r.inquiries[addr]
	if known != nil && (known.busy || now.Sub(known.ended) < askAgain) {
		return prefer(f, c.spec, known.found)
	}
	if r.spec.Router == "" || !addr.IsValid() || r.closing || r.inquiring() >= maxLooks {
		return f
	}
	if r.inquiries == nil {
		r.inquiries = map[netip.Addr]*inquiry{}
	}
	before := preference{}
	if known != nil {
		before = known.found
	}
	r.inquiries[addr] = &inquiry{busy: true, found: before}
	r.g.running.Add(1)
	go r.ask(c.spec, addr)
	return prefer(f, c.spec, before)
}

func (r *router) inquiring() (n int) {
	for addr, q := range r.inquiries {
		if q.busy {
			n++
		} else if r.g.now().Sub(q.ended) > 2*askAgain {
			delete(r.inquiries, addr)
		}
	}
	return n
}

// ask asks, and tells the connections that the peer has refused.
func (r *router) ask(c vpn.ConnectionSpec, peer netip.Addr) {
	defer r.g.running.Done()
	ctx, cancel := context.WithTimeout(r.g.closed, inquiryLimit)
	defer cancel()
	ns, err := r.openNamespace()
	var found preference
	if err == nil {
		found = preferenceOf(ctx, asker{ns, c.LocalAddress, netip.AddrPortFrom(peer, 500)}, c.IKE)
		ns.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.g.now()
	r.inquiries[peer] = &inquiry{ended: now, found: found}
	for _, c := range r.conns {
		refused := c.state == vpn.StateDown && c.cause.Code == "no_proposal_chosen" && parseAddr(c.spec.PeerAddress) == peer
		if f := prefer(c.cause, c.spec, found); refused && f.Summary != c.cause.Summary {
			c.note(f, now)
		}
	}
	r.publish(false)
}

// prefer puts what the peer takes into the finding that it refused us.
func prefer(f finding, c vpn.ConnectionSpec, found preference) finding {
	switch {
	case !found.asked:
	case found.version == "":
		f.Side, f.Summary = "theirs", "the peer refuses each algorithm of either IKE version: it knows no connection with our address"
		f.Hint = "have the peer accept " + c.LocalAddress.String() + ", or correct peer_address"
	case found.version != c.IKE.Version:
		f.Reason = reason("no_ike_config", "unknown", "ike_init", "the peer speaks another IKE version than the IKE policy",
			"set ike_version of "+nameOf("ikepolicy", c.IKE.Policy)+" to "+found.version+", which the peer uses")
		f.Ours, f.Theirs, f.certain = "ike_version "+c.IKE.Version, "ike_version "+found.version, true
	case found.takes == nil && found.group != c.IKE.Group:
		wants := ikeProposalMismatch
		wants.Theirs = found.group
		f = compare(wants, ikePolicy(c.IKE), "")
	case found.takes != nil:
		own := ikePolicy(c.IKE)
		if lacks := own.differs(*found.takes); len(lacks) > 0 {
			f = ikeProposalMismatch
			f.Summary = "the peer takes other IKE algorithms than the IKE policy"
			f.Ours, f.Theirs, f.Hint = own.String(), found.takes.String(), own.mend(lacks)
		}
	}
	return f
}

// asker is from where to whom.
type asker struct {
	ns   *namespace
	from netip.Addr
	to   netip.AddrPort
}

// preferenceOf asks in the connection's own IKE version, then in the other.
func preferenceOf(ctx context.Context, a asker, ike vpn.IKESpec) (p preference) {
	versions := []string{"v2", "v1"}
	if ike.Version == "v1" {
		slices.Reverse(versions)
	}
	for _, version := range versions {
		ask := a.askInit
		if version == "v1" {
			ask = a.askMain
		}
		got, err := ask(ctx, ike.Group)
		p.asked = p.asked || err == nil
		if err == nil && (got.takes != nil || got.group != "") {
			p.version, p.takes, p.group = version, got.takes, got.group
			return p
		}
	}
	return p
}

// askInit asks a second time where the peer wants a key of another group: only then does it say the rest.
func (a asker) askInit(ctx context.Context, group string) (reply, error) {
	number := groupNumber(group)
	if _, err := publicValue(number); err != nil {
		number = groupNumber("group14")
	}
	got, err := a.askGroup(ctx, number)
	if err != nil || got.group == "" {
		return got, err
	}
	if more, err := a.askGroup(ctx, groupNumber(got.group)); err == nil && more.takes != nil {
		more.group = got.group
		return more, nil
	}
	return got, nil // also where no key of that group can be made here
}

func (a asker) askGroup(ctx context.Context, group uint16) (reply, error) {
	packet, err := broadInit(group)
	if err != nil {
		return reply{}, err
	}
	got, err := a.exchange(ctx, packet)
	if err == nil && len(got.cookie) > 0 {
		return a.exchange(ctx, withCookie(packet, got.cookie))
	}
	return got, err
}

func (a asker) askMain(ctx context.Context, group string) (reply, error) {
	return a.exchange(ctx, broadMain(groupNumber(group)))
}

// exchange sends a first message until there is an answer to it.
func (a asker) exchange(ctx context.Context, packet []byte) (got reply, err error) {
	var conn net.Conn
	err = a.ns.do(func() (err error) {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.from, 0)), net.UDPAddrFromAddrPort(a.to))
		return err
	})
	if err != nil {
		return got, err
	}
	answered := false
	err = ask(ctx, conn, packet, func(b []byte) bool {
		if len(b) < ikeHeader || string(b[:8]) != string(packet[:8]) {
			return false
		}
		got, err = readReply(b)
		answered = err == nil && (got.takes != nil || got.group != "" || len(got.cookie) > 0 || got.notify == saidNothingFits)
		return true
	})
	if err == nil && !answered {
		err = os.ErrInvalid
	}
	return got, err
}
