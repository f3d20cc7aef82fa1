package identity

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"culvert/internal/resource"
)

// maxToken is more than any token of ours takes, in characters.
const maxToken = 1024

// Token is a valid token with everything that it stands for now. It is shared: do not change it.
type Token struct {
	Methods             []string
	User                User
	UserDomain          Domain
	Project             *Project // nil unless scoped to a project
	ProjectDomain       *Domain
	Domain              *Domain // nil unless scoped to a domain
	System              bool
	Roles               []Role // with the implied ones; empty when unscoped
	IssuedAt, ExpiresAt time.Time
	AuditIDs            []string // its own, then that of the token it was made from

	// Credential is the application credential that the token was got with, nil without one: its roles are all there are.
	Credential *Credential

	caller Caller
	claims claims
}

// Operator is the token of whoever holds the data folder: an admin without a user, for the command line. It has no text.
func Operator() *Token {
	return &Token{User: User{DomainID: DefaultDomainID}, caller: Caller{Roles: []string{RoleAdmin}}}
}

// Caller is what the token says about who calls.
func (t *Token) Caller() Caller { return t.caller }

// claims are what is sealed in a token: who and for what, never with which rights.
type claims struct {
	User       string   `json:"u"`
	Generation int64    `json:"g"`
	Project    string   `json:"p,omitempty"`
	Domain     string   `json:"d,omitempty"`
	System     bool     `json:"s,omitempty"`
	Credential string   `json:"c,omitempty"`
	Methods    []string `json:"m"`
	Issued     int64    `json:"i"` // µs since 1970
	Expires    int64    `json:"e"` // likewise
	Audit      []string `json:"a"`
}

func (c *claims) expired(now time.Time) bool { return now.UnixMicro() >= c.Expires }

func (c *claims) target() (Target, bool) {
	t := Target{ProjectID: c.Project, DomainID: c.Domain, System: c.System}
	return t, t != Target{}
}

func (s *Service) sealToken(c claims) (string, error) {
	b, err := resource.Encode(c)
	if err != nil {
		return "", err
	}
	if b, err = s.Sealer.Seal(tokenPurpose, "", b); err != nil {
		return "", fmt.Errorf("seal a token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

var tokenEncoding = base64.RawURLEncoding.Strict() // one text for one token

// openToken returns false for whatever this server did not seal.
func (s *Service) openToken(token string) (c claims, ok bool) {
	if token == "" || len(token) > maxToken {
		return c, false
	}
	b, err := tokenEncoding.DecodeString(token)
	if err != nil {
		return c, false
	}
	if b, err = s.Sealer.Open(tokenPurpose, "", b); err != nil {
		return c, false
	}
	return c, json.Unmarshal(b, &c) == nil
}
