package gateway

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const tableName = "culvert"

// guard is the nft table of one namespace, reached over netlink in this process: the nft program costs 10 ms a call.
type guard struct{ ns *namespace }

// standing answers the handles of the rules that stand, by key.
func (g guard) standing(nft *nftables.Conn, table *nftables.Table) (map[string]*nftables.Rule, error) {
	rules := map[string]*nftables.Rule{}
	for _, name := range chains {
		list, err := nft.GetRules(table, &nftables.Chain{Name: name})
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read guard: %w", err)
		}
		for _, r := range list {
			key, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			if key == "" || rules[key] != nil { // not ours, or twice: to be removed
				key = fmt.Sprintf("%s foreign %d", name, r.Handle)
			}
			r.Table, r.Chain = table, &nftables.Chain{Name: name}
			rules[key] = r
		}
	}
	return rules, nil
}

// set adds the rules that are missing and, where prune is set, removes those not wanted, in one atomic batch. Nothing
// is written when nothing differs. It answers whether rules not wanted were found.
func (g guard) set(want []guardRule, prune bool) (extra bool, err error) {
	nft, err := nftables.New(nftables.WithNetNSFd(int(g.ns.fd)), nftables.AsLasting(), nftables.WithSockOptions(roomy))
	if err != nil {
		return false, fmt.Errorf("guard: %w", err)
	}
	defer nft.CloseLasting()
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	have, err := g.standing(nft, table)
	if err != nil {
		return false, err
	}
	changed := false
	if len(have) == 0 {
		addChains(nft, nft.AddTable(table))
		changed = true
	}
	for _, r := range want {
		if have[r.key] == nil {
			nft.AddRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: r.chain}, Exprs: r.exprs,
				UserData: userdata.AppendString(nil, userdata.TypeComment, r.key)})
			changed = true
		}
		delete(have, r.key)
	}
	for _, r := range have {
		if !prune {
			break
		}
		if err := nft.DelRule(r); err != nil {
			return true, fmt.Errorf("guard: %w", err)
		}
		changed = true
	}
	if !changed {
		return len(have) > 0, nil
	}
	if err := nft.Flush(); err != nil {
		return true, fmt.Errorf("write guard: %w", err)
	}
	return len(have) > 0, nil
}

func addChains(nft *nftables.Conn, table *nftables.Table) {
	hooks := map[string]*nftables.ChainHook{
		"forward": nftables.ChainHookForward, "output": nftables.ChainHookOutput, "input": nftables.ChainHookInput,
		"mss": nftables.ChainHookForward,
	}
	for _, name := range chains {
		priority := nftables.ChainPriorityFilter
		if name == "mss" {
			priority = nftables.ChainPriorityMangle
		}
		nft.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hooks[name], Priority: priority})
	}
}

// roomy keeps the kernel's answers to a large batch from overflowing the socket.
func roomy(c *netlink.Conn) error { return c.SetReadBuffer(4 << 20) }
