// Package dataplane tests what tunnels do, by the binary with real peers and packets on real links: that each reason is
// right, that each attribute has an effect, that nothing leaks and nothing is lost. It prints tables; docs/dataplane.md has
// those of the last run.
package dataplane
