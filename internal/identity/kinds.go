package identity

// Kinds of the rows whose sealed secret is a hash: of a password, of an application credential's secret.
const (
	KindUser       = kindUser
	KindCredential = kindCredential
)
