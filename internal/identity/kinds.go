package identity

// KindUser is the kind of the rows whose sealed secret is a password's hash.
const KindUser = kindUser
