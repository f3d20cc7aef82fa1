//go:build openstack

package openstack

import (
	"regexp"
	"testing"
	"time"
)

var haLink = regexp.MustCompile(`ha-[0-9a-f-]+`)

// A highly available router: keepalived puts its addresses into the namespace on the host where it is active, and takes them
// away where it is not any more, as when the network between the hosts is lost. That is said, and mended with them.
func TestHighlyAvailableRouter(t *testing.T) {
	l := newLine(t, "qrouter-", object{"ha": true})
	link := haLink.FindString(shell(t, "ip -n %s -br link", l.namespace))
	shell(t, "ip -n %s link set %s down", l.namespace, link)
	l.until(t, "not active here: the connection is DOWN", 60*time.Second, func() bool {
		c := want(t, l.member, "GET", l.connection, nil, 200)["ipsec_site_connection"].(object)
		return c["status"] == "DOWN" && reasonOf(c) == "local_address_missing"
	})
	shell(t, "ip -n %s link set %s up", l.namespace, link)
	l.until(t, "active again: the connection is ACTIVE", 90*time.Second, func() bool { return l.status(t) == "ACTIVE" })
	l.pings(t)
	l.leaves(t)
}

// A distributed router: its external gateway, and so the VPN, is in a namespace of its own on one host.
func TestDistributedRouter(t *testing.T) {
	l := newLine(t, "snat-", object{"distributed": true})
	l.leaves(t)
}
