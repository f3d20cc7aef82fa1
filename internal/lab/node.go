// Package lab gives tests and the demo the other side of a gateway: a branch office that nobody manages (plain
// strongSwan with a hand-written swanctl.conf, driven by swanctl) and plain hosts on a network, each in a network
// namespace of its own. It knows nothing of package gateway and may not import it, nor testing: the demo uses it too.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// HostConfig is a namespace with one interface, eth0, on a host bridge.
type HostConfig struct {
	Name    string         // of the namespace; at most 11 bytes, since its link on the host is "gt-" and the name
	Bridge  string         // host bridge to attach to; made when it is missing
	MTU     int            // 0: 1500
	Address []netip.Prefix // of eth0
	Gateway []netip.Addr   // next hops of the default routes; may be empty
}

// Host is a running one. Close it.
type Host struct{ cfg HostConfig }

// StartHost makes the namespace and attaches it. A namespace of that name from an earlier run is replaced.
func StartHost(ctx context.Context, cfg HostConfig) (*Host, error) {
	if len(cfg.Name) > 11 {
		return nil, fmt.Errorf("host %s: the name is longer than 11 bytes", cfg.Name)
	}
	h := &Host{cfg}
	if err := h.Close(); err != nil {
		return nil, err
	}
	if err := h.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("host %s: %w", cfg.Name, err), h.Close())
	}
	return h, nil
}

func (h *Host) link() string { return "gt-" + h.cfg.Name }

// Namespace answers the name of the network namespace, as in `ip netns`.
func (h *Host) Namespace() string { return h.cfg.Name }

func (h *Host) start(ctx context.Context) error {
	outside := []string{"netns add " + h.cfg.Name}
	if _, err := os.Stat("/sys/class/net/" + h.cfg.Bridge); err != nil {
		if err := addBridge(ctx, h.cfg.Bridge); err != nil {
			return err
		}
	}
	mtu := h.cfg.MTU
	if mtu == 0 {
		mtu = 1500
	}
	outside = append(outside,
		fmt.Sprintf("link add %s mtu %d type veth peer name eth0 mtu %d netns %s", h.link(), mtu, mtu, h.cfg.Name),
		"link set "+h.link()+" master "+h.cfg.Bridge+" up")
	if err := ip(ctx, "", outside...); err != nil {
		return err
	}
	inside := []string{"link set lo up", "link set eth0 up"}
	for _, a := range h.cfg.Address {
		inside = append(inside, fmt.Sprintf("addr add %s dev eth0%s", a, nodad(a.Addr())))
	}
	for _, gw := range h.cfg.Gateway {
		inside = append(inside, fmt.Sprintf("route add default via %s dev eth0", gw))
	}
	return ip(ctx, h.cfg.Name, inside...)
}

// addBridge makes a bridge that the machine itself takes no part in: it answers no ARP there for its own addresses.
func addBridge(ctx context.Context, name string) error {
	if err := ip(ctx, "", "link add "+name+" type bridge mcast_snooping 0", "link set "+name+" up"); err != nil {
		return err
	}
	for setting, value := range map[string]string{"ipv4/conf/%s/arp_ignore": "8", "ipv4/conf/%s/rp_filter": "1", "ipv6/conf/%s/disable_ipv6": "1"} {
		if err := os.WriteFile("/proc/sys/net/"+fmt.Sprintf(setting, name), []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("bridge %s: %w", name, err)
		}
	}
	return nil
}

// Close removes the namespace and its link, and the bridge where nothing else is attached to it. Closing twice is no
// error.
func (h *Host) Close() error {
	ctx := context.Background()
	if _, err := os.Stat("/sys/class/net/" + h.link()); err == nil {
		if err := ip(ctx, "", "link del "+h.link()); err != nil {
			return err
		}
	}
	if _, err := os.Stat("/run/netns/" + h.cfg.Name); err == nil {
		if err := ip(ctx, "", "netns del "+h.cfg.Name); err != nil {
			return err
		}
	}
	ports, err := os.ReadDir("/sys/class/net/" + h.cfg.Bridge + "/brif")
	if err == nil && len(ports) == 0 {
		return ip(ctx, "", "link del "+h.cfg.Bridge)
	}
	return nil
}

func nodad(a netip.Addr) string {
	if a.Is6() {
		return " nodad"
	}
	return ""
}

// ip runs commands of ip(8), in a namespace unless that is "".
func ip(ctx context.Context, namespace string, commands ...string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	return run(cmd)
}

// run adds what a program said to its error.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
