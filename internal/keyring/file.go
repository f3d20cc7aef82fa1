package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"golang.org/x/sys/unix"
)

// maxFile is far above any keyset's size.
const maxFile = 1 << 20

func readFile(path string) (*keyset.Handle, stamp, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, stamp{}, fmt.Errorf("open the keyset: %w", err)
	}
	defer f.Close()
	st, err := check(f)
	if err != nil {
		return nil, st, fmt.Errorf("keyset %s: %w", path, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, st, fmt.Errorf("read the keyset: %w", err)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(b)))
	if err != nil {
		// Tink's error could show a part of the file.
		return nil, st, fmt.Errorf("keyset %s: it is not a Tink keyset in JSON", path)
	}
	return h, st, nil
}

func check(f *os.File) (stamp, error) {
	fi, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	if !fi.Mode().IsRegular() {
		return stamp{}, errors.New("it is not a regular file")
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return stamp{}, fmt.Errorf("mode %04o lets others than the owner in; chmod 600 it", fi.Mode().Perm())
	}
	return stamp{fi.ModTime(), fi.Size()}, nil
}

func statFile(path string) (stamp, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{fi.ModTime(), fi.Size()}, nil
}

// create makes a keyset of one key. When another process was faster, its file stays.
func create(path string) error {
	return locked(path, func() error {
		if _, err := os.Lstat(path); err == nil {
			return nil
		}
		return addKey(path, keyset.NewManager())
	})
}

func rotateFile(path string) error {
	return locked(path, func() error {
		h, _, err := readFile(path)
		if err != nil {
			return err
		}
		return addKey(path, keyset.NewManagerFromHandle(h))
	})
}

func addKey(path string, m *keyset.Manager) error {
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("new key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return fmt.Errorf("new key: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return fmt.Errorf("new key: %w", err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return fmt.Errorf("encode the keyset: %w", err)
	}
	return writeFile(path, b.Bytes())
}

// writeFile replaces path in one step: after a crash it is the old file or the new one, whole.
func writeFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write the keyset: %w", err)
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// locked runs fn while no other process changes a keyset in the same folder.
func locked(path string, fn func() error) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("the keyset's folder: %w", err)
	}
	defer d.Close() // gives the lock back
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the keyset's folder: %w", err)
	}
	return fn()
}
