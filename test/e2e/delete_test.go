package e2e

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
)

func TestDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	stays := s.newTunnel(newOffice(1), nil)
	c.awaitActive()
	stays.awaitActive()
	if !strings.Contains(s.ruleset(), network(0)) || !strings.Contains(s.charonConns(), c.id) {
		t.Fatalf("the guard and charon do not know the connection:\n%s\n%s", s.ruleset(), s.charonConns())
	}

	s.remove(c.path())
	if text := listed(s.call("GET", "/v2.0/vpn/ipsec-site-connections", nil)["ipsec_site_connections"]); strings.Contains(text, c.id) {
		t.Errorf("a deleted connection is in the list: %s", text)
	}
	c.awaitNoSAs(5 * time.Second)
	poll(t, 5*time.Second, "the guard and charon forget the connection", func() bool {
		return !strings.Contains(s.ruleset(), network(0)) && !strings.Contains(s.charonConns(), c.id)
	})
	stays.ping()
	for _, path := range []string{"ikepolicies/" + c.ike, "ipsecpolicies/" + c.ipsec, "endpoint-groups/" + c.peer} {
		s.remove("/v2.0/vpn/" + path)
	}

	if status, body, err := s.api.Do(t.Context(), "DELETE", "/v2.0/vpn/vpnservices/"+s.service, nil); err != nil || status != 409 {
		t.Errorf("DELETE of a service in use: %d %s, %v; want 409", status, body, err)
	}
	s.remove(stays.path())
	stays.awaitNoSAs(5 * time.Second)
	if err := errors.Join(c.branch.Close(), stays.branch.Close(), s.hq.Close()); err != nil { // the gateway's ports are the bridges' last
		t.Fatal(err)
	}
	dir, pid := s.routerFile(""), s.charonPID()
	s.remove("/v2.0/vpn/vpnservices/" + s.service)
	for _, path := range []string{"/run/netns/" + s.namespace(), dir, "/proc/" + pid + "/exe", "/sys/class/net/" + bridgeOf(s.wan), "/sys/class/net/" + bridgeOf(s.lan)} {
		poll(t, 5*time.Second, path+" is gone", func() bool { _, err := os.Stat(path); return err != nil })
	}
	for _, p := range s.call("GET", "/v2.0/ports?device_id="+s.router, nil)["ports"].([]any) {
		host := "/sys/class/net/ch-" + p.(client.Object)["id"].(string)[:11]
		if _, err := os.Stat(host); err == nil {
			t.Errorf("%s is left", host)
		}
	}
}

// remove deletes a resource, which is gone at once.
func (s *site) remove(path string) {
	s.t.Helper()
	status, body, err := s.api.Do(s.t.Context(), "DELETE", path, nil)
	if err != nil || status != 204 || len(body) > 0 {
		s.t.Fatalf("DELETE %s: %d %s, %v; want 204", path, status, body, err)
	}
	if status, body, err = s.api.Do(s.t.Context(), "GET", path, nil); err != nil || status != 404 {
		s.t.Errorf("GET of the deleted %s: %d %s, %v; want 404", path, status, body, err)
	}
}

// ruleset is what nft has in the router's namespace.
func (s *site) ruleset() string {
	s.t.Helper()
	return s.output1("ip", "netns", "exec", s.namespace(), "nft", "list", "ruleset")
}

// charonConns are the connections that the router's charon has.
func (s *site) charonConns() string {
	s.t.Helper()
	return s.output1("swanctl", "--list-conns", "--uri", "unix://"+s.routerFile("charon.vici"))
}

// charonPID is the process id of the router's charon.
func (s *site) charonPID() string {
	s.t.Helper()
	text, err := os.ReadFile(s.routerFile("pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// output1 is what a program that must succeed says.
func (s *site) output1(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// contains tells whether the branch's list of SAs has a text.
func contains(t *testing.T, b *lab.Branch, text string) bool {
	t.Helper()
	sas, err := b.ListSAs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(sas, text)
}
