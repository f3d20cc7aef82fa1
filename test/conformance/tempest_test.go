package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const tempestConf = `[DEFAULT]
log_dir = %[1]s
log_file = tempest.log
[oslo_concurrency]
lock_path = %[1]s
[auth]
use_dynamic_credentials = true
admin_username = %[2]s
admin_password = %[3]s
admin_project_name = %[4]s
admin_domain_name = Default
create_isolated_networks = false
tempest_roles = member
[identity]
auth_version = v3
uri_v3 = %[5]s/identity/v3
region = RegionOne
[network]
public_network_id = %[6]s
[network-feature-enabled]
api_extensions = vpnaas,vpn-endpoint-groups,router,external-net,quotas,project-id
[service_available]
neutron = true
nova = false
cinder = false
glance = false
swift = false
`

// tempestTests is how many tests neutron_tempest_plugin.vpnaas.api has in Debian 12.
const tempestTests = 34

// Upstream's own conformance suite for VPN as a service. With a configuration that it does not find it skips every test.
func TestTempest(t *testing.T) {
	t.Parallel()
	pristine(t, "python3-tempest", "neutron-tempest-plugin")
	s := newServer(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "tempest.conf")
	text := fmt.Sprintf(tempestConf, dir, s.admin.user, s.admin.password, s.admin.project, s.url, s.external)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	unittest(t, debian(dir, "TEMPEST_CONFIG_DIR="+dir, "TEMPEST_CONFIG="+conf), tempestTests, "neutron_tempest_plugin.vpnaas.api.test_vpnaas")
	if t.Failed() {
		said, err := os.ReadFile(filepath.Join(dir, "tempest.log"))
		t.Logf("tempest's log (%v):\n%s", err, tail(string(said), 40))
	}
}
