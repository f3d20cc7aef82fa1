package dataplane

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/internal/client"
	"culvert/internal/sitetest"
)

// change is an edit of a fleet: whom it concerns, whether they get other SAs, and how it is made.
type change struct {
	members  []*member
	renews   bool
	agree    func() // what the members have agreed on changes, on the other side too; may be nil
	requests func() []request
}

// request is a PUT.
type request struct {
	path, key string
	changes   client.Object
}

func (r request) body() client.Object { return client.Object{r.key: r.changes} }

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
	return change{p.members, to != p.proposal, func() { p.proposal = to; f.load() }, p.put(algorithms[to])}
}

func drawLifetime(r *rapid.T, _ *fleet, p *policy) change {
	to := rapid.IntRange(3600, 86400).Draw(r, "lifetime")
	return change{p.members, to != p.lifetime, func() { p.lifetime = to }, p.put(client.Object{"lifetime": client.Object{"units": "seconds", "value": to}})}
}

func drawEndpoints(_ *rapid.T, f *fleet, m *member) change {
	return change{[]*member{m}, true, func() { m.second = !m.second; f.load() }, func() []request {
		list := []string{sitetest.Network(m.n)}
		if m.second {
			list = append(list, sitetest.SecondNetwork(m.n))
		}
		return []request{{"/v2.0/vpn/endpoint-groups/" + m.group, "endpoint_group", client.Object{"endpoints": list}}}
	}}
}

func drawPSK(r *rapid.T, f *fleet, m *member) change {
	to := rapid.StringMatching(`[A-Za-z0-9]{16}`).Draw(r, "psk")
	return change{[]*member{m}, to != m.psk, func() { m.psk = to; f.load() }, m.put(client.Object{"psk": to})}
}

func drawDPD(r *rapid.T, _ *fleet, m *member) change {
	to := rapid.IntRange(5, 50).Draw(r, "interval")
	return change{[]*member{m}, to != m.dpd, func() { m.dpd = to }, m.put(client.Object{"dpd": client.Object{"action": "restart", "interval": to, "timeout": 60}})}
}

func drawMTU(r *rapid.T, _ *fleet, m *member) change {
	return change{[]*member{m}, false, nil, m.put(client.Object{"mtu": rapid.IntRange(1280, 1500).Draw(r, "mtu")})}
}

func drawName(r *rapid.T, _ *fleet, m *member) change {
	return change{[]*member{m}, false, nil, m.put(client.Object{"name": "x" + rapid.StringMatching(`[a-z ]{0,20}[a-z]`).Draw(r, "name")})}
}

func drawInitiator(_ *rapid.T, _ *fleet, m *member) change {
	return change{[]*member{m}, false, nil, m.put(client.Object{"initiator": "response-only"}, client.Object{"initiator": "bi-directional"})}
}

// drawBurst changes three things of one connection without a pause.
func drawBurst(r *rapid.T, f *fleet, m *member) change {
	list := []change{drawPSK(r, f, m), drawDPD(r, f, m), drawEndpoints(r, f, m)}
	return change{[]*member{m}, true, func() { each(list, func(c change) { c.agree() }) }, func() (all []request) {
		each(list, func(c change) { all = append(all, c.requests()...) })
		return all
	}}
}

func each[T any](list []T, do func(T)) {
	for _, x := range list {
		do(x)
	}
}

// drawSwap gives a connection another IPsec policy, with other algorithms (decision D3).
func drawSwap(r *rapid.T, f *fleet, m *member) change {
	to := rapid.SampledFrom(slices.Sorted(keys(algorithms))).Draw(r, "algorithms")
	return change{[]*member{m}, to != m.esp.proposal || m.esp.lifetime != firstLifetime, func() {
		m.esp.members = slices.DeleteFunc(slices.Clone(m.esp.members), func(x *member) bool { return x == m })
		m.esp = f.policy("ipsec", to, fmt.Sprint("swapped for ", m.n))
		m.esp.members = []*member{m}
		f.load()
	}, func() []request { return m.put(client.Object{"ipsecpolicy_id": m.esp.id})() }}
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

func (m *member) put(changes ...client.Object) func() []request {
	return func() (out []request) {
		each(changes, func(o client.Object) { out = append(out, request{m.path(), "ipsec_site_connection", o}) })
		return out
	}
}

func (p *policy) put(changes client.Object) func() []request {
	return func() []request { return []request{{p.path + p.id, p.key, changes}} }
}

// checks runs a property so many times, whatever the flags say.
func checks(t *testing.T, times int, property func(*rapid.T)) {
	t.Helper()
	rapidFlags.Lock()
	once := sync.OnceFunc(rapidFlags.Unlock)
	defer once()
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(times), "rapid.shrinktime": "0s", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		once() // the flags have been read
		property(r)
	})
}

var rapidFlags sync.Mutex

// tally is what came of the changes of one kind.
type tally struct{ times, concerned, lost, worst, pings, otherLost int }

// TestLiveEdits makes random edits of 50 connections under pings (decisions D2, D3): those concerned are ACTIVE again, with
// other SAs where that is needed; all others keep their SPIs and lose no packet.
func TestLiveEdits(t *testing.T) {
	t.Parallel()
	edits := 25
	if soak() {
		edits = 500
	}
	f := newFleet(sitetest.NewSite(t), 50, 10)
	tallies := map[string]*tally{}
	checks(t, edits, func(r *rapid.T) {
		kind := rapid.SampledFrom(slices.Sorted(keys(changeKinds))).Draw(r, "kind")
		m := f.members[rapid.IntRange(0, len(f.members)-1).Draw(r, "member")]
		c := changeKinds[kind](r, f, m)
		if tallies[kind] == nil {
			tallies[kind] = &tally{}
		}
		f.make(r, kind, c, tallies[kind])
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
func (f *fleet) make(r *rapid.T, kind string, c change, n *tally) {
	concerned := slices.Clone(c.members)
	others := f.others(concerned)
	before := f.stand()
	if c.agree != nil {
		c.agree()
	}
	for _, q := range c.requests() {
		f.Call("PUT", q.path, q.body())
	}
	f.awaitActive(15*time.Second, concerned)
	if c.renews {
		sitetest.Poll(f.T, 5*time.Second, fmt.Sprintf("%s: other SAs, and none of before, for all concerned", kind), func() bool {
			now := f.spis()
			return !slices.ContainsFunc(concerned, func(m *member) bool {
				return len(now[m.id]) == 0 || slices.ContainsFunc(now[m.id], func(spi string) bool { return slices.Contains(before.spis[m.id], spi) })
			})
		})
	} else {
		f.kept(kind, concerned, before)
	}
	f.kept(kind, others, before)
	after := f.pings.settled()
	n.times++
	n.concerned += len(concerned)
	for _, m := range f.members {
		lost := f.pings.lost(m.n, before.sent[m.n], after[m.n])
		if slices.Contains(concerned, m) {
			n.lost += lost
			n.worst = max(n.worst, lost)
		} else {
			n.pings += after[m.n] - before.sent[m.n]
			n.otherLost += lost
		}
	}
	if n.worst > 2 { // of pings 50 ms apart: longer than make before break may take
		r.Errorf("%s: a connection lost %d pings", kind, n.worst)
	}
}
