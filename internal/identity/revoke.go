package identity

import (
	"context"
	"errors"
	"time"

	"culvert/internal/resource"
)

// purgeEvery is how often revocations of expired tokens are deleted, at most.
const purgeEvery = time.Minute

// Revoke ends a valid token. A caller may end its own tokens, an admin every one.
func (s *Service) Revoke(ctx context.Context, c Caller, token string) error {
	t, err := s.Subject(ctx, c, token)
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx resource.Tx) error {
		if err := s.purge(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Get(ctx, kindRevocation, t.AuditIDs[0])
		if !errors.Is(err, resource.ErrNotFound) {
			return err // nil: somebody was faster
		}
		row := resource.Row{Kind: kindRevocation, ID: t.AuditIDs[0]}
		return s.insert(ctx, tx, row, revocation{ExpiresAt: t.ExpiresAt})
	})
}

// Subject validates another token for the caller: its own user's, or for an admin and a service anybody's. A token that is not
// valid is a 404 (Keystone's answer about X-Subject-Token).
func (s *Service) Subject(ctx context.Context, c Caller, token string) (*Token, error) {
	t, err := s.Validate(ctx, token)
	var e *Error
	if errors.As(err, &e) {
		return nil, errorf(404, "Could not find token.")
	}
	if err != nil {
		return nil, err
	}
	if t.User.ID != c.UserID && !c.Admin() && !c.has(RoleService) {
		return nil, forbidden("validate_token")
	}
	return t, nil
}

// purge deletes revocations of tokens that have expired by themselves; the oldest ones, so that no change becomes long.
func (s *Service) purge(ctx context.Context, tx resource.Tx) error {
	now, last := s.Now(), s.purged.Load()
	if now.Unix()-last < int64(purgeEvery/time.Second) || !s.purged.CompareAndSwap(last, now.Unix()) {
		return nil
	}
	var gone []string
	err := tx.Find(ctx, resource.Query{Kind: kindRevocation, Limit: 1000}, func(row *resource.Row) error {
		r, err := decode[revocation](row)
		if err == nil && !now.Before(r.ExpiresAt) {
			gone = append(gone, row.ID)
		}
		return err
	})
	for _, id := range gone {
		if err == nil {
			err = tx.Delete(ctx, kindRevocation, id)
		}
	}
	return err
}
