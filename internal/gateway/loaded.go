package gateway

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
)

// loaded says what this router's charon has been given: for each connection a keyed digest, never the configuration
// nor the PSK. It is a file because charon outlives us and cannot be asked for all of it (VICI shows no PSK).
type loaded struct {
	path  string
	Salt  []byte            `json:"salt"`
	Conns map[string]digest `json:"conns"`
	// Peers says what names of peers were resolved to, by connection.
	Peers map[string]peerName `json:"peers,omitempty"`
	// Proven says under which agreement (see childName) a connection's CHILD_SA was last rekeyed, by connection.
	Proven map[string]string `json:"proven,omitempty"`
	// Parked are the connections that are not to be initiated again.
	Parked map[string]parking `json:"parked,omitempty"`
}

// peerName is a peer_address and the literal that stands for it; a zero Addr where that is not known.
type peerName struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
}

// digest of all of a connection's configuration, PSK included. An empty one stands for whatever charon may have.
type digest struct {
	Config string `json:"config"`
}

// readLoaded reads the file; a missing or broken one means that nothing is known to be loaded.
func readLoaded(f folder) (*loaded, error) {
	l := &loaded{path: f.file("loaded.json")}
	text, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("what charon has loaded: %w", err)
	}
	if err != nil || json.Unmarshal(text, l) != nil || len(l.Salt) == 0 {
		l.Salt = make([]byte, 32)
		rand.Read(l.Salt) // never fails (crypto/rand)
		l.Conns = nil
	}
	if l.Conns == nil {
		l.Conns = map[string]digest{}
	}
	return l, nil
}

// changes are what a Spec asks of charon.
type changes struct {
	gone []string  // to be unloaded
	load []loading // new, or other than what charon has
	same []string
}

// loading is one connection that charon is to be given.
type loading struct {
	cfg   *connConfig
	want  digest
	known bool // charon has it, and perhaps SAs of it
}

// touched says that charon may have SAs of another configuration than the one that it was just given.
func (c changes) touched() bool {
	return slices.ContainsFunc(c.load, func(l loading) bool { return l.known })
}

func (l *loaded) compare(wanted []*connConfig) (c changes) {
	ids := make(map[string]bool, len(wanted))
	for _, cfg := range wanted {
		ids[cfg.id] = true
		want := l.digest(cfg)
		have, known := l.Conns[cfg.id]
		if known && have == want {
			c.same = append(c.same, cfg.id)
		} else {
			c.load = append(c.load, loading{cfg, want, known})
		}
	}
	for id := range l.Conns {
		if !ids[id] {
			c.gone = append(c.gone, id)
		}
	}
	return c
}

// doubt notes, before charon is told anything, that nobody knows what it has of these connections: an error, a timeout
// or our own end in between must not leave the old note standing. They are then loaded again, which disturbs no SA: the
// names of the SAs say whether they are of the configuration that is wanted.
func (l *loaded) doubt(c changes) error {
	for _, id := range c.gone {
		l.Conns[id] = digest{}
	}
	for _, one := range c.load {
		l.Conns[one.cfg.id] = digest{}
	}
	return l.write()
}

func (l *loaded) write() error {
	text, err := json.Marshal(l)
	if err == nil {
		err = writeFile(l.path, text)
	}
	if err != nil {
		return fmt.Errorf("note what charon has loaded: %w", err)
	}
	return nil
}

func (l *loaded) digest(c *connConfig) digest {
	mac := marker(l.Salt).mac(c.conn.String(), c.shared.Get("data"))
	return digest{Config: base64.RawStdEncoding.EncodeToString(mac)}
}
