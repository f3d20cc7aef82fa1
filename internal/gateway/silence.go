package gateway

import (
	"context"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// How charon repeats a request that is not answered: after repeatFirst, then repeatBase times as late each time, at most
// repeatLimit apart. These are the same for all of a charon's IKE_SAs, whereas dpd.timeout is each connection's: so charon
// repeats for longer than any timeout may be (86400 s), and it is the session that gives a peer up.
const (
	repeatFirst = time.Second
	repeatBase  = 1.5
	repeatLimit = 10 * time.Second
	repeatTries = 8700
)

// How long a request may stay unanswered where no dpd.timeout says it.
const (
	firstPatience = 8 * time.Second   // of the exchanges that make an IKE_SA: just before the fourth repetition
	plainPatience = 120 * time.Second // dpd action disabled: a rekeying must not wait for ever either
)

// repeated answers how long after a request its n-th repetition is sent.
func repeated(n int) time.Duration {
	sum := time.Duration(0)
	for i := range n {
		wait := time.Duration(float64(repeatFirst) * math.Pow(repeatBase, float64(i)))
		if wait <= 0 || wait > repeatLimit {
			return sum + time.Duration(n-i)*repeatLimit
		}
		sum += wait
	}
	return sum
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// silence is the requests of ours that the peers have not answered, by the uniqueid of their IKE_SA. IKE has one request
// under way at a time (RFC 7296 section 2.3 with a window of 1, as charon has it).
type silence map[string]request

type request struct {
	connection string
	sent       time.Time
	repeats    int
}

var repetition = regexp.MustCompile(`^(?:sending )?retransmit (\d+) of request (?:with )?message ID `)

// note takes in a line of charon's log. Only from its first repetition on is a request silence.
func (s silence) note(line *vici.Message, at time.Time) {
	id, msg := line.Get("ikesa-uniqueid"), line.Get("msg")
	if strings.HasPrefix(msg, "parsed ") {
		if _, waits := s[id]; waits && strings.Contains(msg, " response ") {
			delete(s, id)
		}
		return
	}
	if !strings.Contains(msg, "retransmit ") {
		return
	}
	m := repetition.FindStringSubmatch(msg)
	if m == nil {
		return
	}
	n, _ := strconv.Atoi(m[1]) // the pattern lets digits through only
	r, known := s[id]
	if !known || n <= r.repeats { // new, or the first that this process hears of
		r = request{connection: line.Get("ikesa-name"), sent: at.Add(-repeated(n))}
	}
	r.repeats = n
	s[id] = r
}

// patience answers how long a request of the connection's IKE_SA may stay unanswered (api-contract section 8, DPD facts).
func (c *connection) patience() time.Duration {
	switch {
	case !c.established || c.spec.IKE.Version == "v1": // IKEv1's DPD has a timeout of its own in charon
		return firstPatience
	case c.spec.DPD.Action == "disabled":
		return plainPatience
	}
	return time.Duration(c.spec.DPD.Timeout) * time.Second
}

func (r *router) patience(id string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.conns[id]; c != nil {
		return c.patience()
	}
	return plainPatience
}

// endSilent gives up the IKE_SAs whose peer has been silent for too long, and answers when to look again.
func (s *session) endSilent() (again time.Time) {
	for id, request := range s.silence {
		limit := request.sent.Add(s.r.patience(request.connection))
		if limit.After(time.Now()) {
			if again.IsZero() || limit.Before(again) {
				again = limit
			}
			continue
		}
		if err := s.giveUp(context.Background(), id, request); err != nil {
			s.r.g.log.Warn("end an SA whose peer is silent", "router", s.r.id, "connection", request.connection, "err", err)
		}
	}
	return again
}

// giveUp ends an IKE_SA whose peer is silent, unless its answer has just come. One that has ended meanwhile, as an attempt does
// when its connection is changed, says nothing of the connection as it is now; charon tells of no such end.
func (s *session) giveUp(ctx context.Context, id string, request request) error {
	which := vici.NewMessage().Set("ike-id", id)
	there := false
	err := s.conn.Stream(ctx, "list-sas", "list-sa", which, func(*vici.Message) error {
		there = true
		return nil
	})
	s.readLog()
	if now, waits := s.silence[id]; !waits || now.sent.After(request.sent) {
		return err
	}
	delete(s.silence, id)
	if err != nil || !there {
		return err
	}
	s.r.gaveUp(request.connection, request.repeats)
	return s.callLoosely(ctx, "terminate", which.Set("force", "yes").Set("timeout", "-1").Set("loglevel", "-1"))
}

// gaveUp says what charon itself would say.
func (r *router) gaveUp(id string, repeats int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.conns[id]
	if c == nil {
		return
	}
	f, _ := classify("giving up after "+strconv.Itoa(repeats)+" retransmits", circumstances{established: c.established, up: c.state == vpn.StateUp})
	r.noteFinding(c, f, r.g.now())
	r.publish(false)
}
