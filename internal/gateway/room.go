package gateway

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"culvert/internal/udpbuf"
)

// tunQueue is how many packets wait for charon on their way into tunnels. Linux's default of 500 is half a second at
// 1,000 packets a second, and a charon that gets no CPU time for longer would lose the rest.
const tunQueue = 10000

// giveRoom lets packets wait where charon does ESP itself, and packets of IKE in any case. Without it tunnels work.
func (r *router) giveRoom(ns *namespace) {
	_, err := udpbuf.Enlarge(r.charon.pid)
	if r.plane == Userland {
		err = errors.Join(err, ns.lengthenQueue())
	}
	if err != nil {
		r.g.log.Warn("packets are lost sooner when charon gets no CPU time", "router", r.id, "why", err)
	}
}

func (n *namespace) lengthenQueue() error {
	link, err := n.nl.LinkByName(tunDevice)
	if err == nil && link.Attrs().TxQLen != tunQueue {
		err = n.nl.LinkSetTxQLen(link, tunQueue)
	}
	var gone netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &gone) { // gone: charon has just ended
		return fmt.Errorf("queue of %s: %w", tunDevice, err)
	}
	return nil
}
