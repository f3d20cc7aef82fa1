package identity

import (
	"context"

	"culvert/internal/resource"
)

// remove deletes a row after all that means nothing without it: role assignments, application credentials, and of a domain
// its users and projects.
func remove(ctx context.Context, tx resource.Tx, kind, id string) error {
	if _, err := tx.Get(ctx, kind, id); err != nil {
		return found(err, kind, id)
	}
	lost, err := removeUsers(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := tx.Delete(ctx, kind, id); err != nil {
		return err
	}
	if kind != kindRole {
		return nil
	}
	for _, a := range lost {
		if err := prune(ctx, tx, a.UserID, a.ProjectID); err != nil {
			return err
		}
	}
	return nil
}

// removeUsers deletes the rows that refer to id, and returns the assignments among them. They come ordered by kind, so that of a
// domain the assignments are gone before the users that have them.
func removeUsers(ctx context.Context, tx resource.Tx, id string) (lost []Assignment, err error) {
	refs, err := tx.Users(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		switch ref.Kind {
		case kindUser, kindProject:
			err = remove(ctx, tx, ref.Kind, ref.ID)
		case kindAssignment:
			var a *Assignment
			if a, err = get[Assignment](ctx, tx, ref.Kind, ref.ID); err == nil {
				lost = append(lost, *a)
				err = tx.Delete(ctx, ref.Kind, ref.ID)
			}
		case kindCredential:
			err = tx.Delete(ctx, ref.Kind, ref.ID)
		}
		if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// prune deletes the user's application credentials on a project that name a role which the user no longer has there.
func prune(ctx context.Context, tx resource.Tx, user, project string) error {
	if project == "" {
		return nil
	}
	all, err := credentialsOf(ctx, tx, user)
	if err != nil {
		return err
	}
	have, err := rolesOn(ctx, tx, user, Target{ProjectID: project})
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.ProjectID == project && !c.covered(have) {
			if err := tx.Delete(ctx, kindCredential, c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
