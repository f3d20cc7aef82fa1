package gateway

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestFlushSparesOthers: what a killed charon left goes; in a network that is not our own, other people's IPsec stays.
func TestFlushSparesOthers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, c := range map[string]struct {
		outer []netip.Addr
		left  int
	}{"gwt-flush-own": {nil, 0}, "gwt-flush-host": {addrs("192.0.2.1"), 1}, "gwt-flush-none": {[]netip.Addr{}, 2}} {
		ns, err := createNamespace(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ns.Close()
			if err := deleteNamespace(name); err != nil {
				t.Error(err)
			}
		})
		for i, local := range []string{"192.0.2.1", "203.0.113.1"} {
			p := netlink.XfrmPolicy{Dir: netlink.XFRM_DIR_OUT, Src: ipNet(prefixes("10.1.0.0/24")[0]), Dst: ipNet(prefixes("10.2.0.0/24", "10.3.0.0/24")[i]),
				Tmpls: []netlink.XfrmPolicyTmpl{{Src: net.ParseIP(local), Dst: net.ParseIP("198.51.100.1"), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL}}}
			if err := ns.nl.XfrmPolicyAdd(&p); err != nil {
				t.Fatal(err)
			}
		}
		if err := (spd{ns}).flush(Kernel, c.outer); err != nil {
			t.Fatal(err)
		}
		left, err := spd{ns}.policies()
		if err != nil || len(left) != c.left {
			t.Errorf("%s: %d policies are left, %v; want %d", name, len(left), err, c.left)
		}
	}
}
