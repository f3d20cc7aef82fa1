package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"culvert/internal/vpn"
)

// router is one router of this machine.
type router struct {
	id    string
	g     *Gateway
	dir   folder
	wake  chan struct{} // one slot: the session looks at what is due
	meter *meter

	op      sync.Mutex // one Set, Remove or recovery at a time; guards the fields below
	ns      *namespace // our own, kept open
	settled bool       // sysctls were seen to be right by this process
	wired   *wiring    // as it was left
	rewire  bool       // it is about to be looked at again
	charon  *charon
	plane   string       // Kernel or Userland: of the charon that runs
	seen    sight        // of a borrowed namespace, when it was last made true
	there   []netip.Addr // its addresses then, but ours
	linger  lingering    // what the guard holds beyond the Spec

	seal     seal
	unmended bool // somebody else has changed the guard, and it could not be mended; which has been logged

	mu          sync.Mutex // state, below; never held over a VICI call
	spec        vpn.Spec
	own         []netip.Addr // the gateway's addresses inside of the namespace
	conns       map[string]*connection
	ready       bool
	failure     *vpn.Reason
	session     *session
	closing     bool
	taking      bool                    // a peer's new address is about to be taken over
	last        vpn.Report              // as posted, without LastSeen
	owed        bool                    // a report is due even if it says the same
	unsized     time.Time               // when to look at routes, which may have come or may be of another mtu; zero: never
	restarts    []string                // connections to be set up anew: restartByPeer, redoHalf
	died        bool                    // charon, by itself, and none has been started since
	ended       string                  // how, where that is known
	looks       map[netip.Addr]*look    // at peers that are silent
	inquiries   map[netip.Addr]*inquiry // of peers that refuse us
	sightings   uint64                  // of SAs, that were taken in
	forward4    bool                    // a borrowed namespace forwards IPv4
	forward6    bool                    // and IPv6
	unreachable time.Time               // charon said that a packet could not be sent for want of a route
}

func newRouter(g *Gateway, id string) *router {
	r := &router{id: id, g: g, dir: folder(g.folderOf(id)), wake: make(chan struct{}, 1), conns: map[string]*connection{}}
	r.meter = newMeter(r, g.cfg.Pulse)
	return r
}

// set makes the Spec true and reports.
func (r *router) set(ctx context.Context, spec vpn.Spec) error {
	r.op.Lock()
	defer r.op.Unlock()
	r.mu.Lock()
	over := r.closing
	r.mu.Unlock()
	if over {
		return errRemoved
	}
	return r.apply(ctx, spec)
}

// errRemoved says that the router was removed while somebody waited for it.
var errRemoved = errors.New("the router is being removed")

// apply needs op.
func (r *router) apply(ctx context.Context, spec vpn.Spec) error {
	err := r.converge(ctx, spec)
	if err != nil {
		r.seen = sight{} // so that follow tries again, once there is something to try with
	}
	r.applied(spec, err)
	return err
}

// converge does the work in the order that lets no packet out in clear: the guard stands before forwarding is on and
// before charon knows a connection, and loses a rule only some time after the connection's SAs are gone.
func (r *router) converge(ctx context.Context, spec vpn.Spec) error {
	if err := os.MkdirAll(string(r.dir), 0o700); err != nil {
		return err
	}
	ns, err := r.namespace(spec)
	if err != nil {
		return during("enter the router's network namespace", err)
	}
	defer r.leave(ns)
	if spec.Namespace != "" {
		if err := r.arrive(ns); err != nil {
			return during("enter the router's network namespace", err)
		}
	}
	if err := r.pickPlane(); err != nil {
		return during("take over the router's IKE daemon", err)
	}
	r.linger.leave(spec)
	prepared := r.prepareBeside(ns, spec)
	defer prepared() // before the namespace is left
	wired := r.isWired(spec)
	if !wired {
		if _, err := prepared(); err != nil {
			return err
		}
		if err := r.setWiring(ns, spec); err != nil {
			return during("connect the router to its networks", err)
		}
	}
	s, fresh, err := r.connect(ctx, ns, outerAddresses(spec), prepared)
	if err != nil {
		return during("start the router's IKE daemon", err)
	}
	extra, err := r.setConnections(ctx, s, spec, fresh, prepared)
	if err != nil {
		return during("give the connections to the router's IKE daemon", err)
	}
	if wired {
		r.rewireSoon()
	}
	if r.linger.count(r.g.now().Add(r.g.cfg.Linger)); extra {
		_, err = r.setGuard(ns, spec, true)
	}
	return err
}

// pickPlane keeps the data plane of a charon that runs: only a new charon may take another.
func (r *router) pickPlane() error {
	if r.charon == nil {
		r.charon = adoptCharon(r.dir)
	}
	if r.charon != nil && r.charon.alive(r.dir) {
		if r.plane == "" {
			conf, err := os.ReadFile(r.dir.conf())
			if err != nil {
				return fmt.Errorf("adopt charon: %w", err)
			}
			r.plane = planeOf(string(conf))
		}
		return nil
	}
	r.buried()
	r.plane = r.g.plane
	return nil
}

// preparation waits for what prepare answers.
type preparation func() (extra bool, err error)

// prepareBeside prepares while the caller plans, which is half a millisecond less until a tunnel is up.
func (r *router) prepareBeside(ns *namespace, spec vpn.Spec) preparation {
	var extra bool
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		extra, err = r.prepare(ns, spec)
		err = during("set the packet filter that keeps the tunnels' traffic in", err)
	}()
	return func() (bool, error) {
		<-done
		return extra, err
	}
}

// prepare makes the settings and the guard true, forwarding last; in a borrowed namespace the settings are not ours. It
// answers whether the guard has rules too many.
func (r *router) prepare(ns *namespace, spec vpn.Spec) (extra bool, err error) {
	settled := r.settled || spec.Namespace != ""
	if !settled {
		if err := ns.sysctl(quiet); err != nil {
			return false, err
		}
	}
	out, err := r.setGuard(ns, spec, false)
	if err != nil {
		return false, err
	}
	if !settled {
		if err := ns.sysctl(forwarding); err != nil {
			return false, err
		}
		r.settled = true
	}
	return out.extra, nil
}

// deviation is what was found when a part of the guard was made true.
type deviation struct {
	added int  // rules or entries that were missing
	extra bool // there were some that are not wanted
}

// setGuard makes the guard true: nft rules, and on the kernel path the SPD, which holds without them.
func (r *router) setGuard(ns *namespace, spec vpn.Spec, prune bool) (out deviation, err error) {
	spec = r.linger.with(spec)
	now := seal{known: true}
	r.seal = seal{}
	out, err = guard{ns}.set(guardRules(spec, r.plane), prune)
	now.generation = ns.rules.since()
	if r.plane == Kernel && errors.Is(err, errNoTables) {
		out = deviation{}
		r.g.tables.Do(func() { r.g.log.Warn("TCP's MSS is not lowered to a connection's mtu", "why", errNoTables) })
		now.generation, err = ns.rules.ask(ns)
	}
	if err == nil && r.plane == Kernel {
		var more deviation
		more, now.policies, err = spd{ns}.set(discards(spec), prune)
		out = deviation{out.added + more.added, out.extra || more.extra}
	}
	if err == nil {
		r.seal = now
	}
	return out, err
}

// connect answers a session with the router's charon, which it starts where none runs. fresh says that nobody has yet
// looked at the SAs that charon has.
func (r *router) connect(ctx context.Context, ns *namespace, outer []netip.Addr, prepared preparation) (s *session, fresh bool, err error) {
	r.mu.Lock()
	s = r.session
	fresh = s != nil && !s.seen
	r.mu.Unlock()
	if s != nil && s.conn.Err() == nil {
		return s, fresh, nil
	}
	if _, err := prepared(); err != nil {
		return nil, false, err
	}
	if r.charon == nil {
		if r.charon, err = startCharon(r.g.program, r.dir, ns, r.plane, outer, r.g.log.With("router", r.id)); err != nil {
			return nil, false, err
		}
	}
	alive, done := r.charon.whileAlive(ctx)
	defer done()
	if s, err = dialSession(alive, r); err != nil {
		if cause := context.Cause(alive); errors.Is(cause, errCharonEnded) {
			err = fmt.Errorf("charon of router %s: %w", r.id, cause)
		}
		return nil, false, err
	}
	r.giveRoom(ns)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return nil, false, errors.Join(errors.New("the gateway is closing"), s.conn.Close(), s.log.close())
	}
	r.session = s
	r.noteStarted()
	r.g.running.Add(1)
	go func() {
		defer r.g.running.Done()
		s.run()
	}()
	r.meter.start(s)
	return s, true, nil
}

// sessionEnded is called by a session whose charon closed the socket. Unless that was our own doing, charon has died:
// the tunnels are down, the guard stands, and a new charon gets everything again.
func (r *router) sessionEnded(s *session) {
	r.g.written.Add(s.conn.Writes())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing || r.session != s {
		return
	}
	r.died, r.ended = true, ""
	r.session, r.ready, r.failure = nil, false, stamp(charonDied(), nil, r.g.now())
	for _, c := range r.conns {
		if c.loaded {
			c.loaded, c.established = false, false
			c.try = attempt{}
			c.down(vpn.StateDown, charonDied(), r.g.now())
		}
	}
	r.g.log.Warn("charon ended; starting it again", "router", r.id)
	r.publish(false)
	r.g.running.Add(1)
	go r.recover()
}

// recover applies the last Spec until that works or somebody else has done it.
func (r *router) recover() {
	defer r.g.running.Done()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		if done := r.tryRecover(); done {
			return
		}
		select {
		case <-time.After(pause):
		case <-r.g.closed.Done():
			return
		}
	}
}

func (r *router) tryRecover() (done bool) {
	r.op.Lock()
	defer r.op.Unlock()
	r.mu.Lock()
	spec, over := r.spec, r.closing || r.session != nil
	r.mu.Unlock()
	if over {
		return true
	}
	if r.charon != nil && !r.charon.alive(r.dir) {
		r.buried()
	}
	err := r.apply(r.g.closed, spec)
	if err != nil {
		r.g.log.Error("bring charon back", "router", r.id, "err", err)
	}
	return err == nil
}

// buried forgets a charon that does not live, and remembers how it ended where it was our child. It needs op.
func (r *router) buried() {
	if r.charon != nil && r.charon.gone != nil {
		<-r.charon.gone // it is dead, and about to be reaped
		r.mu.Lock()
		r.ended = r.charon.how
		r.mu.Unlock()
	}
	r.charon = nil
}

// letGo ends the session and leaves charon and its tunnels alone.
func (r *router) letGo() {
	r.mu.Lock()
	r.closing = true
	s := r.session
	r.session = nil
	r.mu.Unlock()
	if s != nil {
		_ = s.conn.Close()
		<-s.ended
	}
	r.meter.running.Wait()
}
