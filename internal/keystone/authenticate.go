package keystone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"culvert/internal/identity"
)

// maxToken is in bytes; Keystone's own are below 300, signed ones of old below 8 KiB.
const maxToken = 16 << 10

// errInvalid is Keystone's word that there is no such token, or none that is still valid.
var errInvalid = errors.New("Keystone does not know the token")

// Authenticate says who a token belongs to, with the roles that Keystone answers: implied ones included. What Keystone
// said is believed for a minute, or until the token ends; so long a revoked token goes on. While Keystone is away, tokens
// that it confirmed within that minute go on too, and all others are a 503.
func (k *Keystone) Authenticate(ctx context.Context, token string) (identity.Caller, error) {
	if len(token) > maxToken {
		return identity.Caller{}, refused()
	}
	key := sha256.Sum256([]byte(token))
	if who, ok := k.cache.get(key, k.Now()); ok {
		return who.answer()
	}
	v, err, _ := k.flights.Do(hex.EncodeToString(key[:]), func() (any, error) {
		who, err := k.validate(context.WithoutCancel(ctx), token)
		if err != nil && !errors.Is(err, errInvalid) {
			return nil, err
		}
		k.cache.put(key, who, k.Now())
		return who, nil
	})
	if err != nil {
		return identity.Caller{}, err
	}
	return v.(verdict).answer()
}

// verdict is what Keystone said of a token.
type verdict struct {
	valid   bool
	caller  identity.Caller
	expires time.Time // of the token
}

func (v verdict) answer() (identity.Caller, error) {
	if !v.valid {
		return identity.Caller{}, refused()
	}
	return v.caller, nil
}

func refused() error {
	return &identity.Error{Code: http.StatusUnauthorized, Message: "The token is not valid."}
}

// document is what we read of a token (Keystone v3, "Validate and show information for token").
type document struct {
	ExpiresAt time.Time       `json:"expires_at"`
	User      tokens.User     `json:"user"`
	Project   *tokens.Project `json:"project"`
	Domain    *tokens.Domain  `json:"domain"`
	Roles     []tokens.Role   `json:"roles"`
}

func (k *Keystone) validate(ctx context.Context, token string) (v verdict, err error) {
	provider, err := k.Login(ctx)
	if err != nil {
		return v, err
	}
	client := &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: k.URL + "/"}
	var doc document
	err = k.guarded(func() error {
		answer := tokens.Get(ctx, client, token)
		switch {
		case gophercloud.ResponseCodeIs(answer.Err, http.StatusNotFound), gophercloud.ResponseCodeIs(answer.Err, http.StatusBadRequest):
			return errInvalid
		case answer.Err != nil:
			return brief(answer.Err)
		}
		return answer.ExtractInto(&doc)
	})
	if err != nil {
		return v, err
	}
	return verdict{valid: k.Now().Before(doc.ExpiresAt), caller: doc.caller(), expires: doc.ExpiresAt}, nil
}

// caller has its roles in small letters: to OpenStack's policies Admin and admin are one role.
func (d document) caller() identity.Caller {
	c := identity.Caller{UserID: d.User.ID, UserName: d.User.Name}
	if d.Project != nil {
		c.ProjectID = d.Project.ID
	}
	if d.Domain != nil {
		c.DomainID = d.Domain.ID
	}
	for _, r := range d.Roles {
		c.Roles = append(c.Roles, strings.ToLower(r.Name))
	}
	return c
}
