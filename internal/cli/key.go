package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"culvert/internal/keyring"
	"culvert/internal/server"
	"culvert/internal/store"
)

type keyCmd struct {
	Rotate rotateCmd `cmd:"" help:"Make a new primary key and seal every secret at rest anew with it."`
}

type rotateCmd struct {
	dataFlags
}

// Help is shown by culvert key rotate --help.
func (rotateCmd) Help() string {
	return `The server may be running: it reads the new key when it first meets it. The old keys stay in the keyset file, because
logins that were sealed with them are still valid and backups may hold rows that were. No tunnel notices.`
}

func (c *rotateCmd) Run(e *env) error {
	path := filepath.Join(c.Data, "keyset.json")
	if _, err := os.Stat(path); err != nil { // opening it would make a new one
		return fmt.Errorf("no server has its data in this folder: %w", err)
	}
	keys, err := keyring.Open(path)
	if err != nil {
		return err
	}
	st, err := store.Open(e, store.Config{URL: c.Database, Dir: c.Data, Log: e.log})
	if err != nil {
		return err
	}
	defer st.Close()
	if err := keys.Rotate(); err != nil {
		return err
	}
	n, err := server.Reseal(e, st, keys)
	if err != nil {
		return err
	}
	were := "were"
	if n == 1 {
		were = "was"
	}
	_, err = fmt.Fprintf(e.out, "The keyset has %s; %s %s sealed anew with the newest.\n", count(keys.Keys(), "key"), count(n, "secret"), were)
	return err
}
