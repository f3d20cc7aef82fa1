package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// spdCounter asks how many entries the SPD of an open namespace has.
type spdCounter struct{ asking *netlink.Conn } // nil before it is first needed

const spdInfo = 1 // XFRMA_SPD_INFO: how many entries in, out and forwarded, then the same of sockets, 32 bits each

// ask answers the number of entries, whoever's they are, without those of sockets.
func (c *spdCounter) ask(ns *namespace) (n uint32, err error) {
	if c.asking == nil {
		if c.asking, err = netlink.Dial(unix.NETLINK_XFRM, &netlink.Config{NetNS: int(ns.fd)}); err != nil {
			return 0, fmt.Errorf("count the SPD: %w", err)
		}
	}
	answer, err := c.asking.Execute(netlink.Message{
		Header: netlink.Header{Type: nl.XFRM_MSG_GETSPDINFO, Flags: netlink.Request},
		Data:   make([]byte, 4), // flags, of which there are none
	})
	if err != nil {
		c.close()
		return 0, fmt.Errorf("count the SPD: %w", err)
	}
	for _, m := range answer {
		if len(m.Data) < 4 {
			continue
		}
		attributes, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("count the SPD: %w", err)
		}
		for attributes.Next() {
			if counts := attributes.Bytes(); attributes.Type() == spdInfo && len(counts) >= 12 {
				for i := range 3 {
					n += binary.NativeEndian.Uint32(counts[4*i:])
				}
				return n, nil
			}
		}
	}
	return 0, errors.New("count the SPD: the kernel names no number")
}

func (c *spdCounter) close() {
	if c.asking != nil {
		_ = c.asking.Close() // nothing is buffered in it
	}
	c.asking = nil
}
