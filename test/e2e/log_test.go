package e2e

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// TestLog reads the server's log as an operator does, at the level info: every write, every status that changed, no polls and
// no keys.
func TestLog(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t, "--log-level", "info")
	o := sitetest.NewOffice(0)
	c := s.NewTunnel(o, nil)
	c.AwaitActive()
	c.Put(client.Object{"admin_state_up": false})
	c.AwaitDown("admin_down")
	if status, _, err := s.API.Do(t.Context(), "GET", "/v2.0/vpn/ikepolicies/nowhere", nil); err != nil || status != 404 {
		t.Errorf("GET of nothing: %d, %v", status, err)
	}
	project := sitetest.Listed(s.Call("GET", c.Path(), nil)["ipsec_site_connection"].(client.Object)["project_id"])
	s.End(unix.SIGTERM)
	log := s.Output.String()
	for _, said := range []string{
		"level=INFO msg=status kind=vpnservice vpnservice_id=" + s.Service + " project_id=" + project + " old=PENDING_CREATE new=ACTIVE reason=\"\"\n",
		"level=INFO msg=status kind=connection connection_id=" + c.ID + " project_id=" + project + " old=PENDING_CREATE new=",
		" new=ACTIVE reason=\"\"\n",
		" old=PENDING_UPDATE new=DOWN reason=admin_down\n",
		" method=POST path=/v2.0/vpn/ipsec-site-connections status=201 ",
		" method=PUT path=" + c.Path() + " status=200 ",
		" method=GET path=/v2.0/vpn/ikepolicies/nowhere status=404 ",
	} {
		if !strings.Contains(log, said) {
			t.Errorf("the log does not say %q:\n%s", said, sitetest.Tail(log, 60))
		}
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, " method=GET ") && strings.Contains(line, " status=200 ") || strings.Contains(line, o.PSK) {
			t.Errorf("in the log: %s", line)
		}
	}
}
