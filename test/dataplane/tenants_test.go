package dataplane

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/sitetest"
)

// tenant is a project with a site of its own on a shared server.
type tenant struct {
	*sitetest.Site
	branch *lab.Branch
	path   string // of the connection
}

// TestTenantsOverlap gives two projects the very same networks on both sides: each packet arrives where its project's
// other side is, and nowhere else.
func TestTenantsOverlap(t *testing.T) {
	t.Parallel()
	admin := &sitetest.Site{Server: sitetest.NewServer(t)}
	admin.LayNetworks(nil, nil) // the outer network is everybody's
	var both []*tenant
	for i, name := range []string{"red", "blue"} {
		both = append(both, newTenant(admin, i, name))
	}
	inboxes := map[string]*inbox{}
	for i, x := range both {
		x.Await(x.path, "ipsec_site_connection", 20*time.Second, "ACTIVE")
		there, here := sitetest.Addr(sitetest.FirstOf(sitetest.Network(0))), sitetest.Addr(sitetest.HQHost)
		inboxes[fmt.Sprint("branch ", i)] = receive(t, x.branch.Namespace(), there)
		inboxes[fmt.Sprint("head ", i)] = receive(t, x.HQ.Namespace(), here)
	}
	const each = 200
	for n := range each {
		for i, x := range both {
			there, here := sitetest.Addr(sitetest.FirstOf(sitetest.Network(0))), sitetest.Addr(sitetest.HQHost)
			send(t, x.HQ.Namespace(), there, fmt.Sprintf("to branch %d, %d", i, n))
			send(t, x.branch.Namespace(), here, fmt.Sprintf("to head %d, %d", i, n))
		}
	}
	table := newTable("from", "to", "sent", "received", "of the other tenant")
	for i := range both {
		for _, side := range []string{"branch", "head"} {
			own := fmt.Sprintf("to %s %d,", side, i)
			box := inboxes[fmt.Sprintf("%s %d", side, i)]
			sitetest.Poll(t, 5*time.Second, "all that was sent "+own, func() bool { got, _ := box.count(own); return got >= each })
			got, strange := box.count(own)
			if got != each || len(strange) > 0 {
				t.Errorf("%s %d: %d of %d of its own, and of others %q", side, i, got, each, strange)
			}
			table.row(map[string]string{"branch": "head office", "head": "branch"}[side], fmt.Sprintf("%s of tenant %d", side, i), each, got, len(strange))
		}
	}
	t.Logf("two tenants with the same networks on both sides:\n%s", table)
}

// newTenant makes a project, its member, its site behind a router of its own, and the branch at the other end.
func newTenant(admin *sitetest.Site, i int, name string) *tenant {
	admin.T.Helper()
	t := admin.T
	password := "dataplane of " + name
	project := admin.Call("POST", "/identity/v3/projects", client.Object{"project": client.Object{"name": name, "domain_id": "default"}})["project"].(client.Object)["id"].(string)
	user := admin.Call("POST", "/identity/v3/users", client.Object{"user": client.Object{"name": name, "domain_id": "default", "password": password}})["user"].(client.Object)["id"].(string)
	role := admin.Call("GET", "/identity/v3/roles?name=member", nil)["roles"].([]any)[0].(client.Object)["id"].(string)
	admin.Call("PUT", "/identity/v3/projects/"+project+"/users/"+user+"/roles/"+role, nil)
	api, err := client.Login(t.Context(), "http://"+admin.Address, name, password, name)
	if err != nil {
		t.Fatal(err)
	}
	server := *admin.Server
	server.API = api
	x := &tenant{Site: &sitetest.Site{Server: &server, WAN: admin.WAN}}
	x.LAN = x.Make("networks", "network", client.Object{"name": "lan"})
	x.Subnet = x.Make("subnets", "subnet", client.Object{"name": "lan", "network_id": x.LAN, "cidr": sitetest.HQNet, "ip_version": 4})
	x.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": x.WAN}})
	x.LayService()
	x.AwaitService("ACTIVE", "")
	x.startHosts(i)
	c := &sitetest.Tunnel{Site: x.Site}
	o := sitetest.NewOffice(i)
	c.Connect(o, nil)
	x.Call("PUT", "/v2.0/vpn/endpoint-groups/"+c.PeerGroup, client.Object{"endpoint_group": client.Object{"endpoints": []string{sitetest.Network(0)}}})
	x.path = c.Path()
	return x
}

// startHosts starts the tenant's machine and its branch, whose network is that of branch 0 whatever its number is.
func (x *tenant) startHosts(i int) {
	t := x.T
	o := sitetest.NewOffice(i)
	o.Networks = sitetest.Network(0)
	hq, err := lab.StartHost(t.Context(), lab.HostConfig{Name: fmt.Sprintf("hq%d%s", i, sitetest.Tag(t)), Bridge: sitetest.BridgeOf(x.LAN),
		Address: []netip.Prefix{netip.MustParsePrefix(sitetest.HQHost + "/24")}, Gateway: []netip.Addr{sitetest.Addr("10.10.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	x.HQ = hq
	t.Cleanup(func() { closeIt(t, hq) })
	x.branch, err = lab.StartBranch(t.Context(), lab.Config{Name: fmt.Sprintf("b%d%s", i, sitetest.Tag(t)), Bridge: sitetest.BridgeOf(x.WAN),
		Address: []netip.Prefix{netip.PrefixFrom(sitetest.Addr(o.Address()), 24)}, LAN: []netip.Addr{sitetest.Addr(sitetest.FirstOf(sitetest.Network(0)))},
		RunDir: "/run/e2e/" + sitetest.Tag(t), Swanctl: o.Conf(x.External)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, x.branch) })
}

func closeIt(t *testing.T, c interface{ Close() error }) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// inbox holds the datagrams that came to an address inside a namespace.
type inbox struct {
	mu  sync.Mutex
	got []string
}

const markerPort = 7008

func receive(t *testing.T, namespace string, at netip.Addr) *inbox {
	t.Helper()
	var conn net.PacketConn
	err := inNamespace(namespace, func() (err error) {
		conn, err = net.ListenPacket("udp", netip.AddrPortFrom(at, markerPort).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	box, ended := &inbox{}, make(chan struct{})
	go func() {
		defer close(ended)
		for buffer := make([]byte, 512); ; {
			n, _, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			box.mu.Lock()
			box.got = append(box.got, string(buffer[:n]))
			box.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	return box
}

// count answers how many datagrams begin so, and those that do not.
func (b *inbox) count(own string) (n int, others []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.got {
		if strings.HasPrefix(text, own) {
			n++
		} else {
			others = append(others, text)
		}
	}
	return n, others
}

func send(t *testing.T, namespace string, to netip.Addr, text string) {
	t.Helper()
	err := inNamespace(namespace, func() error {
		c, err := (&net.Dialer{}).DialContext(context.Background(), "udp", netip.AddrPortFrom(to, markerPort).String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
