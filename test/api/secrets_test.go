package api

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"culvert/internal/client"
	"culvert/internal/server"
	"culvert/internal/vpntest"
)

// TestSealedAtRest: nothing in the data folder shows a pre-shared key, neither the first nor the one that replaced it (D4).
func TestSealedAtRest(t *testing.T) {
	dir := ""
	srv := vpntest.Start(t, vpntest.Options{Set: func(c *server.Config) { dir = c.Data }})
	_, conn := tunnel(t, srv, layScene(t, srv))
	put(t, srv, conn, client.Object{"psk": "mM4-nN5_oO6", "description": "a text that must be found"})
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, psk := range []string{"kT7-wq2Lz9_Xm", "mM4-nN5_oO6"} {
			if bytes.Contains(b, []byte(psk)) {
				t.Errorf("%s shows a pre-shared key", filepath.Base(path))
			}
		}
		found = found || bytes.Contains(b, []byte("a text that must be found"))
		return err
	})
	if err != nil || !found {
		t.Errorf("the search did not see the database: %v", err)
	}
}
