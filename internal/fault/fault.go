// Package fault is the catalogue of what can be broken about a tunnel: each entry can really be laid, by a peer that is
// configured otherwise, by a packet filter, by a killed daemon, or through the public API, and says what status_reason must
// then answer. The sandbox shows it to people, and test/dataplane holds the gateway to it. It speaks to the server through
// the public API alone; only the laying of faults reaches further, into its own namespaces and at a router's charon.
package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/site"
)

// Fault is one way in which a tunnel is broken, and what the API must say of it.
type Fault struct {
	Name   string // kebab-case
	Broken string // what is broken, one line
	Status string // of the connection
	Code   string // of its status_reason
	// Service is the status and code of the VPN service where that is concerned too, such as "DOWN admin_down"; else "".
	Service string
	// Within is how long after the fault the answer may take.
	Within time.Duration
	// Vague says that a gateway cannot know more than the code says, and why.
	Vague   string
	Cure    *Mend    // the change through the API that ends it; nil: there is none
	Passing []string // codes that are true for a moment before
	After   []string // codes that are as true a little later

	answering bool // the peer initiates and our connection is response-only
	where     where
	alone     bool            // there is no machine at the peer's address
	peer      func(*lab.Peer) // what the peer's administrator wrote otherwise
	tunnel    func(*site.Tunnel)
	probed    string                             // last byte of probe_address in the peer's network; "": none
	before    func(context.Context, *Laid) error // with the peer there, and the connection not yet made
	event     func(context.Context, *Laid) error // with the connection ACTIVE
}

// where the connection is.
type where int

const (
	shared    where = iota // on the router that most faults share
	ownRouter              // on a router of its own
	grounded               // on a router of its own without external gateway
	offRoute               // on a router of its own whose outer network has no next hop
	hostless               // on a server that no gateway host watches
)

// How long an answer may take: that of a peer, that of a silent one after charon has given up (8 s, and a look at why),
// and that of one that falls silent (dead peer detection comes first).
const (
	soon   = 5 * time.Second
	silent = 14 * time.Second
	dead   = 16 * time.Second
)

// Catalogue is every fault, in the order of the phases of a tunnel's life.
func Catalogue() []Fault {
	all := slices.Concat(configured(), blocked(), authenticated(), proposed(), selected(), broken(), carried())
	for i := range all {
		if all[i].Status == "" {
			all[i].Status = "DOWN"
		}
		if all[i].Within == 0 {
			all[i].Within = soon
		}
	}
	return all
}

// Find answers the faults of these names, in the order of the names.
func Find(names []string) ([]Fault, error) {
	var out []Fault
	all := Catalogue()
	for _, name := range names {
		i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q%s", name, nearest(name, all))
		}
		if !slices.ContainsFunc(out, func(f Fault) bool { return f.Name == name }) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// nearest suggests names that share a word.
func nearest(name string, all []Fault) string {
	var like []string
	for _, f := range all {
		for _, word := range strings.Split(name, "-") {
			if len(word) > 2 && strings.Contains(f.Name, word) && !slices.Contains(like, f.Name) {
				like = append(like, f.Name)
			}
		}
	}
	if len(like) == 0 {
		return ""
	}
	return "; there are " + strings.Join(like, ", ")
}

// answered is the same fault where the peer initiates and our connection is response-only.
func (f Fault) answered(code string) Fault {
	f.Name += "-as-responder"
	f.Broken += ", and it initiates"
	f.Code, f.answering, f.Vague = code, true, ""
	return f
}

// ikev1 makes it an IKEv1 tunnel.
func (f Fault) ikev1() Fault {
	peer, tunnel := f.peer, f.tunnel
	f.Name += "-ikev1"
	f.Broken += " (IKEv1)"
	f.peer = func(p *lab.Peer) {
		p.Version = 1
		if peer != nil {
			peer(p)
		}
	}
	f.tunnel = func(t *site.Tunnel) {
		t.IKE["ike_version"] = "v1"
		if tunnel != nil {
			tunnel(t)
		}
	}
	return f
}

// both is a fault in both roles, with the code as initiator and that as responder.
func (f Fault) both(code string) []Fault { return []Fault{f, f.answered(code)} }

// change puts attributes of the connection.
func change(attributes client.Object) func(context.Context, *Laid) error {
	return func(ctx context.Context, l *Laid) error {
		_, err := l.site.API.Call(ctx, "PUT", l.Path(), client.Object{"ipsec_site_connection": attributes})
		return err
	}
}

// Hostless says that the fault needs a server that no gateway host watches.
func (f Fault) Hostless() bool { return f.where == hostless }
