package gateway

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// spd is the security policy database of one namespace. Where the kernel does ESP it holds the guard, beside the nft rules:
// for each pair of a connection's selectors a DISCARD entry (RFC 4301 section 4.4.1) below every policy of charon's. One
// lookup then decides both, and no packet can pass between them.
type spd struct{ ns *namespace }

// Priorities of our entries, by which they are known again: a smaller number wins, and charon's lie between.
const (
	discardPriority = math.MaxInt32
	bypassPriority  = 1
)

// everyMark covers all packets in two entries. The kernel takes two entries of one selector and one mark for the same
// policy, whatever their priorities: charon's, which have no mark, would replace one of ours that has none.
var everyMark = []netlink.XfrmMark{{Value: 0, Mask: 1 << 31}, {Value: 1 << 31, Mask: 1 << 31}}

// discards answers the entries of a Spec, by key.
func discards(spec vpn.Spec) map[string]netlink.XfrmPolicy {
	out := map[string]netlink.XfrmPolicy{}
	for _, c := range spec.Connections {
		for _, local := range c.Local {
			for _, peer := range c.Peer {
				if local.Addr().Is4() != peer.Addr().Is4() {
					continue
				}
				addDiscards(out, local, peer)
				if local.Addr().Is6() {
					addNeighbourDiscovery(out)
				}
			}
		}
	}
	return out
}

func addDiscards(out map[string]netlink.XfrmPolicy, local, peer netip.Prefix) {
	for _, mark := range everyMark {
		p := netlink.XfrmPolicy{Action: netlink.XFRM_POLICY_BLOCK, Priority: discardPriority, Mark: &mark, Dir: netlink.XFRM_DIR_OUT, Src: ipNet(local.Masked()), Dst: ipNet(peer.Masked())}
		out[policyKey(p)] = p
		p.Src, p.Dst = p.Dst, p.Src
		for _, p.Dir = range []netlink.Dir{netlink.XFRM_DIR_IN, netlink.XFRM_DIR_FWD} {
			out[policyKey(p)] = p
		}
	}
}

// addNeighbourDiscovery lets the router find its neighbours where a selector is as wide as ::/0.
func addNeighbourDiscovery(out map[string]netlink.XfrmPolicy) {
	all := ipNet(netip.MustParsePrefix("::/0"))
	for kind := 133; kind <= 137; kind++ { // the kernel compares ICMPv6's type with the source port
		for _, dir := range []netlink.Dir{netlink.XFRM_DIR_IN, netlink.XFRM_DIR_OUT} {
			p := netlink.XfrmPolicy{Action: netlink.XFRM_POLICY_ALLOW, Priority: bypassPriority, Dir: dir, Src: all, Dst: all, Proto: unix.IPPROTO_ICMPV6, SrcPort: kind}
			out[policyKey(p)] = p
		}
	}
}

func policyKey(p netlink.XfrmPolicy) string {
	mark := netlink.XfrmMark{}
	if p.Mark != nil {
		mark = *p.Mark
	}
	return fmt.Sprintf("%d %s %s %d %d %x/%x", p.Dir, p.Src, p.Dst, p.Proto, p.SrcPort, mark.Value, mark.Mask)
}

func isGuard(p netlink.XfrmPolicy) bool {
	return p.Priority == discardPriority && p.Action == netlink.XFRM_POLICY_BLOCK || p.Priority == bypassPriority && p.Proto == unix.IPPROTO_ICMPV6
}

// policies answers the entries that stand, without those of sockets.
func (s spd) policies() ([]netlink.XfrmPolicy, error) {
	var out []netlink.XfrmPolicy
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := whole(func() ([]netlink.XfrmPolicy, error) { return s.ns.nl.XfrmPolicyList(family) })
		if err != nil {
			return nil, fmt.Errorf("read the SPD: %w", err)
		}
		for _, p := range list {
			if p.Dir <= netlink.XFRM_DIR_FWD {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// set adds the entries that are missing and, where prune is set, removes those not wanted. It answers how many entries there are
// then, unless somebody else wrote meanwhile.
func (s spd) set(want map[string]netlink.XfrmPolicy, prune bool) (out deviation, count uint32, err error) {
	if count, err = s.ns.policies.ask(s.ns); err != nil {
		return out, 0, err
	}
	have, err := s.policies()
	if err != nil {
		return out, 0, err
	}
	standing := map[string]bool{}
	for _, p := range have {
		if !isGuard(p) {
			continue
		}
		key := policyKey(p)
		standing[key] = true
		if _, wanted := want[key]; wanted {
			continue
		}
		out.extra = true
		if prune {
			if err := s.remove(p); err != nil {
				return out, 0, err
			}
			count--
		}
	}
	for key, p := range want {
		if standing[key] {
			continue
		}
		if err := s.ns.nl.XfrmPolicyAdd(&p); err != nil && !errors.Is(err, unix.EEXIST) {
			return out, 0, fmt.Errorf("write the SPD: %s: %w", key, err)
		}
		out.added++
		count++
	}
	return out, count, nil
}

func (s spd) remove(p netlink.XfrmPolicy) error {
	if err := s.ns.nl.XfrmPolicyDel(&p); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("write the SPD: remove %s: %w", policyKey(p), err)
	}
	return nil
}

// flush removes what a killed charon left behind, SAs and policies. The guard stands meanwhile, unless it is of another
// data plane, where it would hold back what is to pass. In a network that is not our own, others may do IPsec too: outer then
// names the addresses whose SAs are ours; nil means all.
func (s spd) flush(dataplane string, outer []netip.Addr) error {
	have, err := s.policies()
	if err != nil {
		return err
	}
	for _, p := range have {
		if isGuard(p) && dataplane == Kernel || !isGuard(p) && !endsAt(p, outer) {
			continue
		}
		if err := s.remove(p); err != nil {
			return err
		}
	}
	states, err := whole(func() ([]netlink.XfrmState, error) { return s.ns.nl.XfrmStateList(netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("read old SAs: %w", err)
	}
	for _, sa := range states {
		if !ends(sa.Src, sa.Dst, outer) {
			continue
		}
		if err := s.ns.nl.XfrmStateDel(&sa); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove old SAs: %w", err)
		}
	}
	return nil
}

// endsAt tells whether a policy is for SAs that end at one of the addresses.
func endsAt(p netlink.XfrmPolicy, outer []netip.Addr) bool {
	return outer == nil || slices.ContainsFunc(p.Tmpls, func(t netlink.XfrmPolicyTmpl) bool { return ends(t.Src, t.Dst, outer) })
}

func ends(src, dst net.IP, outer []netip.Addr) bool {
	return outer == nil || slices.ContainsFunc(outer, func(a netip.Addr) bool {
		return a.AsSlice() != nil && (src.Equal(a.AsSlice()) || dst.Equal(a.AsSlice()))
	})
}

// used answers when a packet of each pair was last held back on its way out, in Unix seconds and summed over the pair's
// entries, by leavingKey: it grows as the counters of the nft rules do, which such a packet does not reach.
func (s spd) used() (out map[string]uint64, err error) {
	out = map[string]uint64{}
	err = s.ns.do(func() error {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			request := nl.NewNetlinkRequest(nl.XFRM_MSG_GETPOLICY, unix.NLM_F_DUMP)
			request.AddData(nl.NewIfInfomsg(family))
			list, err := whole(func() ([][]byte, error) { return request.Execute(unix.NETLINK_XFRM, nl.XFRM_MSG_NEWPOLICY) })
			if err != nil {
				return fmt.Errorf("read the SPD: %w", err)
			}
			for _, m := range list {
				noteUse(out, nl.DeserializeXfrmUserpolicyInfo(m), uint16(family))
			}
		}
		return nil
	})
	return out, err
}

func noteUse(out map[string]uint64, p *nl.XfrmUserpolicyInfo, family uint16) {
	if p.Priority != discardPriority || netlink.Dir(p.Dir) != netlink.XFRM_DIR_OUT || p.Sel.Family != family {
		return
	}
	local, peer := p.Sel.Saddr.ToIPNet(p.Sel.PrefixlenS, family), p.Sel.Daddr.ToIPNet(p.Sel.PrefixlenD, family)
	out[leavingKey("forward", prefixOf(local), prefixOf(peer))] += p.Curlft.UseTime
}

func prefixOf(n *net.IPNet) netip.Prefix {
	ip, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones)
}
