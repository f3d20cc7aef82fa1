package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestPickDataplane asks for each data plane on whatever kernel this is: auto says why, and a kernel without ESP that is
// forced is one line with what to do.
func TestPickDataplane(t *testing.T) {
	t.Parallel()
	needRoot(t)
	why := kernelESP()
	said := &bytes.Buffer{}
	log := slog.New(slog.NewTextHandler(said, nil))
	plane, err := pickDataplane(Auto, log)
	want := map[bool]string{true: Kernel, false: Userland}[why == nil]
	if err != nil || plane != want || !strings.Contains(said.String(), "data plane: "+want) || why != nil && !strings.Contains(said.String(), why.Error()) {
		t.Errorf("auto: %s, %v, it said %s; want %s, for %v", plane, err, said, want, why)
	}
	if plane, err := pickDataplane(Userland, log); plane != Userland || err != nil {
		t.Errorf("userland: %s, %v", plane, err)
	}
	plane, err = pickDataplane(Kernel, log)
	if why == nil {
		if plane != Kernel || err != nil {
			t.Errorf("kernel, which has ESP: %s, %v", plane, err)
		}
	} else if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "does no ESP") || !strings.Contains(err.Error(), "--dataplane") {
		t.Errorf("kernel, which has no ESP: %v; want one line that says so and what to do", err)
	}
	t.Logf("auto: %s; kernel: %v", strings.TrimSpace(said.String()), err)
}
