package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

// Argon is the cost of one password hash.
type Argon struct {
	Time    uint32 // passes
	Memory  uint32 // KiB
	Threads uint8
}

// DefaultArgon is OWASP's second choice for argon2id (19 MiB, 2 passes): about 30 ms on a small server's core.
func DefaultArgon() Argon { return Argon{Time: 2, Memory: 19 * 1024, Threads: 1} }

// Bounds of what is believed of a stored hash, so that a damaged row cannot ask for all memory.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonTime   = 64
	keyLength      = 32
	saltLength     = 16
)

// hashing bounds how many hashes are computed at once: each takes Memory and a whole core.
const hashing = 2

// verifiedFor is how long a verified password is believed without computing its hash again.
const (
	verifiedFor = 5 * time.Minute
	maxVerified = 10_000
)

// hasher makes and checks argon2id hashes in their usual text form ($argon2id$v=19$m=…,t=…,p=…$salt$hash).
type hasher struct {
	cost  Argon
	rand  io.Reader
	now   func() time.Time
	slots chan struct{}
	dummy string // what a password is compared with when there is no user

	key      [32]byte // of this process only
	mu       sync.Mutex
	verified map[[32]byte]time.Time // digest of user, stored hash and password -> until when
}

func newHasher(cost Argon, random io.Reader, now func() time.Time) (*hasher, error) {
	if cost == (Argon{}) {
		cost = DefaultArgon()
	}
	h := &hasher{cost: cost, rand: random, now: now, slots: make(chan struct{}, hashing), verified: map[[32]byte]time.Time{}}
	if _, err := io.ReadFull(random, h.key[:]); err != nil {
		return nil, fmt.Errorf("random key: %w", err)
	}
	var err error
	h.dummy, err = h.hash(context.Background(), "")
	return h, err
}

// hash returns the text form for a new password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltLength)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("random salt: %w", err)
	}
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	key := argon2.IDKey([]byte(password), salt, h.cost.Time, h.cost.Memory, h.cost.Threads, keyLength)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.Memory, h.cost.Time, h.cost.Threads, b64(salt), b64(key)), nil
}

func (h *hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hasher) leave() { <-h.slots }

// digest names a verification. It is useless without this process's key, and changes with the stored hash.
func (h *hasher) digest(user, stored, password string) (d [32]byte) {
	m := hmac.New(sha256.New, h.key[:])
	for _, s := range []string{user, stored, password} {
		fmt.Fprintf(m, "%d:%s", len(s), s)
	}
	m.Sum(d[:0])
	return d
}

// known says that the same was verified a short time ago.
func (h *hasher) known(d [32]byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.verified[d]
	if ok && !h.now().Before(until) {
		delete(h.verified, d)
		return false
	}
	return ok
}

func (h *hasher) remember(d [32]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if len(h.verified) >= maxVerified {
		for k, until := range h.verified {
			if !now.Before(until) || len(h.verified) >= maxVerified {
				delete(h.verified, k)
			}
		}
	}
	h.verified[d] = now.Add(verifiedFor)
}

// verify compares a password with a stored hash in constant time. An empty stored hash costs as much, and never matches.
func verify(stored, dummy, password string) (bool, error) {
	use := stored
	if use == "" {
		use = dummy
	}
	p, salt, want, err := parseHash(use)
	if err != nil {
		return false, err
	}
	got := argon2.IDKey([]byte(password), salt, p.Time, p.Memory, p.Threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && stored != "", nil
}

var errHash = errors.New("the stored password hash is damaged")

func parseHash(text string) (p Argon, salt, key []byte, err error) {
	part := strings.Split(text, "$")
	if len(part) != 6 || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, errHash
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Time, &p.Threads); err != nil {
		return p, nil, nil, errHash
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(part[4])
	key, keyErr := base64.RawStdEncoding.DecodeString(part[5])
	sane := p.Time > 0 && p.Time <= maxArgonTime && p.Threads > 0 && p.Memory <= maxArgonMemory && len(key) == keyLength
	if saltErr != nil || keyErr != nil || !sane {
		return p, nil, nil, errHash
	}
	return p, salt, key, nil
}
