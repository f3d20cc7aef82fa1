// Package e2e tests the program as its users meet it: the real binary as a process, driven through the public API alone,
// with real strongSwan branch offices on the other side. Its tests run in a sandbox of network, process and mount
// namespaces, so that nothing of theirs can stay on the machine, whatever happens. No type of the server may enter here.
package e2e
