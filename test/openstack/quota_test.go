//go:build openstack

package openstack

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Limits of both are read and set at one place, and count at theirs.
func TestQuotasOfBoth(t *testing.T) {
	s := newSite(t, "none")
	uri, direct := "/v2.0/quotas/"+s.project, at(s.admin, s.neutron)
	limits := func() map[string]any { return want(t, s.member, "GET", uri, nil, 200)["quota"].(object) }
	pick := func(from object, names ...string) object {
		out := object{}
		for _, n := range names {
			out[n] = from[n]
		}
		return out
	}
	shipped := want(t, direct, "GET", uri, nil, 200)["quota"].(object)
	if got := limits(); got["network"] != shipped["network"] || got["vpnservice"] != 10.0 || got["rbac_policy"] != shipped["rbac_policy"] {
		t.Errorf("limits %v; Neutron's %v", got, shipped)
	}
	refused(t, s.member, "PUT", uri, object{"quota": object{"vpnservice": 1}}, 403, "PolicyNotAuthorized")
	refused(t, s.admin, "PUT", uri, object{"quota": object{"vpnservice": 1, "network": 1, "unheard": 1}}, 400, "HTTPBadRequest")
	want(t, s.admin, "PUT", uri, object{"quota": object{"vpnservice": 1, "network": 1, "force": true}}, 200)
	if d := cmp.Diff(object{"vpnservice": 1.0, "network": 1.0, "ikepolicy": 50.0, "subnet": shipped["subnet"]}, pick(limits(), "vpnservice", "network", "ikepolicy", "subnet")); d != "" {
		t.Error(d)
	}
	refused(t, s.member, "POST", "/v2.0/networks", object{"network": object{}}, 409, "OverQuota")
	made(t, s.member, "/v2.0/vpn/vpnservices", "vpnservice", object{"router_id": s.routerID})
	refused(t, s.member, "POST", "/v2.0/vpn/vpnservices", object{"vpnservice": object{"router_id": s.routerID}}, 409, "OverQuota")
	details := want(t, s.member, "GET", uri+"/details", nil, 200)["quota"].(object)
	for _, name := range []string{"network", "vpnservice"} {
		if d := cmp.Diff(object{"limit": 1.0, "used": 1.0, "reserved": 0.0}, details[name]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	found := false
	for _, one := range list(t, s.admin, "/v2.0/quotas", "quotas") {
		found = found || one["project_id"] == s.project && one["network"] == 1.0 && one["vpnservice"] == 1.0
	}
	if !found {
		t.Error("the list of quotas has not the project")
	}
	want(t, s.admin, "DELETE", uri, nil, 204)
	if got := limits(); got["network"] != shipped["network"] || got["vpnservice"] != 10.0 {
		t.Errorf("limits after they were taken away: %v", got)
	}
	refused(t, s.admin, "DELETE", uri, nil, 404, "TenantQuotaNotFound")
}
