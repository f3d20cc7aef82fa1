package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// loaded says what this router's charon has been given: for each connection a keyed digest, never the configuration
// nor the PSK. It is a file because charon outlives us and cannot be asked for all of it (VICI shows no PSK).
type loaded struct {
	path  string
	Salt  []byte            `json:"salt"`
	Conns map[string]digest `json:"conns"`
	// Peers says what names of peers were resolved to, by connection.
	Peers map[string]peerName `json:"peers,omitempty"`
}

// peerName is a peer_address and the literal that stands for it; a zero Addr where that is not known.
type peerName struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
}

// digest of a connection: Config of everything, SA of what is negotiated with the peer (PSK included).
type digest struct {
	Config string `json:"config"`
	SA     string `json:"sa"`
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
	renew bool // charon may have an SA of it by another agreement
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
			c.load = append(c.load, loading{cfg, want, known && have.SA != want.SA})
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
// or our own end in between must not leave the old note standing.
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
	psk := c.shared.Get("data")
	return digest{Config: l.mac(c.conn.String(), psk), SA: l.mac(c.sa, psk)}
}

func (l *loaded) mac(parts ...string) string {
	mac := hmac.New(sha256.New, l.Salt)
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}
