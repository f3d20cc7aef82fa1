package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"culvert/internal/resource"
)

// Sealer encrypts password hashes and tokens. Purpose and id are bound to the ciphertext.
type Sealer interface {
	Seal(purpose, id string, plaintext []byte) ([]byte, error)
	Open(purpose, id string, sealed []byte) ([]byte, error)
}

// Config is what a Service needs. Store, Sealer and Now must be set.
type Config struct {
	Store         resource.Store
	Sealer        Sealer
	Now           func() time.Time
	Rand          io.Reader     // for ids, salts and generated passwords; nil: crypto/rand
	TokenLifetime time.Duration // 0: an hour
	Argon         Argon         // zero: DefaultArgon
}

// Service knows every domain, project, user, role and token.
type Service struct {
	Config
	hasher *hasher
	limit  *failures
	tokens *tokenCache
	epoch  atomic.Pointer[epoch]
	purged atomic.Int64 // Unix second of the last purge of revocations
}

// New returns a Service on a store, which Bootstrap fills when it is empty.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Sealer == nil || c.Now == nil {
		return nil, errors.New("identity: Store, Sealer and Now must be set")
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.TokenLifetime == 0 {
		c.TokenLifetime = time.Hour
	}
	if c.TokenLifetime < 0 {
		return nil, errors.New("identity: TokenLifetime must be positive")
	}
	h, err := newHasher(c.Argon, c.Rand, c.Now)
	if err != nil {
		return nil, err
	}
	return &Service{Config: c, hasher: h, limit: newFailures(c.Now), tokens: newTokenCache()}, nil
}

// epoch says what the newest change of identity was when the store was last looked at.
type epoch struct {
	rev     int64           // of the state row, which every change of identity writes
	changed <-chan struct{} // closed when anything in the store changed since
}

// current returns the revision of the newest change of identity. It reads the store only after something changed there.
func (s *Service) current(ctx context.Context) (int64, error) {
	if e := s.epoch.Load(); e != nil {
		select {
		case <-e.changed:
		default:
			return e.rev, nil
		}
	}
	e := &epoch{}
	err := s.Store.View(ctx, func(r resource.Reader) error {
		rev, err := r.Rev(ctx)
		if err != nil {
			return err
		}
		e.changed = s.Store.Changed(rev)
		e.rev, err = stateRev(ctx, r)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("identity state: %w", err)
	}
	s.epoch.Store(e)
	return e.rev, nil
}

func stateRev(ctx context.Context, r resource.Reader) (int64, error) {
	row, err := r.Get(ctx, kindState, stateID)
	if errors.Is(err, resource.ErrNotFound) {
		return 0, nil
	}
	return row.Rev, err
}

// change runs fn as a change of identity: whatever was cached before it is no longer believed.
func (s *Service) change(ctx context.Context, fn func(resource.Tx) error) error {
	_, err := s.Store.Change(ctx, func(tx resource.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		row := resource.Row{Kind: kindState, ID: stateID, CreatedAt: resource.FormatTime(s.Now()), Doc: []byte(`{}`)}
		err := tx.Update(ctx, row)
		if errors.Is(err, resource.ErrNotFound) {
			return errNotBootstrapped
		}
		return err
	})
	return err
}

var errNotBootstrapped = errors.New("identity: the store is empty; Bootstrap it first")

// insert stores a new document.
func (s *Service) insert(ctx context.Context, tx resource.Tx, row resource.Row, v any) (err error) {
	if row.Doc, err = resource.Encode(v); err != nil {
		return err
	}
	row.CreatedAt = resource.FormatTime(s.Now())
	if err := tx.Insert(ctx, row); err != nil {
		return fmt.Errorf("insert %s: %w", row.Kind, err)
	}
	return nil
}

// newID is an id in Keystone's style: 32 hexadecimal digits.
func (s *Service) newID() (string, error) {
	b, err := s.random(16)
	return hex.EncodeToString(b), err
}

// newAuditID names a token without being one: 22 characters of base64url.
func (s *Service) newAuditID() (string, error) {
	b, err := s.random(16)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func (s *Service) random(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.Rand, b); err != nil {
		return nil, fmt.Errorf("random bytes: %w", err)
	}
	return b, nil
}
