package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

func TestDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	stays := s.NewTunnel(sitetest.NewOffice(1), nil)
	c.AwaitActive()
	stays.AwaitActive()
	if !strings.Contains(s.Ruleset(), sitetest.Network(0)) || !strings.Contains(s.CharonConns(), c.ID) {
		t.Fatalf("the guard and charon do not know the connection:\n%s\n%s", s.Ruleset(), s.CharonConns())
	}

	s.Remove(c.Path())
	if text := sitetest.Listed(s.Call("GET", "/v2.0/vpn/ipsec-site-connections", nil)["ipsec_site_connections"]); strings.Contains(text, c.ID) {
		t.Errorf("a deleted connection is in the list: %s", text)
	}
	c.AwaitNoSAs(5 * time.Second)
	sitetest.Poll(t, 5*time.Second, "charon forgets the connection", func() bool {
		return !strings.Contains(s.Ruleset(), "dst "+sitetest.NewOffice(0).Address()) && !strings.Contains(s.CharonConns(), c.ID)
	})
	if !strings.Contains(s.Ruleset(), sitetest.Network(0)) { // for half a minute: it may be about to be created again
		t.Errorf("the guard has forgotten the connection with charon:\n%s", s.Ruleset())
	}
	stays.Ping()
	for _, path := range []string{"ikepolicies/" + c.IKEPolicy, "ipsecpolicies/" + c.IPsecPolicy, "endpoint-groups/" + c.PeerGroup} {
		s.Remove("/v2.0/vpn/" + path)
	}

	if status, body, err := s.API.Do(t.Context(), "DELETE", "/v2.0/vpn/vpnservices/"+s.Service, nil); err != nil || status != 409 {
		t.Errorf("DELETE of a service in use: %d %s, %v; want 409", status, body, err)
	}
	s.Remove(stays.Path())
	stays.AwaitNoSAs(5 * time.Second)
	if err := errors.Join(c.Branch.Close(), stays.Branch.Close(), s.HQ.Close()); err != nil { // the gateway's ports are the bridges' last
		t.Fatal(err)
	}
	dir, pid := s.RouterFile(""), s.CharonPID()
	s.Remove("/v2.0/vpn/vpnservices/" + s.Service)
	for _, path := range []string{"/run/netns/" + s.Namespace(), dir, "/proc/" + pid + "/exe", "/sys/class/net/" + sitetest.BridgeOf(s.WAN), "/sys/class/net/" + sitetest.BridgeOf(s.LAN)} {
		sitetest.Poll(t, 5*time.Second, path+" is gone", func() bool { _, err := os.Stat(path); return err != nil })
	}
	for _, p := range s.Call("GET", "/v2.0/ports?device_id="+s.Router, nil)["ports"].([]any) {
		host := "/sys/class/net/ch-" + p.(client.Object)["id"].(string)[:11]
		if _, err := os.Stat(host); err == nil {
			t.Errorf("%s is left", host)
		}
	}
}
