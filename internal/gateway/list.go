package gateway

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// listTries is far above what a busy machine needs: a list takes well under a millisecond.
const listTries = 50

// whole calls a netlink list until it is of one moment: the kernel marks a list during which something changed.
func whole[T any](list func() ([]T, error)) (out []T, err error) {
	for range listTries {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}
