// Package identity knows who calls and what they may do: domains, projects, users, roles and tokens in the manner of
// Keystone v3. It knows no HTTP and none of the network's resources.
package identity

import "slices"

// Roles that mean something here; each includes the ones before it (Keystone's implied roles).
const (
	RoleReader = "reader"
	RoleMember = "member"
	RoleAdmin  = "admin"
	// RoleService is for other services: it may validate anybody's token, and includes no other role.
	RoleService = "service"
)

// Caller is who makes a request, as a valid token says.
type Caller struct {
	UserID    string
	UserName  string
	ProjectID string // "" unless the token is scoped to a project
	DomainID  string // "" unless the token is scoped to a domain
	Roles     []string
	RequestID string // X-Openstack-Request-Id of the request that is being served, "" outside of one
}

func (c Caller) has(role string) bool { return slices.Contains(c.Roles, role) }

// Admin may do everything in every project (api-contract section 2.5).
func (c Caller) Admin() bool { return c.has(RoleAdmin) }

// MayRead says whether the caller may see what the project owns, secrets excepted.
func (c Caller) MayRead(project string) bool {
	return c.Admin() || c.ProjectID != "" && c.ProjectID == project && (c.has(RoleReader) || c.has(RoleMember))
}

// MayWrite says whether the caller may change what the project owns and read its secrets (api-contract D4).
func (c Caller) MayWrite(project string) bool {
	return c.Admin() || c.ProjectID != "" && c.ProjectID == project && c.has(RoleMember)
}
