// Package kernel tests the data plane against an independent peer: libreswan in user-mode-linux, whose kernel does ESP, at the
// other end of tunnels of the binary, which does ESP in userland here. The other direction, the gateway itself on kernel ESP, is
// TestKernelESP in internal/gateway and in test/e2e: their own scenarios, run again in a guest.
package kernel
