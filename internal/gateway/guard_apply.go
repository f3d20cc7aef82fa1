package gateway

import (
	"errors"
	"fmt"
	"slices"

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
// is written when nothing differs, and nothing is read when nobody has written since.
func (g guard) set(want []guardRule, prune bool) (out deviation, err error) {
	defer func() {
		if err != nil {
			g.ns.rules.close()
		}
	}()
	keys, generation, err := g.ns.rules.known(g.ns)
	if err != nil {
		return out, fmt.Errorf("guard: %w", err)
	}
	nft, err := g.ns.rules.conn(g.ns)
	if err != nil {
		return out, fmt.Errorf("guard: %w", err)
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	have := map[string]*nftables.Rule{}
	for key := range keys {
		have[key] = &nftables.Rule{}
	}
	if keys == nil || prune { // a rule is removed by its handle
		if have, err = g.standing(nft, table); err != nil {
			return out, err
		}
	}
	keys, wrote, out, err := g.batch(nft, table, have, want, prune, keys == nil)
	if err == nil && wrote {
		err = nft.Flush()
	}
	if err != nil {
		return out, fmt.Errorf("write guard: %w", plainer(nft, err))
	}
	return out, g.ns.rules.note(g.ns, keys, generation, wrote)
}

// batch prepares what is to be written. It answers the keys of the rules that will stand then. unsure says that somebody else
// may have written: then chains may be missing too.
func (g guard) batch(nft *nftables.Conn, table *nftables.Table, have map[string]*nftables.Rule, want []guardRule, prune, unsure bool) (
	keys map[string]bool, wrote bool, out deviation, err error) {
	keys = make(map[string]bool, len(want))
	missing := slices.DeleteFunc(slices.Clone(want), func(r guardRule) bool { return have[r.key] != nil })
	if len(have) == 0 || unsure && len(missing) > 0 {
		addChains(nft, nft.AddTable(table))
		wrote = true
	}
	for _, r := range want {
		keys[r.key] = true
	}
	for _, r := range missing {
		if r.chain == keepChain || r.chain == markChain { // it may be there; then this is no change
			nft.AddChain(borrowedChain(r.chain, table))
		}
		nft.AddRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: r.chain}, Exprs: r.exprs,
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.key)})
	}
	out.added, wrote = len(missing), wrote || len(missing) > 0
	for key, r := range have {
		if keys[key] {
			continue
		}
		out.extra = true
		if !prune {
			keys[key] = true
			continue
		}
		if err := nft.DelRule(r); err != nil {
			return nil, wrote, out, err
		}
		wrote = true
	}
	return keys, wrote, out, nil
}

// errNoTables says that the kernel lacks nftables, or their family inet.
var errNoTables = errors.New("this kernel has no nftables for inet (CONFIG_NF_TABLES_INET)")

// plainer is errNoTables where not even a table can be made, else err.
func plainer(nft *nftables.Conn, err error) error {
	nft.AddTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
	if alone := nft.Flush(); errors.Is(alone, unix.EOPNOTSUPP) || errors.Is(alone, unix.EAFNOSUPPORT) {
		return errNoTables
	}
	return err
}

func addChains(nft *nftables.Conn, table *nftables.Table) {
	hooks := map[string]*nftables.ChainHook{
		"forward": nftables.ChainHookForward, "output": nftables.ChainHookOutput, "input": nftables.ChainHookInput,
		"mss": nftables.ChainHookForward,
	}
	for _, name := range []string{"forward", "output", "input", "mss"} {
		priority := nftables.ChainPriorityFilter
		if name == "mss" {
			priority = nftables.ChainPriorityMangle
		}
		nft.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hooks[name], Priority: priority})
	}
}

// roomy keeps the kernel's answers to a large batch from overflowing the socket.
func roomy(c *netlink.Conn) error { return c.SetReadBuffer(4 << 20) }
