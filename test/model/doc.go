// Package model holds a small model of the VPN's API, written from the contract alone, and the proof that the server agrees with
// it on every answer of random sequences of calls, on both store engines; and the fuzzing of the whole server. The model
// knows nothing of internal/vpn, internal/crud or internal/resource; what drives it reads the store's revision and nothing else.
// It has no code of its own but its tests.
package model
