package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"culvert/internal/client"
)

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.newTunnel(newOffice(0), nil)
	c.awaitActive()
	spis, log := c.spis(), s.charonLog()
	password := s.password()
	rotate := func(keys string) {
		t.Helper()
		code, out := run(t, nil, "key", "rotate", "--data", s.data)
		if code != 0 || !strings.Contains(out, "has "+keys+" keys; 2 secrets") { // a PSK and a password
			t.Errorf("key rotate: exit code %d and:\n%s\nwant %s keys and 2 secrets", code, out, keys)
		}
		if strings.Contains(out, psk) {
			t.Error("key rotate prints a pre-shared key")
		}
	}
	whole := func(what string) {
		t.Helper()
		if o := s.call("GET", c.path(), nil)["ipsec_site_connection"].(client.Object); o["psk"] != psk {
			t.Errorf("%s: the psk is %v", what, o["psk"])
		}
		s.login(password)
		c.awaitActive()
		c.keepsSPIs(what, spis)
	}
	rotate("2")
	whole("rotated on a running server")
	rotate("3")
	whole("rotated again")
	other := s.newTunnel(newOffice(1), nil) // sealed by the server after it met the new key
	other.awaitActive()
	s.remove(other.path())
	s.restart(syscall.SIGTERM)
	whole("restarted")
	s.end(syscall.SIGTERM)
	rotate("4")
	s.start()
	whole("rotated on a stopped server")
	s.end(syscall.SIGTERM)
	s.forgetOldKeys()
	s.start()
	s.api = s.login(password) // the token was sealed by an old key
	whole("only the newest key is left")
	if touched := regexp.MustCompile(`(?m)^.*(vici initiate|terminate).*` + c.id + `.*$`).FindString(s.charonLog()[len(log):]); touched != "" {
		t.Errorf("a rotation touched the tunnel: %s", touched)
	}
}

// forgetOldKeys leaves the primary key alone in the keyset: what it cannot open was not sealed anew.
func (s *server) forgetOldKeys() {
	s.t.Helper()
	path := filepath.Join(s.data, "keyset.json")
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var keyset struct {
		PrimaryKeyID uint32           `json:"primaryKeyId"`
		Key          []map[string]any `json:"key"`
	}
	if err := json.Unmarshal(text, &keyset); err != nil {
		s.t.Fatal(err)
	}
	keyset.Key = slices.DeleteFunc(keyset.Key, func(k map[string]any) bool { return k["keyId"] != float64(keyset.PrimaryKeyID) })
	if len(keyset.Key) != 1 {
		s.t.Fatalf("the keyset has %d primary keys", len(keyset.Key))
	}
	if text, err = json.Marshal(keyset); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestKeyRotationOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out := run(t, nil, "key", "rotate", "--data", dir)
	if code != 1 || !strings.Contains(out, dir) {
		t.Errorf("in a folder without a server's data: exit code %d and:\n%s\nwant 1 and the folder's name", code, out)
	}
	if left := glob(t, dir+"/*"); len(left) > 0 {
		t.Errorf("it made files: %v", left)
	}
}
