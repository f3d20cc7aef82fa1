// Package model holds a small model of the VPN's API, written from the contract alone, and the proof that the server agrees with
// it on every answer of random sequences of calls, on both store engines; and the fuzzing of the whole server. Nothing of
// internal/vpn, internal/crud or internal/resource may enter the model. It has no code of its own but its tests.
package model
