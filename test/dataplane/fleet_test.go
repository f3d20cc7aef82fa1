package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/sitetest"
)

// fleet is many connections of one router. At their other ends is one machine with as many addresses, so that each is a
// peer of its own to us.
type fleet struct {
	*sitetest.Site
	branch  *lab.Branch
	members []*member
	pings   *manyPings
}

// member is one connection, and what both sides have agreed on.
type member struct {
	n        int
	id       string
	psk      string
	second   bool // the second network is among the endpoints
	group    string
	ike, esp *policy
	dpd      int // interval
}

// policy is an IKE or IPsec policy.
type policy struct {
	id, path, key string
	proposal      string // in the branch's words
	lifetime      int
	members       []*member
}

func (m *member) office() sitetest.Office { return sitetest.NewOffice(m.n) }
func (m *member) path() string            { return "/v2.0/vpn/ipsec-site-connections/" + m.id }

// algorithms are those that the tests choose from: the branch's words, and ours. The group is cheap, since they are many.
var algorithms = map[string]client.Object{
	"aes256-sha256-ecp256": {"encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group19"},
	"aes128-sha256-ecp256": {"encryption_algorithm": "aes-128", "auth_algorithm": "sha256", "pfs": "group19"},
	"aes256-sha512-ecp256": {"encryption_algorithm": "aes-256", "auth_algorithm": "sha512", "pfs": "group19"},
	"aes256-sha384-ecp384": {"encryption_algorithm": "aes-256", "auth_algorithm": "sha384", "pfs": "group20"},
}

const firstAlgorithms = "aes256-sha256-ecp256"

// newFleet makes n connections, the first of which share their policies, and waits until all are ACTIVE and answer.
func newFleet(s *sitetest.Site, n, sharing int) *fleet {
	s.T.Helper()
	f := &fleet{Site: s}
	sharedIKE, sharedESP := f.policy("ike", firstAlgorithms, "shared"), f.policy("ipsec", firstAlgorithms, "shared")
	group := f.Create("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "subnet", "endpoints": []string{f.Subnet}})
	f.Call("PUT", "/v2.0/quotas/"+group["project_id"].(string), client.Object{"quota": client.Object{"ipsecpolicy": -1, "ikepolicy": -1}})
	for i := range n {
		m := &member{n: i, psk: sitetest.PSK, dpd: 10, ike: sharedIKE, esp: sharedESP}
		if i >= sharing {
			m.ike, m.esp = f.policy("ike", firstAlgorithms, fmt.Sprint(i)), f.policy("ipsec", firstAlgorithms, fmt.Sprint(i))
		}
		m.ike.members, m.esp.members = append(m.ike.members, m), append(m.esp.members, m)
		f.members = append(f.members, m)
	}
	f.startBranch()
	for _, m := range f.members {
		o := m.office()
		m.group = f.Make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "cidr", "endpoints": []string{o.Networks}})
		m.id = f.Make("vpn/ipsec-site-connections", "ipsec_site_connection", client.Object{"name": fmt.Sprint("member ", m.n), "vpnservice_id": f.Service,
			"peer_address": o.Address(), "peer_id": o.Address(), "psk": m.psk, "ikepolicy_id": m.ike.id, "ipsecpolicy_id": m.esp.id,
			"local_ep_group_id": group["id"], "peer_ep_group_id": m.group, "dpd": client.Object{"action": "restart", "interval": m.dpd, "timeout": 60}})
	}
	f.awaitActive(30*time.Second, f.members)
	var remotes []netip.Addr
	for _, m := range f.members {
		remotes = append(remotes, sitetest.Addr(sitetest.FirstOf(sitetest.Network(m.n))))
	}
	f.pings = pingMany(f.T, f.HQ.Namespace(), sitetest.Addr(sitetest.HQHost), remotes, 50*time.Millisecond)
	start := time.Now()
	sitetest.Poll(f.T, 10*time.Second, "every branch answers", func() bool { return f.pings.answerSince(start) })
	return f
}

const firstLifetime = 7200

func (f *fleet) policy(kind, algorithm, name string) *policy {
	f.T.Helper()
	p := &policy{path: "/v2.0/vpn/" + kind + "policies/", key: kind + "policy", proposal: algorithm, lifetime: firstLifetime}
	p.id = f.Make("vpn/"+kind+"policies", p.key, sitetest.With(algorithms[algorithm], client.Object{"name": name,
		"lifetime": client.Object{"units": "seconds", "value": p.lifetime}}))
	return p
}

func (f *fleet) startBranch() {
	f.T.Helper()
	cfg := lab.Config{Name: "f" + sitetest.Tag(f.T), Bridge: sitetest.BridgeOf(f.WAN), RunDir: "/run/e2e/" + sitetest.Tag(f.T), Swanctl: f.conf(), Crowd: true}
	for _, m := range f.members {
		cfg.Address = append(cfg.Address, netip.PrefixFrom(sitetest.Addr(m.office().Address()), 24))
		cfg.LAN = append(cfg.LAN, sitetest.Addr(sitetest.FirstOf(sitetest.Network(m.n))), sitetest.Addr(sitetest.FirstOf(sitetest.SecondNetwork(m.n))))
	}
	b, err := lab.StartBranch(f.T.Context(), cfg)
	if err != nil {
		f.T.Fatal(err)
	}
	f.branch = b
	f.T.Cleanup(func() { closeIt(f.T, b) })
}

// conf is the other side of all members.
func (f *fleet) conf() string {
	var connections, secrets strings.Builder
	for _, m := range f.members {
		o := m.office()
		if m.second {
			o.Networks += "," + sitetest.SecondNetwork(m.n)
		}
		fmt.Fprintf(&connections, `  m%[1]d {
    version = 2
    local_addrs = %[2]s
    remote_addrs = %[3]s
    proposals = %[4]s
    local {
      auth = psk
      id = %[2]s
    }
    remote {
      auth = psk
      id = %[3]s
    }
    children {
      nets%[1]d {
        local_ts = %[5]s
        remote_ts = %[6]s
        esp_proposals = %[7]s
      }
    }
  }
`, m.n, o.Address(), f.External, m.ike.proposal, o.Networks, sitetest.HQNet, m.esp.proposal)
		fmt.Fprintf(&secrets, "  ike-m%d {\n    id-1 = %s\n    id-2 = %s\n    secret = %s\n  }\n", m.n, o.Address(), f.External, lab.Secret(m.psk))
	}
	return "connections {\n" + connections.String() + "}\nsecrets {\n" + secrets.String() + "}\n"
}

// load gives the other side what the members have agreed on.
func (f *fleet) load() {
	f.T.Helper()
	if err := f.branch.Load(f.T.Context(), f.conf()); err != nil {
		f.T.Fatal(err)
	}
}

// statuses are those of all connections, with the codes of their reasons, by id.
func (f *fleet) statuses() map[string]string {
	f.T.Helper()
	out := map[string]string{}
	for _, x := range f.Call("GET", "/v2.0/vpn/ipsec-site-connections?limit=1000", nil)["ipsec_site_connections"].([]any) {
		c := x.(client.Object)
		text := c["status"].(string)
		if why, ok := c["status_reason"].(client.Object); ok {
			text += fmt.Sprintf(" %v: %v", why["code"], why["summary"])
		}
		out[c["id"].(string)] = text
	}
	return out
}

// awaitActive waits until all of these are ACTIVE and nothing is said against them.
func (f *fleet) awaitActive(within time.Duration, members []*member) {
	f.T.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		have, bad := f.statuses(), ""
		for _, m := range members {
			if have[m.id] != "ACTIVE" {
				bad += fmt.Sprintf("member %d %s is %s\n", m.n, m.id, have[m.id])
				if time.Now().After(deadline) {
					bad += f.said(m)
				}
			}
		}
		if bad == "" {
			return
		}
		if time.Now().After(deadline) {
			f.T.Fatalf("not ACTIVE within %s:\n%s", within, bad)
		}
	}
}

// said are the last lines of the router's charon about a member.
func (f *fleet) said(m *member) string {
	var lines []string
	for line := range strings.Lines(f.CharonLog()) {
		if strings.Contains(line, m.id) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-60):], "") + f.agreedPSK(m) + f.branchSaid(m)
}

// branchSaid are the last lines of the branch's charon about a member.
func (f *fleet) branchSaid(m *member) string {
	log, err := f.branch.Log()
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, m.office().Address()) || strings.Contains(line, fmt.Sprintf("<m%d|", m.n)) || strings.Contains(line, "ignoring") {
			lines = append(lines, "branch: "+line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// agreedPSK says whether the API has the key of the other side.
func (f *fleet) agreedPSK(m *member) string {
	o := f.Call("GET", m.path(), nil)["ipsec_site_connection"].(client.Object)
	return fmt.Sprintf("both sides have one key: %t\n", o["psk"] == m.psk)
}

// spis are those of the CHILD_SAs in use that the router's charon has, by connection.
func (f *fleet) spis() map[string][]string {
	f.T.Helper()
	out := map[string][]string{}
	each(childSAs(f.Site), func(c childSA) { out[c.connection] = append(out[c.connection], c.spis) })
	return out
}

// settled are the members whose CHILD_SA nobody is about to rekey: see stable.
func (f *fleet) settled(members []*member) []*member {
	f.T.Helper()
	is := stable(f.Site)
	return slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return !is[m.id] })
}

// others are the members but these.
func (f *fleet) others(but []*member) []*member {
	return slices.DeleteFunc(slices.Clone(f.members), func(m *member) bool { return slices.Contains(but, m) })
}

// standing is how the members stood before something was done.
type standing struct {
	settled []*member
	spis    map[string][]string
	sent    []int
}

func (f *fleet) stand() standing {
	f.T.Helper()
	settled := f.settled(f.members)
	if len(settled) < len(f.members)/2 {
		sitetest.Poll(f.T, 15*time.Second, "half of the members are settled", func() bool { settled = f.settled(f.members); return len(settled) >= len(f.members)/2 })
	}
	return standing{settled, f.spis(), f.pings.settled()}
}

// kept fails where the SAs of a member that was settled are others than before, or pings of any were lost since.
func (f *fleet) kept(what string, members []*member, before standing) {
	f.T.Helper()
	now, sent := f.spis(), f.pings.settled()
	for _, m := range members {
		if slices.Contains(before.settled, m) && !slices.Equal(now[m.id], before.spis[m.id]) {
			f.T.Errorf("%s: member %d has the SPIs %v, before %v", what, m.n, now[m.id], before.spis[m.id])
		}
		if lost := f.pings.lost(m.n, before.sent[m.n], sent[m.n]); lost > 0 {
			f.T.Errorf("%s: member %d lost %d of %d pings", what, m.n, lost, sent[m.n]-before.sent[m.n])
		}
	}
}
