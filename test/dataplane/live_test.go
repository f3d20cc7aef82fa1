package dataplane

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// change is an edit of a fleet: whom it concerns, and whether they get other SAs.
type change struct {
	kind    string
	members []*member
	renews  bool
	apply   func()
}

// changeKinds draw an edit that is to be made.
var changeKinds = map[string]func(*rapid.T, *fleet, *member) change{
	"cipher of an IPsec policy":   func(r *rapid.T, f *fleet, m *member) change { return drawAlgorithms(r, f, m.esp) },
	"cipher of an IKE policy":     func(r *rapid.T, f *fleet, m *member) change { return drawAlgorithms(r, f, m.ike) },
	"lifetime of an IPsec policy": func(r *rapid.T, f *fleet, m *member) change { return drawLifetime(r, f, m.esp) },
	"lifetime of an IKE policy":   func(r *rapid.T, f *fleet, m *member) change { return drawLifetime(r, f, m.ike) },
	"endpoints of a group":        drawEndpoints,
	"psk on both sides":           drawPSK,
	"dpd":                         drawDPD,
	"mtu":                         drawMTU,
	"name":                        drawName,
	"initiator, and back":         drawInitiator,
	"several of one in a burst":   drawBurst,
	"another IPsec policy":        drawSwap,
}

func drawAlgorithms(r *rapid.T, f *fleet, p *policy) change {
	to := rapid.SampledFrom(slices.Sorted(keys(algorithms))).Draw(r, "algorithms")
	return change{members: p.members, renews: to != p.proposal, apply: func() {
		p.proposal = to
		f.load()
		p.put(f, algorithms[to])
	}}
}

func drawLifetime(r *rapid.T, f *fleet, p *policy) change {
	to := rapid.IntRange(3600, 86400).Draw(r, "lifetime")
	return change{members: p.members, renews: to != p.lifetime, apply: func() {
		p.lifetime = to
		p.put(f, client.Object{"lifetime": client.Object{"units": "seconds", "value": to}})
	}}
}

func drawEndpoints(r *rapid.T, f *fleet, m *member) change {
	return change{members: []*member{m}, renews: true, apply: func() {
		m.second = !m.second
		f.load()
		list := []string{sitetest.Network(m.n)}
		if m.second {
			list = append(list, sitetest.SecondNetwork(m.n))
		}
		f.Call("PUT", "/v2.0/vpn/endpoint-groups/"+m.group, client.Object{"endpoint_group": client.Object{"endpoints": list}})
	}}
}

func drawPSK(r *rapid.T, f *fleet, m *member) change {
	to := rapid.StringMatching(`[A-Za-z0-9]{16}`).Draw(r, "psk")
	return change{members: []*member{m}, renews: to != m.psk, apply: func() {
		m.psk = to
		f.load()
		f.put(m, client.Object{"psk": to})
	}}
}

func drawDPD(r *rapid.T, f *fleet, m *member) change {
	to := rapid.IntRange(5, 50).Draw(r, "interval")
	return change{members: []*member{m}, renews: to != m.dpd, apply: func() {
		m.dpd = to
		f.put(m, client.Object{"dpd": client.Object{"action": "restart", "interval": to, "timeout": 60}})
	}}
}

func drawMTU(r *rapid.T, f *fleet, m *member) change {
	to := rapid.IntRange(1280, 1500).Draw(r, "mtu")
	return change{members: []*member{m}, apply: func() { f.put(m, client.Object{"mtu": to}) }}
}

func drawName(r *rapid.T, f *fleet, m *member) change {
	to := rapid.StringMatching(`[a-z ]{0,20}[a-z]`).Draw(r, "name")
	return change{members: []*member{m}, apply: func() { f.put(m, client.Object{"name": "x" + to}) }}
}

func drawInitiator(_ *rapid.T, f *fleet, m *member) change {
	return change{members: []*member{m}, apply: func() {
		f.put(m, client.Object{"initiator": "response-only"})
		f.put(m, client.Object{"initiator": "bi-directional"})
	}}
}

// drawBurst changes three things of one connection without a pause.
func drawBurst(r *rapid.T, f *fleet, m *member) change {
	psk, dpd, endpoints := drawPSK(r, f, m), drawDPD(r, f, m), drawEndpoints(r, f, m)
	return change{members: []*member{m}, renews: true, apply: func() { psk.apply(); dpd.apply(); endpoints.apply() }}
}

// drawSwap gives a connection another IPsec policy, with other algorithms (decision D3).
func drawSwap(r *rapid.T, f *fleet, m *member) change {
	to := rapid.SampledFrom(slices.Sorted(keys(algorithms))).Draw(r, "algorithms")
	return change{members: []*member{m}, renews: to != m.esp.proposal || m.esp.lifetime != 3600, apply: func() {
		m.esp.members = slices.DeleteFunc(slices.Clone(m.esp.members), func(x *member) bool { return x == m })
		p := f.policy("ipsec", fmt.Sprint("swapped for ", m.n))
		p.proposal, p.lifetime, p.members = to, 3600, []*member{m}
		p.put(f, sitetest.With(algorithms[to], client.Object{"lifetime": client.Object{"units": "seconds", "value": 3600}}))
		m.esp = p
		f.load()
		f.put(m, client.Object{"ipsecpolicy_id": p.id})
	}}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (f *fleet) put(m *member, changes client.Object) {
	f.T.Helper()
	f.Call("PUT", m.path(), client.Object{"ipsec_site_connection": changes})
}

// tally is what came of the changes of one kind.
type tally struct{ times, concerned, lost, worst, pings, otherLost int }

// TestLiveEdits makes random edits of 50 connections under pings (decisions D2, D3): those concerned are ACTIVE again, with
// other SAs where that is needed; all others keep their SPIs and lose no packet.
func TestLiveEdits(t *testing.T) {
	t.Parallel()
	edits := "25"
	if soak() {
		edits = "500"
	}
	for name, value := range map[string]string{"rapid.checks": edits, "rapid.shrinktime": "0s", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	f := newFleet(sitetest.NewSite(t), 50, 10)
	tallies := map[string]*tally{}
	rapid.Check(t, func(r *rapid.T) {
		kind := rapid.SampledFrom(slices.Sorted(keys(changeKinds))).Draw(r, "kind")
		m := f.members[rapid.IntRange(0, len(f.members)-1).Draw(r, "member")]
		c := changeKinds[kind](r, f, m)
		c.kind = kind
		if tallies[kind] == nil {
			tallies[kind] = &tally{}
		}
		f.make(r, c, tallies[kind])
		if t.Failed() {
			r.FailNow()
		}
	})
	table := newTable("edit", "times", "connections concerned", "pings that these lost", "at most, of one", "pings of the others", "lost")
	for _, kind := range slices.Sorted(keys(tallies)) {
		n := tallies[kind]
		table.row(kind, n.times, n.concerned, n.lost, n.worst, n.pings, n.otherLost)
	}
	t.Logf("random edits of 50 connections, each pinged every 50 ms:\n%s", table)
}

// make makes a change and looks at what came of it.
func (f *fleet) make(r *rapid.T, c change, n *tally) {
	concerned := slices.Clone(c.members)
	others := f.others(concerned)
	spis, before := f.spis(), f.pings.settled()
	c.apply()
	f.awaitActive(15*time.Second, concerned)
	if c.renews {
		sitetest.Poll(f.T, 5*time.Second, fmt.Sprintf("%s: other SAs, and none of before, for all concerned", c.kind), func() bool {
			now := f.spis()
			return !slices.ContainsFunc(concerned, func(m *member) bool {
				return len(now[m.id]) == 0 || slices.ContainsFunc(now[m.id], func(spi string) bool { return slices.Contains(spis[m.id], spi) })
			})
		})
	} else {
		f.kept(f.T, c.kind, concerned, spis, before)
	}
	f.kept(f.T, c.kind, others, spis, before)
	after := f.pings.settled()
	n.times++
	n.concerned += len(concerned)
	for _, m := range f.members {
		lost := after[m.n].lost - before[m.n].lost
		if slices.Contains(concerned, m) {
			n.lost += lost
			n.worst = max(n.worst, lost)
		} else {
			n.pings += after[m.n].sent - before[m.n].sent
			n.otherLost += lost
		}
	}
	if n.worst > 2 { // of pings 50 ms apart: longer than make before break may take
		r.Errorf("%s: a connection lost %d pings", c.kind, n.worst)
	}
}
