package fault

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/site"
)

// espInUDP matches ESP in UDP and not IKE, which has four zero bytes there (RFC 3948 section 2).
const espInUDP = "udp dport 4500 @th,64,32 != 0"

// blocked are faults of the way to the peer before anything was negotiated.
func blocked() []Fault {
	port4500 := Fault{Name: "udp-4500-blocked", Broken: "a filter drops UDP 4500 on the way to the peer", Code: "udp_4500_blocked", Within: silent,
		peer: func(p *lab.Peer) { p.Encap = true }, before: filter([]string{"udp dport 4500 drop"}, nil)}
	return []Fault{
		{Name: "no-route", Broken: "this gateway has no route to the peer", Code: "no_route", where: offRoute, alone: true,
			tunnel: func(t *site.Tunnel) { t.PeerAddress = "203.0.113.7" }},
		{Name: "no-host", Broken: "there is no machine at peer_address", Code: "peer_unreachable", alone: true, Within: silent},
		{Name: "silent-host", Broken: "a firewall before the peer drops everything", Code: "peer_unreachable", Within: silent,
			before: filter([]string{"drop"}, nil)},
		{Name: "no-daemon", Broken: "the peer's machine runs no IKE daemon: UDP 500 is closed", Code: "peer_not_listening", Within: silent,
			before: func(_ context.Context, l *Laid) error { return l.Branch.StopCharon() }},
		{Name: "udp-500-blocked", Broken: "a filter drops UDP 500 on the way to the peer, which answers pings", Code: "udp_500_blocked", Within: silent,
			before: filter([]string{"udp dport 500 drop"}, nil)},
		port4500,
	}
}

// broken are faults that meet a tunnel that is up.
func broken() []Fault {
	gone := Fault{Name: "peer-deleted", Broken: "the peer closes the tunnel and does not come back", Code: "peer_deleted", answering: true,
		event: func(ctx context.Context, l *Laid) error { return l.Branch.Terminate(ctx, "hq") }}
	return []Fault{
		gone,
		{Name: "link-cut", Broken: "the link to the peer is cut while the tunnel is up", Code: "liveness_lost", Within: dead,
			event: func(ctx context.Context, l *Laid) error { return l.Branch.Cut(ctx, true) }},
		{Name: "peer-charon-killed", Broken: "the peer's IKE daemon is killed while the tunnel is up", Status: "ACTIVE", Code: "peer_not_listening", Within: dead,
			After: []string{"peer_not_listening"},
			event: func(_ context.Context, l *Laid) error { return l.Branch.KillCharon() }},
		{Name: "our-charon-killed", Broken: "this router's IKE daemon is killed, again and again", Code: "charon_died", where: ownRouter, event: killOurs},
	}
}

// carried are faults that leave the tunnel up and packets behind.
func carried() []Fault {
	hole := Fault{Name: "mtu-black-hole", Broken: "the path drops packets of more than 1280 bytes and says nothing", Code: "mtu_black_hole",
		before: filter([]string{"udp dport 4500 meta length > 1280 drop"}, []string{"udp sport 4500 meta length > 1280 drop"}), probed: ".1"}.mended("connection", "mtu", FromHint)
	out := Fault{Name: "one-way-out", Broken: "ESP to the peer is dropped on the way: we send, nothing comes back", Code: "one_way_traffic",
		before: filter([]string{espInUDP + " drop", "meta l4proto esp drop"}, nil), event: traffic}
	in := Fault{Name: "one-way-in", Broken: "the machines behind us answer nothing: the peer sends, nothing goes back", Code: "one_way_traffic", event: unanswered}
	quiet := Fault{Name: "probe-unanswered", Broken: "there is no machine at probe_address", Code: "probe_lost", probed: ".77"}.mended("connection", "probe_address", nil)
	all := []Fault{hole, out, in, quiet}
	for i := range all {
		all[i].Status, all[i].Within = "ACTIVE", time.Minute
	}
	return all
}

// filter drops packets at the peer's end of the path.
func filter(in, out []string) func(context.Context, *Laid) error {
	return func(ctx context.Context, l *Laid) error { return l.Branch.Filter(ctx, in, out) }
}

// traffic pings the peer's network from the head office until the end.
func traffic(_ context.Context, l *Laid) error {
	l.scene.spawn(func(ctx context.Context) error {
		_, err := l.scene.hq.Ping(ctx, addr(hqHost), l.inner, 0, 100*time.Millisecond)
		return err
	})
	return nil
}

// unanswered pings the head office from the peer's network, whose packets its machine drops.
func unanswered(ctx context.Context, l *Laid) error {
	if err := l.scene.hq.Filter(ctx, []string{"ip saddr " + l.network() + " drop"}, nil); err != nil {
		return err
	}
	l.scene.spawn(func(ctx context.Context) error {
		_, err := l.Branch.Ping(ctx, l.inner, addr(hqHost), 0, 100*time.Millisecond)
		return err
	})
	return nil
}

func closeService(ctx context.Context, l *Laid) error {
	_, err := l.site.API.Call(ctx, "PUT", l.site.ServicePath(), client.Object{"vpnservice": client.Object{"admin_state_up": false}})
	return err
}

// charonFile is a file of the router's charon.
func (l *Laid) charonFile(name string) string {
	return filepath.Join(l.scene.GatewayDir, l.site.Router, name)
}

// forgetKeys takes the keys out of our charon and makes it need them.
func forgetKeys(ctx context.Context, l *Laid) error {
	out, err := exec.CommandContext(ctx, "swanctl", "--load-creds", "--clear", "--noprompt", "--file", os.DevNull,
		"--uri", "unix://"+l.charonFile("charon.vici")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("swanctl --load-creds --clear: %w: %s", err, out)
	}
	return l.Branch.Terminate(ctx, "hq")
}

// killOurs kills our charon, and each that takes its place.
func killOurs(_ context.Context, l *Laid) error {
	l.scene.spawn(func(ctx context.Context) error {
		for last := 0; ctx.Err() == nil; pause(ctx, 20*time.Millisecond) {
			pid, err := l.charon()
			if err != nil || pid == last {
				continue // it is being started
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("kill charon %d: %w", pid, err)
			}
			last = pid
		}
		return nil
	})
	return nil
}

// charon is the process id of the router's charon. Process ids come back in use: it must run with the router's configuration.
func (l *Laid) charon() (int, error) {
	text, err := os.ReadFile(l.charonFile("pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, err
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err == nil && !slices.Contains(strings.Split(string(environ), "\x00"), "STRONGSWAN_CONF="+l.charonFile("strongswan.conf")) {
		err = fmt.Errorf("process %d is not charon of router %s", pid, l.site.Router)
	}
	return pid, err
}

// half is the first half of a network.
func half(cidr string) string {
	p := netip.MustParsePrefix(cidr)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1).String()
}
