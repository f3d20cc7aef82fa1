package gateway

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// defaultPulse is the time between two looks at the counters, and between two probes.
const defaultPulse = 5 * time.Second

// noteEvery is how often the sums are written to the router's folder: what a killed agent may have to count again from the
// SAs themselves, which still know it.
const (
	noteEvery = 30 * time.Second
	noteSoon  = time.Second // at least between two
)

// meter counts what the connections of one router carry. It has a VICI connection of its own, so that a long list of SAs
// holds up neither a Set nor an initiation, and asks once a pulse, and only while a tunnel is up.
type meter struct {
	r     *router
	pulse time.Duration

	asked   atomic.Int64   // list-sas that were sent
	running sync.WaitGroup // followers of sessions

	turn    sync.Mutex         // one follower at a time: that of a dead charon ends first
	waited  int                // looks in a row that made room for handshakes
	probers map[string]*prober // of connections that are up

	mu     sync.Mutex
	read   bool // the file of an earlier agent
	gauges map[string]*gauge
	noted  time.Time
	urgent bool // something was counted that the SAs do not know
}

// gauge is what the meter knows of one connection.
type gauge struct {
	tally
	watch
	sas     []vpn.IKESA
	at      time.Time // measured
	up      time.Time // as the connection said at the last look; zero: it was up before this agent
	isUp    bool
	warning *vpn.Reason // of one-way traffic
	probe   *prober     // nil: none
	probes  echoes
}

// echoes are the packets of all probers that a connection has had.
type echoes struct{ requests, answers atomic.Uint64 }

func newMeter(r *router, pulse time.Duration) *meter {
	if pulse <= 0 {
		pulse = defaultPulse
	}
	return &meter{r: r, pulse: pulse, gauges: map[string]*gauge{}}
}

// start lets the meter follow a session. It needs the router's mu.
func (m *meter) start(s *session) {
	m.running.Go(func() { m.follow(s) })
}

// follow measures until the session ends.
func (m *meter) follow(s *session) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.load()
	defer m.note(true)
	defer func() { m.probe(nil) }()
	var conn *vici.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(m.pulse)))) // routers take turns
	defer timer.Stop()
	for {
		var events <-chan vici.Event
		if conn != nil {
			events = conn.Events()
		}
		select {
		case <-s.ended:
			return
		case e, ok := <-events:
			if !ok {
				conn = nil
				continue
			}
			m.event(e)
			m.note(false)
		case <-timer.C:
			if !m.r.hasSeen(s) || m.wait() {
				timer.Reset(m.pulse / 5)
				continue
			}
			conn = m.look(conn)
			m.note(false)
			timer.Reset(m.pulse)
		}
	}
}

// mayWait bounds how often in a row a look makes room for handshakes: where many peers are silent there is always one.
const mayWait = 5

// wait tells whether to look later, since charon is in the middle of a handshake of ours.
func (m *meter) wait() bool {
	if m.waited++; m.r.shakesHands() && m.waited <= mayWait {
		return true
	}
	m.waited = 0
	return false
}

// look measures, if a tunnel is up, and answers the VICI connection to use from now on.
func (m *meter) look(conn *vici.Conn) *vici.Conn {
	ups := m.r.ups()
	m.probe(m.r.probeTargets())
	if len(ups) == 0 {
		m.settle(ups, nil)
		return conn
	}
	ctx, cancel := context.WithTimeout(m.r.g.closed, callTimeout)
	defer cancel()
	if conn == nil || conn.Err() != nil {
		if conn = m.dial(ctx); conn == nil {
			return nil
		}
	}
	found, now := measurements{}, m.r.g.now()
	m.asked.Add(1)
	in := vici.NewMessage().Set("noblock", "yes") // an SA that is being worked on is left out, not waited for
	err := conn.Stream(ctx, "list-sas", "list-sa", in, func(event *vici.Message) error {
		found.read(event, m.r.knows, now)
		return nil
	})
	if err != nil {
		m.r.g.log.Debug("measure", "router", m.r.id, "err", err)
		return conn
	}
	m.settle(ups, found)
	return conn
}

func (m *meter) dial(ctx context.Context) *vici.Conn {
	conn, err := vici.Dial(ctx, m.r.dir.socket())
	if err == nil {
		if err = conn.Subscribe(ctx, "ike-rekey", "child-rekey", "child-updown"); err == nil {
			return conn
		}
		_ = conn.Close()
	}
	m.r.g.log.Debug("measure", "router", m.r.id, "err", err)
	return nil
}

// hasSeen tells whether a session knows what is up: until then nothing is, and that says nothing.
func (r *router) hasSeen(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.seen
}

// ups answers the connections that are up, with their upSince.
func (r *router) ups() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	ups := map[string]time.Time{}
	for id, c := range r.conns {
		if c.state == vpn.StateUp {
			ups[id] = c.upSince
		}
	}
	return ups
}

// handshake is what one normally takes; one that takes longer has met silence, and costs charon nothing.
const handshake = time.Second

// shakesHands tells whether a connection is being initiated right now.
func (r *router) shakesHands() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		if c.try.inFlight() && r.g.now().Sub(c.try.started) < handshake {
			return true
		}
	}
	return false
}

func (r *router) knows(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[id] != nil
}

// settle takes in what was found, nil where nothing was asked for.
func (m *meter) settle(ups map[string]time.Time, found measurements) {
	now := m.r.g.now()
	var warned []func()
	m.mu.Lock()
	for id, g := range m.gauges {
		if !m.r.knows(id) {
			delete(m.gauges, id)
		} else if _, up := ups[id]; !up {
			g.down()
		}
	}
	for id, since := range ups {
		one := found[id]
		if one == nil {
			continue
		}
		g := m.gauge(id, now)
		before := g.warning
		m.urgent = m.urgent || !g.knows(one.readings)
		if why := g.take(one, since, now); why != nil {
			warned = append(warned, func() { m.r.warn(id, *why) })
		} else if before != nil {
			warned = append(warned, func() { m.r.clearWarning(id, before.Code) })
		}
	}
	m.mu.Unlock()
	for _, do := range warned {
		do()
	}
}

// gauge needs mu.
func (m *meter) gauge(id string, now time.Time) *gauge {
	g := m.gauges[id]
	if g == nil {
		g = &gauge{tally: tally{Since: now}}
		m.gauges[id] = g
	}
	return g
}

func (g *gauge) down() {
	g.isUp, g.Established, g.sas, g.warning = false, time.Time{}, nil, nil
}

// take adds a measurement of a connection that is up. It answers what to warn of.
func (g *gauge) take(one *measurement, since, now time.Time) *vpn.Reason {
	if !g.isUp || !g.up.Equal(since) {
		switch {
		case !since.IsZero():
			g.Established = since
		case g.Established.IsZero() || !g.knows(one.readings): // not the tunnel that the file speaks of
			g.Established = one.since
		}
		g.watch.restart(g.seen())
	}
	g.isUp, g.up, g.at, g.sas = true, since, now, steady(g.sas, one.sas)
	g.add(one.readings)
	g.forget(one.readings)
	switch direction := g.watch.look(g.seen(), now); {
	case direction == "":
		g.warning = nil
	case g.warning == nil: // its figures are those of that moment: a report that differs is news
		g.warning = oneWay(direction, g.In, g.Out, now)
	}
	return g.warning
}

// seen leaves the probe's own packets aside: that nobody answers those is said in another way. What is left may fall by those that
// charon has not counted yet.
func (g *gauge) seen() seen {
	in, out := g.In.Packets, g.Out.Packets
	return seen{in: in, unasked: in - min(in, g.probes.answers.Load()), out: out - min(out, g.probes.requests.Load())}
}

// event takes in a rekey, and the last figures of CHILD_SAs that went.
func (m *meter) event(e vici.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.urgent = true
	for name, ike := range e.Message.Sections() {
		if e.Name == "ike-rekey" {
			m.gauge(name, e.Time).IKERekeys++
			continue
		}
		for _, child := range ike.Section("child-sas").Sections() {
			if e.Name == "child-rekey" {
				old, fresh := child.Section("old"), child.Section("new")
				g := m.gauge(connectionOf(old.Get("name"), m.r.knows), e.Time)
				g.ChildRekeys++
				g.add([]reading{readReading(old, e.Time), readReading(fresh, e.Time)})
			} else if e.Message.Get("up") != "yes" {
				m.gauge(connectionOf(child.Get("name"), m.r.knows), e.Time).add([]reading{readReading(child, e.Time)})
			}
		}
	}
}

// statistics are those of all connections that were ever measured, sorted.
func (m *meter) statistics() []vpn.Statistics {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]vpn.Statistics, 0, len(m.gauges))
	for id, g := range m.gauges {
		out = append(out, g.statistics(id))
	}
	slices.SortFunc(out, func(a, b vpn.Statistics) int { return strings.Compare(a.Connection, b.Connection) })
	return out
}

func (g *gauge) statistics(id string) vpn.Statistics {
	s := vpn.Statistics{Connection: id, MeasuredAt: moment(g.at), CountedSince: moment(g.Since), EstablishedAt: moment(g.Established),
		BytesIn: g.In.Bytes, BytesOut: g.Out.Bytes, PacketsIn: g.In.Packets, PacketsOut: g.Out.Packets,
		LastIn: moment(g.In.Last), LastOut: moment(g.Out.Last), Traffic: g.traffic(g.at),
		IKERekeys: g.IKERekeys, ChildRekeys: g.ChildRekeys, SAs: g.sas}
	if s.SAs == nil {
		s.SAs = []vpn.IKESA{}
	}
	if g.probe != nil {
		s.Probe = g.probe.statistics()
	}
	return s
}

// load reads the sums of an earlier agent, once.
func (m *meter) load() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read {
		return
	}
	m.read = true
	text, err := os.ReadFile(m.r.dir.file("counters.json"))
	sums := map[string]tally{}
	if err != nil || json.Unmarshal(text, &sums) != nil {
		return // none, or none to be read: the SAs know what they carried
	}
	for id, t := range sums {
		if m.gauges[id] == nil {
			m.gauges[id] = &gauge{tally: t}
		}
	}
}

// note writes the sums now and then, and at the end.
func (m *meter) note(atEnd bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, pause := m.r.g.now(), noteEvery
	if m.urgent {
		pause = noteSoon
	}
	if len(m.gauges) == 0 || !atEnd && now.Sub(m.noted) < pause {
		return
	}
	m.noted, m.urgent = now, false
	sums := make(map[string]tally, len(m.gauges))
	for id, g := range m.gauges {
		sums[id] = g.tally
	}
	text, err := json.Marshal(sums)
	if err == nil {
		err = writeFile(m.r.dir.file("counters.json"), text)
	}
	if err != nil && !os.IsNotExist(err) { // the router's folder may be gone already
		m.r.g.log.Warn("note the counters", "router", m.r.id, "err", err)
	}
}

// Statistics answers what was counted of every connection on this machine.
func (g *Gateway) Statistics() []vpn.Statistics {
	var out []vpn.Statistics
	for _, r := range g.all() {
		out = append(out, r.meter.statistics()...)
	}
	return out
}
