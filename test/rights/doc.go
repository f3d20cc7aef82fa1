// Package rights holds the proof of who may do what: every role against every operation on every kind of resource, in its own
// project and in another one, as one table of whole answers; and that a pre-shared key reaches nobody who may not read it. It
// has no code of its own but its tests.
package rights
