package vpn

import (
	"errors"
	"strings"
	"testing"

	"culvert/internal/resource"
)

func TestProbeAddress(t *testing.T) {
	v4 := selectors{peer: prefixes([]string{"10.2.0.0/24", "10.3.0.0/16"})}
	v6 := selectors{peer: prefixes([]string{"2001:db8:2::/64"})}
	for _, c := range []struct {
		probe string // "": null
		sel   selectors
		want  string
	}{
		{"", v4, ""},
		{"10.2.0.1", v4, ""},
		{"10.3.255.254", v4, ""},
		{"2001:db8:2::1", v6, ""},
		{"2001:DB8:2:0:0::1", v6, ""},
		{"10.4.0.1", v4, "'10.4.0.1' of connection c1 is not in the peer's networks; allowed are null and the addresses in 10.2.0.0/24, 10.3.0.0/16"},
		{"2001:db8:2::1", v4, "is not in the peer's networks"},
		{"10.2.0.1", v6, "allowed are null and the addresses in 2001:db8:2::/64"},
		{"::ffff:10.2.0.1", v4, "is not in the peer's networks"},
	} {
		conn := &Connection{Head: resource.Head{ID: "c1"}}
		if c.probe != "" {
			conn.ProbeAddress = &c.probe
		}
		err := checkProbe(conn, c.sel)
		var refused *resource.Error
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s in %s: %v", c.probe, join(c.sel.peer), err)
		case c.want != "" && (!errors.As(err, &refused) || refused.Code != 400 || refused.Type != "InvalidProbeAddress" || !strings.Contains(refused.Message, c.want)):
			t.Errorf("%s in %s: got %v, want … %s", c.probe, join(c.sel.peer), err, c.want)
		}
	}
}
