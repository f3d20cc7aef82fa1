// Package keyring seals what must not be readable at rest, and the tokens: one Tink AEAD keyset (AES-256-GCM) in one file.
// It knows nothing of what it seals, and no key leaves it.
package keyring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrSealed says that a ciphertext was not made by a key of this keyring for this purpose and id, or was changed.
var ErrSealed = errors.New("cannot be opened with this keyring")

// Keyring seals with the primary key and opens with every key of its file. It is safe for concurrent use.
type Keyring struct {
	path string
	cur  atomic.Pointer[loaded]
	mu   sync.Mutex // one load or rotation at a time
}

// loaded is the keyset as it was read from the file.
type loaded struct {
	aead    tink.AEAD
	primary [prefixSize]byte
	keys    int
	stamp   stamp
}

// stamp tells one version of the file from another.
type stamp struct {
	mtime time.Time
	size  int64
}

// prefixSize is the length of what Tink writes before each ciphertext: 0x01 and the key's id.
const prefixSize = 5

// Open reads the keyset file, or makes it when there is none. A file that others than its owner may read is refused.
func Open(path string) (*Keyring, error) {
	k := &Keyring{path: path}
	err := k.Reload()
	if errors.Is(err, os.ErrNotExist) {
		if err = create(path); err == nil {
			err = k.Reload()
		}
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Reload reads the file again, so that a running server knows keys that a rotation added. Open does it by itself when it
// meets a key that it does not know.
func (k *Keyring) Reload() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.load()
}

func (k *Keyring) load() error {
	h, st, err := readFile(k.path)
	if err != nil {
		return err
	}
	l, err := newLoaded(h, st)
	if err != nil {
		return fmt.Errorf("keyset %s: %w", k.path, err)
	}
	k.cur.Store(l)
	return nil
}

func newLoaded(h *keyset.Handle, st stamp) (*loaded, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, err
	}
	p, err := h.Primary()
	if err != nil {
		return nil, err
	}
	l := &loaded{aead: a, stamp: st, keys: h.Len()}
	l.primary[0] = 1
	binary.BigEndian.PutUint32(l.primary[1:], p.KeyID())
	return l, nil
}

// Seal encrypts plaintext so that only Open with the same purpose and id returns it. The purpose holds no NUL.
func (k *Keyring) Seal(purpose, id string, plaintext []byte) ([]byte, error) {
	b, err := k.cur.Load().aead.Encrypt(plaintext, context(purpose, id))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", purpose, err)
	}
	return b, nil
}

// Open returns what Seal was given, or an error that wraps ErrSealed.
func (k *Keyring) Open(purpose, id string, sealed []byte) ([]byte, error) {
	l, ad := k.cur.Load(), context(purpose, id)
	b, err := l.aead.Decrypt(sealed, ad)
	if err == nil {
		return b, nil
	}
	if fresh := k.changed(l); fresh != nil {
		if b, err = fresh.aead.Decrypt(sealed, ad); err == nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", purpose, ErrSealed)
}

// changed returns the keyset of a file that is newer than l, else nil. A file that cannot be read now leaves things as they are.
func (k *Keyring) changed(l *loaded) *loaded {
	st, err := statFile(k.path)
	if err != nil || st == l.stamp {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.cur.Load(); now != l {
		return now
	}
	if k.load() != nil {
		return nil
	}
	return k.cur.Load()
}

// NeedsReseal says that sealed was made by another key than the primary one.
func (k *Keyring) NeedsReseal(sealed []byte) bool {
	p := k.cur.Load().primary
	return len(sealed) < prefixSize || [prefixSize]byte(sealed[:prefixSize]) != p
}

// Keys is the number of keys in the keyring.
func (k *Keyring) Keys() int { return k.cur.Load().keys }

// Rotate adds a new primary key to the file. The old keys stay, for reading.
func (k *Keyring) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := rotateFile(k.path); err != nil {
		return err
	}
	return k.load()
}

// context is the associated data: it ties a ciphertext to its place.
func context(purpose, id string) []byte {
	b := make([]byte, 0, len(purpose)+1+len(id))
	return append(append(append(b, purpose...), 0), id...)
}
