// Package sitetest is what tests with the real program and real tunnels share: the program as a process, a head office laid
// on it through the public API, and branch offices that nobody manages at the other ends. Its tests run in a testbox. No
// type of the server may enter here.
package sitetest
