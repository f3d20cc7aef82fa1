package keyring_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"culvert/internal/keyring"

	"pgregory.net/rapid"
)

func open(t testing.TB, path string) *keyring.Keyring {
	t.Helper()
	k, err := keyring.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedOpensOnlyInItsPlace(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.json"))
	rapid.Check(t, func(t *rapid.T) {
		purpose, id := rapid.StringMatching(`[a-z_]{1,12}`).Draw(t, "purpose"), rapid.String().Draw(t, "id")
		secret := rapid.SliceOf(rapid.Byte()).Draw(t, "secret")
		sealed, err := k.Seal(purpose, id, secret)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(purpose, id, sealed); err != nil || !bytes.Equal(got, secret) {
			t.Fatalf("open: %q, %v", got, err)
		}
		for _, place := range [][2]string{{purpose, id + "x"}, {purpose + "x", id}} {
			if _, err := k.Open(place[0], place[1], sealed); !errors.Is(err, keyring.ErrSealed) {
				t.Fatalf("opened at %q: %v", place, err)
			}
		}
		sealed[rapid.IntRange(0, len(sealed)-1).Draw(t, "at")] ^= 1
		if _, err := k.Open(purpose, id, sealed); !errors.Is(err, keyring.ErrSealed) {
			t.Fatalf("a changed ciphertext: %v", err)
		}
	})
}

func TestFileOutlivesTheProcessAndIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	sealed, err := open(t, path).Seal("psk", "1", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, path).Open("psk", "1", sealed); err != nil || string(got) != "secret" {
		t.Fatalf("after a restart: %q, %v", got, err)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	if left, _ := filepath.Glob(path + ".*"); left != nil {
		t.Errorf("left behind: %v", left)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keyring.Open(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestBrokenFileIsNotReplacedNorShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(`{"primaryKeyId": "hunter2"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := keyring.Open(path)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("%v", err)
	}
	if b, _ := os.ReadFile(path); !bytes.Contains(b, []byte("hunter2")) {
		t.Error("the file was replaced")
	}
}

func TestRotationIsSeenByARunningServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	server, cli := open(t, path), open(t, path)
	before, _ := server.Seal("psk", "1", []byte("old"))
	if err := cli.Rotate(); err != nil {
		t.Fatal(err)
	}
	if !cli.NeedsReseal(before) || server.NeedsReseal(before) || cli.Keys() != 2 {
		t.Error("the rotated keyring must ask for the old row, the other not yet")
	}
	after, err := cli.Seal("psk", "1", []byte("new"))
	if err != nil || cli.NeedsReseal(after) {
		t.Fatalf("seal: %v", err)
	}
	for want, sealed := range map[string][]byte{"old": before, "new": after} {
		for name, k := range map[string]*keyring.Keyring{"server": server, "cli": cli} {
			if got, err := k.Open("psk", "1", sealed); err != nil || string(got) != want {
				t.Errorf("%s opens %q: %q, %v", name, want, got, err)
			}
		}
	}
	if !server.NeedsReseal(before) {
		t.Error("the server did not take the new primary key")
	}
}

func TestManyProcessesStartAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	rings := make([]*keyring.Keyring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			k, err := keyring.Open(path)
			if err == nil {
				err = k.Rotate()
			}
			if err != nil {
				t.Error(err)
			}
			rings[i] = k
		})
	}
	wg.Wait()
	if n := open(t, path).Keys(); n != 9 {
		t.Fatalf("%d keys, want 1 and 8 rotations", n)
	}
	for _, a := range rings {
		sealed, _ := a.Seal("p", "i", []byte("x"))
		for _, b := range rings {
			if _, err := b.Open("p", "i", sealed); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := open(b, filepath.Join(b.TempDir(), "keys.json"))
	id := "0a1b2c3d-0000-4000-8000-000000000000"
	sealed, _ := k.Seal("psk", id, []byte("sixteen-bytes-16"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open("psk", id, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
