// Package resource is what every resource of the API has in common: its head, its kind with the rules of its attributes
// read from struct tags, its errors, and the contract of the store that keeps it. It knows no HTTP, no SQL and no
// particular resource.
package resource

// Head is embedded in every resource (api-contract sections 2.1, 3 and 9).
type Head struct {
	ID          string `json:"id" api:"sort" rule:"uuid"`
	ProjectID   string `json:"project_id" api:"post sort" rule:"string 255" default:""`
	TenantID    string `json:"tenant_id" api:"post sort" rule:"string 255" default:""`
	Name        string `json:"name" api:"post put sort" rule:"name" default:""`
	Description string `json:"description" api:"post put" rule:"string 255" default:""`
	CreatedAt   string `json:"created_at" api:"sort" rule:"string 64"`
	UpdatedAt   string `json:"updated_at" api:"sort" rule:"string 64"`
	// RevisionNumber is the store revision of the last change of the resource's own attributes.
	RevisionNumber int64 `json:"revision_number" rule:"int"`
}

// Base makes every struct that embeds a Head give it away.
func (h *Head) Base() *Head { return h }

// Resource is a pointer to a struct that embeds Head.
type Resource interface{ Base() *Head }

// Of is the constraint for the pointer type of a resource struct.
type Of[T any] interface {
	*T
	Resource
}
