package fault

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"culvert/internal/client"
)

// Mend is a change through the API that ends a fault.
type Mend struct {
	Of    string // the resource: connection, ikepolicy, ipsecpolicy, vpnservice or endpoint_group (of the peer's networks)
	Name  string // of the attribute
	Value any    // or a function of the Laid where it depends on its addresses, or FromHint
}

// FromHint says that the value is the number at the end of the hint.
const FromHint = hintValue("the number at the end of the hint")

type hintValue string

// mended is the fault with its cure.
func (f Fault) mended(of, name string, value any) Fault {
	f.Cure = &Mend{of, name, value}
	return f
}

// Mend makes the change that ends the fault.
func (a Answer) Mend(ctx context.Context) error {
	l := a.Laid
	path, key := l.Path(), "ipsec_site_connection"
	if l.Cure.Of != "connection" {
		o, err := l.site.API.Call(ctx, "GET", l.Path(), nil)
		if err != nil {
			return err
		}
		c, _ := o[key].(client.Object)
		ref := map[string]struct{ attribute, collection string }{
			"ikepolicy": {"ikepolicy_id", "ikepolicies"}, "ipsecpolicy": {"ipsecpolicy_id", "ipsecpolicies"},
			"vpnservice": {"vpnservice_id", "vpnservices"}, "endpoint_group": {"peer_ep_group_id", "endpoint-groups"},
		}[l.Cure.Of]
		key = l.Cure.Of
		path = fmt.Sprintf("/v2.0/vpn/%s/%v", ref.collection, c[ref.attribute])
	}
	value := l.Cure.Value
	switch v := value.(type) {
	case func(*Laid) any:
		value = v(l)
	case hintValue:
		hint, _ := a.Reason["hint"].(string)
		n, err := strconv.Atoi(hint[strings.LastIndex(hint, " ")+1:])
		if err != nil {
			return fmt.Errorf("the hint %q ends with no number", hint)
		}
		value = n
	}
	_, err := l.site.API.Call(ctx, "PUT", path, client.Object{key: client.Object{l.Cure.Name: value}})
	return err
}
