//go:build openstack

package openstack

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// timeline is a connection's events so far, oldest first, as words: the type, then the attributes of the router that changed, as
// admin_state_up=false, then the code of the reason.
func (s *site) timeline(t *testing.T, connection string) (out []string) {
	t.Helper()
	for _, e := range list(t, s.member, connection+"/events?sort_dir=asc", "events") {
		words := []string{e["type"].(string)}
		if of, _ := e["resource"].(object); of["type"] == "router" {
			for _, c := range e["changes"].([]any) {
				words = append(words, change(c.(object)))
			}
		}
		if code := reasonOf(e); code != "" {
			words = append(words, code)
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// change shows only whether there is a gateway: its addresses are Neutron's choice.
func change(c object) string {
	switch v := c["new"].(type) {
	case nil:
		return c["attribute"].(string) + "=null"
	case bool:
		if !v {
			return c["attribute"].(string) + "=false"
		}
	}
	return c["attribute"].(string)
}

// tells waits until the timeline has all of these ("a|b": one of them), in this order, after its first so many events.
func (s *site) tells(t *testing.T, connection string, after int, want ...string) {
	t.Helper()
	var got []string
	defer func() { t.Logf("the timeline: %s", strings.Join(got, "; ")) }()
	eventually(t, "the timeline tells: "+strings.Join(want, "; "), 20*time.Second, func() bool {
		got = s.timeline(t, connection)
		rest := got[after:]
		for _, one := range want {
			i := slices.IndexFunc(rest, func(g string) bool { return slices.Contains(strings.Split(one, "|"), g) })
			if i < 0 {
				return false
			}
			rest = rest[i+1:]
		}
		return true
	})
}

// lacksGateway waits until the VPN service and the connection say that their router has no gateway.
func (s *site) lacksGateway(t *testing.T, service, connection string) {
	t.Helper()
	eventually(t, "service and connection lack the router's gateway", 30*time.Second, func() bool {
		v, c := s.service(t, service), want(t, s.member, "GET", connection, nil, 200)["ipsec_site_connection"].(object)
		return v["status"] == "DOWN" && c["status"] == "DOWN" && reasonOf(v) == "router_without_gateway" && reasonOf(c) == "router_without_gateway"
	})
}
