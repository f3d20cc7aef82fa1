// Package gateway makes a vpn.Spec true on this Linux machine and says what it sees as vpn.Report.
//
// The unit is the router: one network namespace, its links, addresses and default routes, an nft guard that lets no
// packet of a connection leave in clear, and one charon (strongSwan's IKE daemon) which outlives this process. Files
// config.go, algorithms.go, identity.go, guard.go, sas.go, pace.go and reason.go are pure: text and messages in and
// out, no machine. The rest touches Linux.
//
// What may not enter: HTTP, storage, anything of the API beyond the types of package vpn.
package gateway
