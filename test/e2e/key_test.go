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
	"culvert/internal/sitetest"
)

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	s := sitetest.NewSite(t)
	c := s.NewTunnel(sitetest.NewOffice(0), nil)
	c.AwaitActive()
	spis, log := c.Settle(), s.CharonLog()
	password := s.Password()
	rotate := func(keys string) {
		t.Helper()
		code, out := sitetest.Run(t, nil, "key", "rotate", "--data", s.Data)
		if code != 0 || !strings.Contains(out, "has "+keys+" keys; 2 secrets") { // a PSK and a password
			t.Errorf("key rotate: exit code %d and:\n%s\nwant %s keys and 2 secrets", code, out, keys)
		}
		if strings.Contains(out, sitetest.PSK) {
			t.Error("key rotate prints a pre-shared key")
		}
	}
	whole := func(what string) {
		t.Helper()
		if o := s.Call("GET", c.Path(), nil)["ipsec_site_connection"].(client.Object); o["psk"] != sitetest.PSK {
			t.Errorf("%s: the psk is %v", what, o["psk"])
		}
		s.Login(password)
		c.AwaitActive()
		c.KeepsSPIs(what, spis)
	}
	rotate("2")
	whole("rotated on a running server")
	rotate("3")
	whole("rotated again")
	other := s.NewTunnel(sitetest.NewOffice(1), nil) // sealed by the server after it met the new key
	other.AwaitActive()
	s.Remove(other.Path())
	s.Restart(syscall.SIGTERM)
	whole("restarted")
	s.End(syscall.SIGTERM)
	rotate("4")
	s.Start()
	whole("rotated on a stopped server")
	s.End(syscall.SIGTERM)
	forgetOldKeys(s.Server)
	s.Start()
	s.API = s.Login(password) // the token was sealed by an old key
	whole("only the newest key is left")
	if touched := regexp.MustCompile(`(?m)^.*(vici initiate|terminate).*` + c.ID + `.*$`).FindString(s.CharonLog()[len(log):]); touched != "" {
		t.Errorf("a rotation touched the tunnel: %s", touched)
	}
}

// forgetOldKeys leaves the primary key alone in the keyset: what it cannot open was not sealed anew.
func forgetOldKeys(s *sitetest.Server) {
	s.T.Helper()
	path := filepath.Join(s.Data, "keyset.json")
	text, err := os.ReadFile(path)
	if err != nil {
		s.T.Fatal(err)
	}
	var keyset struct {
		PrimaryKeyID uint32           `json:"primaryKeyId"`
		Key          []map[string]any `json:"key"`
	}
	if err := json.Unmarshal(text, &keyset); err != nil {
		s.T.Fatal(err)
	}
	keyset.Key = slices.DeleteFunc(keyset.Key, func(k map[string]any) bool { return k["keyId"] != float64(keyset.PrimaryKeyID) })
	if len(keyset.Key) != 1 {
		s.T.Fatalf("the keyset has %d primary keys", len(keyset.Key))
	}
	if text, err = json.Marshal(keyset); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		s.T.Fatal(err)
	}
}

func TestKeyRotationOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out := sitetest.Run(t, nil, "key", "rotate", "--data", dir)
	if code != 1 || !strings.Contains(out, dir) {
		t.Errorf("in a folder without a server's data: exit code %d and:\n%s\nwant 1 and the folder's name", code, out)
	}
	if left := sitetest.Glob(t, dir+"/*"); len(left) > 0 {
		t.Errorf("it made files: %v", left)
	}
}
