package dataplane

import (
	"fmt"
	"strings"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// pointEdit is an edit of a member that is cut at each of its writes in turn. All are told which time it is, so that each
// is another.
type pointEdit struct {
	kind      string
	agree     func(f *fleet, m *member, time int) // on the other side; nil: nothing
	call      func(f *fleet, m *member, time int)
	meanwhile func(f *fleet, m *member, time int) // while no gateway runs; nil: nothing
	undo      func(f *fleet, m *member, time int) // uncut, for the next time; nil: it need not be
	concerned func(m *member) []*member           // nil: the member
	prepare   func(f *fleet, m *member)           // before the first time; nil: nothing
}

var pointEdits = []pointEdit{
	{kind: "psk", agree: agreeKey, call: putKey},
	{kind: "psk, IKEv1", prepare: func(f *fleet, m *member) {
		f.puts(m.ike.put(client.Object{"ike_version": "v1"})())
		agreeOldKey(f, m, 0)
		putKey(f, m, 0)
	}, agree: agreeOldKey, call: putKey},
	{kind: "psk, and again while dead", agree: agreeKey, call: putKey, meanwhile: func(f *fleet, m *member, time int) {
		agreeKey(f, m, -time)
		putKey(f, m, -time)
	}},
	{kind: "cipher of a shared IPsec policy", agree: func(f *fleet, m *member, _ int) { m.esp.proposal = otherAlgorithms(m.esp); f.load() },
		call:      func(f *fleet, m *member, _ int) { f.puts(m.esp.put(algorithms[m.esp.proposal])()) },
		concerned: func(m *member) []*member { return m.esp.members }},
	{kind: "cipher of a shared IKE policy", agree: func(f *fleet, m *member, _ int) { m.ike.proposal = otherAlgorithms(m.ike); f.load() },
		call:      func(f *fleet, m *member, _ int) { f.puts(m.ike.put(algorithms[m.ike.proposal])()) },
		concerned: func(m *member) []*member { return m.ike.members }},
	{kind: "endpoints of a group", agree: func(f *fleet, m *member, _ int) { m.second = !m.second; f.load() }, call: func(f *fleet, m *member, _ int) {
		list := []string{sitetest.Network(m.n), sitetest.SecondNetwork(m.n)}
		if !m.second {
			list = list[:1]
		}
		f.puts([]request{{"/v2.0/vpn/endpoint-groups/" + m.group, "endpoint_group", client.Object{"endpoints": list}}})
	}},
	{kind: "peer_id", agree: func(f *fleet, m *member, time int) {
		was, is := " = "+m.office().Address()+"\n", " = "+otherID(m, time)+"\n"
		text := strings.ReplaceAll(f.conf(), "local {\n      auth = psk\n      id"+was, "local {\n      auth = psk\n      id"+is)
		if err := f.branch.Load(f.T.Context(), strings.ReplaceAll(text, "id-1"+was, "id-1"+is)); err != nil {
			f.T.Fatal(err)
		}
	}, call: func(f *fleet, m *member, time int) { f.puts(m.put(client.Object{"peer_id": otherID(m, time)})()) }},
	{kind: "dpd", call: func(f *fleet, m *member, time int) {
		f.puts(m.put(client.Object{"dpd": client.Object{"action": "restart", "interval": 11 + time%2, "timeout": 60}})())
	}},
	{kind: "DELETE", call: func(f *fleet, m *member, _ int) { f.unmake(m) }, undo: remake},
	{kind: "DELETE, and POST while dead", call: func(f *fleet, m *member, _ int) { f.unmake(m) }, meanwhile: remake},
	{kind: "POST, and DELETE while dead", prepare: (*fleet).unmake, call: remake, meanwhile: func(f *fleet, m *member, _ int) { f.unmake(m) }},
	{kind: "POST", prepare: (*fleet).unmake, call: remake, undo: func(f *fleet, m *member, _ int) { f.unmake(m) }},
}

func agreeKey(f *fleet, m *member, time int) { m.psk = fmt.Sprintf("points-%d", time); f.load() }
func putKey(f *fleet, m *member, _ int)      { f.puts(m.put(client.Object{"psk": m.psk})()) }
func otherID(m *member, time int) string     { return fmt.Sprintf("m%d-%d.example.net", m.n, time%2) }

// agreeOldKey is agreeKey for the members of an IKEv1 policy.
func agreeOldKey(f *fleet, m *member, time int) {
	m.psk = fmt.Sprintf("points-%d", time)
	text := f.conf()
	for _, x := range m.ike.members {
		text = strings.Replace(text, fmt.Sprintf("m%d {\n    version = 2\n", x.n), fmt.Sprintf("m%d {\n    version = 1\n", x.n), 1)
	}
	if err := f.branch.Load(f.T.Context(), text); err != nil {
		f.T.Fatal(err)
	}
}

func otherAlgorithms(p *policy) string {
	if p.proposal == firstAlgorithms {
		return "aes128-sha256-ecp256"
	}
	return firstAlgorithms
}

func (f *fleet) puts(list []request) {
	f.T.Helper()
	for _, q := range list {
		f.Call("PUT", q.path, q.body())
	}
}

// unmake deletes a member's connection.
func (f *fleet) unmake(m *member) {
	f.T.Helper()
	if m.id != "" {
		f.Remove(m.path())
		m.id = ""
	}
}

// remake makes a member's connection, with a new key on both sides.
func remake(f *fleet, m *member, time int) {
	f.T.Helper()
	agreeKey(f, m, time)
	m.id = f.Make("vpn/ipsec-site-connections", "ipsec_site_connection", client.Object{"name": fmt.Sprint("member ", m.n), "vpnservice_id": f.Service,
		"peer_address": m.office().Address(), "peer_id": m.office().Address(), "psk": m.psk, "ikepolicy_id": m.ike.id, "ipsecpolicy_id": m.esp.id,
		"local_ep_group_id": f.Call("GET", f.members[1].path(), nil)["ipsec_site_connection"].(client.Object)["local_ep_group_id"],
		"peer_ep_group_id":  m.group, "dpd": client.Object{"action": "restart", "interval": m.dpd, "timeout": 60}})
}
