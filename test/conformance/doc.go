// Package conformance runs what nobody here wrote against the real binary: upstream's own test suites and clients, unmodified
// and out of their packages. A gate counts passes and skips, because these suites skip in silence. No type of the server may
// enter here.
package conformance
