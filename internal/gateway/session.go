package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"culvert/internal/vici"
)

// callTimeout bounds one VICI call: nothing that we ask for blocks in charon.
const callTimeout = 10 * time.Second

// session is our one VICI connection to a router's charon: commands go out from it, and its events move the state of
// the router's connections.
type session struct {
	r       *router
	conn    *vici.Conn
	loaded  *loaded
	history *history
	silence silence
	log     *logTail
	later   map[string]time.Time // connections to refresh, and when
	seen    bool                 // what SAs there are; nothing is initiated before. The router's mu guards it
	has     available            // algorithms of this charon
	checks  map[string]time.Time // connections whose PFS group is to be tried, and when
	parked  map[string]parking   // as they were last noted. The router's mu guards it
	ended   chan struct{}
}

// dialSession connects to a charon that runs and learns what it has loaded.
func dialSession(ctx context.Context, r *router) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := vici.Dial(ctx, r.dir.socket())
	if err != nil {
		return nil, fmt.Errorf("charon of router %s: %w", r.id, err)
	}
	s := &session{r: r, conn: conn, history: newHistory(), silence: silence{}, later: map[string]time.Time{},
		checks: map[string]time.Time{}, ended: make(chan struct{})}
	if s.log, err = openLogTail(r.dir.log()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := s.learn(ctx); err != nil {
		return nil, errors.Join(err, s.log.close(), conn.Close())
	}
	return s, nil
}

func (s *session) learn(ctx context.Context) (err error) {
	if err = s.conn.Subscribe(ctx, "ike-updown", "child-updown", "ike-rekey", "child-rekey"); err != nil {
		return err
	}
	if s.loaded, err = s.whatIsLoaded(ctx); err != nil {
		return err
	}
	s.has, err = s.algorithms(ctx)
	return err
}

// whatIsLoaded reads our note of it and doubts what charon does not confirm. In doubt is also what charon alone knows, be it
// a key without a connection: one that was being unloaded when an earlier process ended. A key goes last, so while it is
// there, SAs of its connection may be too.
func (s *session) whatIsLoaded(ctx context.Context) (*loaded, error) {
	l, err := readLoaded(s.r.dir)
	if err != nil {
		return nil, err
	}
	conns, keys := map[string]bool{}, map[string]bool{}
	err = s.conn.Stream(ctx, "list-conns", "list-conn", nil, func(m *vici.Message) error {
		for name := range m.Sections() {
			conns[name] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	shared, err := s.conn.Call(ctx, "get-shared", nil)
	if err != nil {
		return nil, err
	}
	for _, key := range shared.List("keys") {
		keys[key] = true
	}
	for id := range l.Conns {
		if !conns[id] || !keys[id] {
			l.Conns[id] = digest{}
		}
	}
	for _, has := range []map[string]bool{conns, keys} {
		for id := range has {
			l.Conns[id] = l.Conns[id] // an empty digest where the note knows nothing
		}
	}
	return l, nil
}

// call is one command whose refusal by charon is an error.
func (s *session) call(ctx context.Context, command string, in *vici.Message) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := s.conn.Call(ctx, command, in)
	return err
}

// callLoosely is one command that charon may refuse because there is nothing to do.
func (s *session) callLoosely(ctx context.Context, command string, in *vici.Message) error {
	err := s.call(ctx, command, in)
	if refused := (*vici.CommandError)(nil); errors.As(err, &refused) {
		return nil
	}
	return err
}

// load gives charon a connection, the key first.
func (s *session) load(ctx context.Context, c loading) error {
	if err := s.call(ctx, "load-shared", c.cfg.shared); err != nil {
		return err
	}
	return s.call(ctx, "load-conn", c.cfg.conn)
}

// unload takes connections out of charon, their SAs with a DELETE to the peer, and their keys. First the configuration, so
// that the peer cannot come back in between.
func (s *session) unload(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		if err := s.callLoosely(ctx, "unload-conn", vici.NewMessage().Set("name", id)); err != nil {
			return err
		}
	}
	if err := s.takeLeave(ctx, func(sas map[string][]ikeSA) (all []*vici.Message) {
		for _, id := range ids {
			all = append(all, terminations(id, sas)...)
		}
		return all
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.terminate(ctx, id, nil); err != nil {
			return err
		}
		if err := s.callLoosely(ctx, "unload-shared", vici.NewMessage().Set("id", id)); err != nil {
			return err
		}
		delete(s.loaded.Conns, id)
	}
	return nil
}

// farewell is how long peers have to answer before SAs are ended by force.
const farewell = 300 * time.Millisecond

// takeLeave ends SAs without force, and returns when none is left to end or farewell is over. An IKE_SA has one
// exchange at a time (RFC 7296, section 2.3, window size 1): one that is ended by force while, say, a liveness check is
// unanswered goes without a DELETE, and the peer keeps its side until its own checks fail, if it makes any.
func (s *session) takeLeave(ctx context.Context, terminations func(map[string][]ikeSA) []*vici.Message) error {
	for deadline, asked := time.Now().Add(farewell), false; ; asked = true {
		sas, err := s.sas(ctx, "")
		if err != nil {
			return err
		}
		requests := terminations(sas)
		if len(requests) == 0 || time.Now().After(deadline) {
			return nil
		}
		for _, request := range requests {
			if asked {
				break
			}
			if err := s.callLoosely(ctx, "terminate", request.Set("timeout", "-1").Set("loglevel", "-1")); err != nil {
				return err
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// endWithin is how long charon may take to end SAs by force.
const endWithin = 3 * time.Second

// terminate ends all IKE_SAs of a connection, and its CHILD_SAs in those of siblings, or of these only what outdated
// answers: DELETE is sent, its answer not waited for. It returns when they are gone.
func (s *session) terminate(ctx context.Context, id string, outdated func(child string) bool) error {
	for deadline := time.Now().Add(endWithin); ; time.Sleep(time.Millisecond) {
		sas, err := s.sas(ctx, "")
		if err != nil {
			return err
		}
		requests := terminations(id, sas)
		if outdated != nil {
			requests = surplus(id, sas, outdated)
		}
		if len(requests) == 0 {
			return nil
		}
		if time.Now().After(deadline) { // and not before the last look: on a busy machine one round may take a second
			return fmt.Errorf("the SAs of connection %s do not end", id)
		}
		for _, request := range requests {
			request.Set("force", "yes").Set("timeout", "-1").Set("loglevel", "-1")
			if err := s.callLoosely(ctx, "terminate", request); err != nil {
				return err
			}
		}
	}
}

// terminations answers the terminate requests for a connection.
func terminations(id string, sas map[string][]ikeSA) []*vici.Message {
	var out []*vici.Message
	for name, list := range sas {
		for _, sa := range list {
			if name == id {
				out = append(out, vici.NewMessage().Set("ike-id", sa.id))
				continue
			}
			for _, child := range sa.children {
				if isChildOf(child.name, id) {
					out = append(out, vici.NewMessage().Set("child-id", child.id))
				}
			}
		}
	}
	return out
}

// initiate starts the missing CHILD_SAs without waiting: a waiting call would hold one of charon's workers.
func (s *session) initiate(ctx context.Context, id string, children []string) error {
	for _, child := range children {
		request := vici.NewMessage().Set("ike", id).Set("child", child).Set("timeout", "-1").Set("loglevel", "-1")
		if err := s.call(ctx, "initiate", request); err != nil {
			return err
		}
	}
	return nil
}

// sas lists the IKE_SAs of one connection, or with "" of all.
func (s *session) sas(ctx context.Context, id string) (map[string][]ikeSA, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := vici.NewMessage()
	if id != "" {
		in.Set("ike", id)
	}
	out := map[string][]ikeSA{}
	err := s.conn.Stream(ctx, "list-sas", "list-sa", in, func(m *vici.Message) error {
		readSAs(out, m)
		return nil
	})
	return out, err
}

// run is the session's life: events in, states and initiations out, until charon ends or the session is closed.
func (s *session) run() {
	defer close(s.ended)
	defer s.log.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case event, ok := <-s.conn.Events():
			if !ok {
				s.readLog()
				s.r.sessionEnded(s)
				return
			}
			s.handle(event)
			if len(s.conn.Events()) > 0 {
				continue // all that has come is taken in before anything is done about it
			}
		case <-s.log.changed:
		case <-s.r.wake:
		case <-timer.C:
		}
		s.readLog()
		next := s.refreshLater()
		for _, look := range []func() time.Time{s.endSilent, s.restartDue, s.watchDemand, s.tryGroups, s.initiateDue, s.sizeRoutes} {
			if again := look(); next.IsZero() || (!again.IsZero() && again.Before(next)) {
				next = again
			}
		}
		s.keepParked()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// logDelay is how much later than its event charon may log what explains it: another of its threads may. What comes later
// still has until startGrace is over.
const logDelay = 10 * time.Millisecond

// refreshLater refreshes what is due and answers when to look again.
func (s *session) refreshLater() (again time.Time) {
	for name, at := range s.later {
		if !at.After(time.Now()) {
			delete(s.later, name)
			s.refresh(name)
		} else if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	return again
}

// readLog takes in what charon has logged.
func (s *session) readLog() {
	lines, err := s.log.read(s.r.g.now())
	if err != nil {
		s.r.g.log.Warn("read charon's log", "router", s.r.id, "err", err)
	}
	for _, line := range lines {
		s.silence.note(line.Message, line.Time)
		s.r.noteLog(s.history, line)
	}
}

func (s *session) handle(event vici.Event) {
	s.readLog()
	s.r.noteSAs(event)
	if event.Name == "ike-rekey" || event.Name == "child-rekey" { // the SA that takes over is up
		for _, sa := range event.Message.Sections() {
			s.r.unsize(0)
			s.r.rekeyed(sa) // an IKE_SA's event has no CHILD_SAs
		}
		return
	}
	up := event.Message.Get("up") == "yes"
	for name, sa := range event.Message.Sections() {
		if event.Name == "ike-updown" && up {
			s.r.ikeEstablished(name) // its CHILD_SA, which counts, has an event of its own
			continue
		}
		if up {
			after := sizeAfter
			if !s.r.seeInstalled(name, event.Message) {
				s.refresh(name)
				after = 0 // it may be one more SA of a tunnel that carries traffic
			}
			s.tryGroupLater(sa)
			s.r.unsize(after)
		} else {
			delete(s.silence, sa.Get("uniqueid"))
			s.later[name] = time.Now().Add(logDelay)
		}
	}
}

// refresh asks charon for the SAs of a connection, and of its siblings, and takes in what they are.
func (s *session) refresh(id string) {
	id = s.r.scope(id)
	sas, err := s.sas(context.Background(), id)
	if err != nil { // charon is gone, which ends the session, or hangs, which the next event will show
		s.r.g.log.Debug("list-sas", "router", s.r.id, "err", err)
		return
	}
	s.r.see(id, sas)
}

// initiateDue starts what is due and answers when to look again.
func (s *session) initiateDue() time.Time {
	s.endOutdated()
	start, overdue, again := s.r.dueNow(s)
	for _, c := range append(overdue, start...) {
		if c.check {
			sas, err := s.sas(context.Background(), s.r.scope(c.id))
			if err != nil || !s.r.seeBefore(c.id, c.overdue, sas) {
				continue
			}
			c.children = missing(c.children, flatten(sas))
		}
		if err := s.initiate(context.Background(), c.id, c.children); err != nil {
			s.r.g.log.Warn("initiate", "router", s.r.id, "connection", c.id, "err", err)
			s.r.attemptFailed(c.id, c.children)
		}
	}
	return again
}

func jitter() float64 { return rand.Float64() }
