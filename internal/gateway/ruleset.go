package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ruleset is what is known of the guard of an open namespace, so that a Set need not read it again: the keys of its rules,
// as of one generation of the namespace's nftables. Whatever anybody changes there makes another generation.
type ruleset struct {
	generation uint32
	keys       map[string]bool // nil: nothing is known
	asking     *netlink.Conn   // asks for the generation; nil before it is first needed
	writing    *nftables.Conn  // likewise
}

// conn is the connection to write with. Whoever meets an error on it must forget.
func (k *ruleset) conn(ns *namespace) (_ *nftables.Conn, err error) {
	if k.writing == nil {
		k.writing, err = nftables.New(nftables.WithNetNSFd(int(ns.fd)), nftables.AsLasting(), nftables.WithSockOptions(roomy))
	}
	return k.writing, err
}

// known answers the keys of the rules that stand, nil where they must be read; and the generation.
func (k *ruleset) known(ns *namespace) (keys map[string]bool, generation uint32, err error) {
	if generation, err = k.ask(ns); err != nil || generation != k.generation {
		return nil, generation, err
	}
	return k.keys, generation, nil
}

// since is the generation as of which the keys are known; 0: they are not.
func (k *ruleset) since() uint32 {
	if k.keys == nil {
		return 0
	}
	return k.generation
}

// note takes in that these rules stand, unless somebody else wrote since the generation from which they were read.
func (k *ruleset) note(ns *namespace, keys map[string]bool, from uint32, wrote bool) error {
	now, err := k.ask(ns)
	k.generation, k.keys = now, keys
	if wrote {
		from++
	}
	if err != nil || now != from {
		k.keys = nil
	}
	return err
}

// ask answers the generation of the namespace's nftables.
func (k *ruleset) ask(ns *namespace) (_ uint32, err error) {
	if k.asking == nil {
		if k.asking, err = netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(ns.fd)}); err != nil {
			return 0, fmt.Errorf("nftables: %w", err)
		}
	}
	answer, err := k.asking.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, 4), // struct nfgenmsg
	})
	if err != nil {
		return 0, fmt.Errorf("nftables: read the generation: %w", err)
	}
	for _, m := range answer {
		if len(m.Data) < 4 {
			continue
		}
		attributes, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("nftables: read the generation: %w", err)
		}
		for attributes.ByteOrder = binary.BigEndian; attributes.Next(); {
			if attributes.Type() == unix.NFTA_GEN_ID {
				return attributes.Uint32(), nil
			}
		}
	}
	return 0, errors.New("nftables: the kernel names no generation")
}

// close forgets everything.
func (k *ruleset) close() {
	if k.asking != nil {
		_ = k.asking.Close() // nothing is buffered in it
	}
	if k.writing != nil {
		_ = k.writing.CloseLasting() // likewise
	}
	*k = ruleset{}
}
