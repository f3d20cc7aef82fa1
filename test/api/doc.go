// Package api holds the proof of the VPN's API: whole answers to whole requests, from a whole server in the test's process,
// on both store engines. It has no code of its own but its tests.
package api
