package server

import (
	"context"
	"fmt"

	"culvert/internal/identity"
	"culvert/internal/keyring"
	"culvert/internal/resource"
	"culvert/internal/vpn"
)

// Reseal seals every secret at rest anew that was not sealed by the primary key, all in one change, and counts them.
func Reseal(ctx context.Context, st resource.Store, keys *keyring.Keyring) (n int, err error) {
	purposes := map[string]string{vpn.KindConnection: "psk", identity.KindUser: identity.PasswordPurpose,
		identity.KindCredential: identity.CredentialPurpose}
	_, err = st.Change(ctx, func(tx resource.Tx) error {
		n = 0
		for kind, purpose := range purposes {
			rows, err := outdated(ctx, tx, kind, keys)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if err := reseal(ctx, tx, row, purpose, keys); err != nil {
					return fmt.Errorf("seal %s %s anew: %w", kind, row.ID, err)
				}
			}
			n += len(rows)
		}
		return nil
	})
	return n, err
}

// outdated are whole rows whose secret was sealed by an older key.
func outdated(ctx context.Context, tx resource.Tx, kind string, keys *keyring.Keyring) (rows []resource.Row, err error) {
	ids := []string{}
	err = tx.Find(ctx, resource.Query{Kind: kind}, func(r *resource.Row) error {
		if r.Sealed != nil && keys.NeedsReseal(r.Sealed) {
			ids = append(ids, r.ID)
		}
		return nil
	})
	for _, id := range ids {
		row, e := tx.Get(ctx, kind, id)
		if e != nil {
			return nil, e
		}
		rows = append(rows, row)
	}
	return rows, err
}

func reseal(ctx context.Context, tx resource.Tx, row resource.Row, purpose string, keys *keyring.Keyring) error {
	clear, err := keys.Open(purpose, row.ID, row.Sealed)
	if err != nil {
		return err
	}
	if row.Sealed, err = keys.Seal(purpose, row.ID, clear); err != nil {
		return err
	}
	row.Refs = nil
	return tx.Update(ctx, row)
}
