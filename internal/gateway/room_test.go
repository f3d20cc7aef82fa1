package gateway

import (
	"strings"
	"testing"
)

// TestRoom: a new charon gets room for packets that come while it has no CPU time, and nobody who starts later must.
func TestRoom(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const router = "aaaaaac8-1111-4111-8111-111111111111"
	runDir := tempDir(t)
	removeAfter(t, runDir, router)
	newFixture(t, runDir).set(testSpec(router))
	in := []string{"ip", "netns", "exec", NamespaceName(router)}
	sockets := output(t, append(in, "ss", "-H", "-u", "-a", "-n", "-m")...)
	if all, large := strings.Count(sockets, "skmem:"), strings.Count(sockets, ",rb8388608,"); all < 2 || large != all { // IPv4, and IPv6 where there is any
		t.Errorf("%d of %d UDP sockets have room for 4 MiB:\n%s", large, all, sockets)
	}
	if testPlane() != Userland {
		return
	}
	if link := output(t, append(in, "ip", "-o", "link", "show", tunDevice)...); !strings.Contains(link, " qlen 10000\\") {
		t.Errorf("%s", link)
	}
}
