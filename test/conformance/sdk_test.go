package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const cloudsYAML = `clouds:
  devstack: &member
    region_name: RegionOne
    auth: {auth_url: "%[1]s/identity/v3", username: "%[2]s", password: "%[3]s", project_name: "%[4]s", user_domain_name: Default, project_domain_name: Default}
  devstack-alt: *member
  devstack-admin:
    region_name: RegionOne
    auth: {auth_url: "%[1]s/identity/v3", username: "%[5]s", password: "%[6]s", project_name: "%[7]s", user_domain_name: Default, project_domain_name: Default}
`

// sdkTests is how many tests these modules of openstacksdk's functional suite have in Debian 12: 4 of VPN as a service, and 26
// of what a client of it needs besides.
const sdkTests = 30

// Openstacksdk's own functional tests, as a member and, where they ask for the operator, as admin.
func TestOpenStackSDK(t *testing.T) {
	t.Parallel()
	pristine(t, "python3-openstacksdk")
	s := newServer(t)
	a := s.user("demo", "member", "demo", s.project("demo"))
	dir := t.TempDir()
	clouds := filepath.Join(dir, "clouds.yaml")
	text := fmt.Sprintf(cloudsYAML, s.url, a.user, a.password, a.project, s.admin.user, s.admin.password, s.admin.project)
	if err := os.WriteFile(clouds, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range []string{"vpnaas", "network", "subnet", "router", "router_add_remove_interface", "port", "quota", "extension"} {
		modules = append(modules, "openstack.tests.functional.network.v2.test_"+m)
	}
	unittest(t, debian(dir, "OS_CLIENT_CONFIG_FILE="+clouds), sdkTests, modules...)
}
