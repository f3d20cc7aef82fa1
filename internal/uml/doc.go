// Package uml boots a kernel with ESP and AH as a guest of a test, on machines whose own kernel has none, without virtualisation:
// Debian's user-mode-linux, which has no nftables for IP, or, some three times slower, Debian's own kernel in qemu's emulation,
// which has (Config.Emulated). It is for tests only.
//
// The guest's root is the host's, seen through an overlay whose upper layer is in the guest's memory: every path and program
// of the host is there, and nothing that the guest writes reaches the host's disk. Its first process is the test binary
// itself (Main), which runs programs on the test's behalf; they talk over a line of their own. The guest is a process of the
// host, with a PID namespace of its own, and ends with the process that started it, however that ends.
package uml
