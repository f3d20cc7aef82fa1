package lab

import (
	"context"
	"os/exec"
	"strings"
)

// Filter replaces the packet filter of the namespace by these rules of nft(8), such as "udp dport 500 drop", in the order
// given: in holds for what arrives, before anything else looks at it, and out for what leaves.
func (h *Host) Filter(ctx context.Context, in, out []string) error {
	var text strings.Builder
	text.WriteString("table inet lab\ndelete table inet lab\ntable inet lab {\n")
	for _, chain := range []struct {
		name, hook string
		rules      []string
	}{{"in", "prerouting", in}, {"out", "output", out}} {
		text.WriteString("chain " + chain.name + " {\ntype filter hook " + chain.hook + " priority -300\n" + strings.Join(chain.rules, "\n") + "\n}\n")
	}
	text.WriteString("}\n")
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", h.Namespace(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text.String())
	return run(cmd)
}

// Cut takes the link to the outer network down, or brings it up again, as a pulled cable does.
func (h *Host) Cut(ctx context.Context, down bool) error {
	state := "up"
	if down {
		state = "down"
	}
	return ip(ctx, "", "link set "+h.link()+" "+state)
}
