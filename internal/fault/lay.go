package fault

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"culvert/internal/client"
	"culvert/internal/lab"
	"culvert/internal/site"
)

// Laid is a fault with the connection that has it.
type Laid struct {
	Fault
	ID     string      // of the connection
	Branch *lab.Branch // the peer; nil where there is no machine
	scene  *Scene
	site   *site.Site
	outer  netip.Addr // the peer's
	inner  netip.Addr // its own within its network
	since  time.Time
}

// Path is where the API has the connection.
func (l *Laid) Path() string { return "/v2.0/vpn/ipsec-site-connections/" + l.ID }

// URL is where it is for clients.
func (l *Laid) URL() string { return l.site.API.URL + l.Path() }

// Lay makes a peer and a connection to it with this fault, and returns when the fault is there. It may be called for
// several faults at once. What was made stays until the Scene is closed, also after an error.
func (s *Scene) Lay(ctx context.Context, f Fault) (*Laid, error) {
	l := &Laid{Fault: f, scene: s}
	s.mu.Lock()
	n := len(s.laid)
	s.laid = append(s.laid, l)
	s.mu.Unlock()
	if n >= MaxFaults {
		return nil, fmt.Errorf("fault %s: a scene has addresses for %d faults", f.Name, MaxFaults)
	}
	l.outer, l.inner = netip.AddrFrom4([4]byte{198, 51, 100, byte(40 + n)}), netip.AddrFrom4([4]byte{192, 168, byte(40 + n), 1})
	if err := l.lay(ctx, n); err != nil {
		return l, fmt.Errorf("fault %s: %w", f.Name, err)
	}
	return l, nil
}

func (l *Laid) lay(ctx context.Context, n int) error {
	if err := l.findSite(ctx); err != nil {
		return err
	}
	if !l.alone {
		if err := l.startBranch(ctx, fmt.Sprintf("%s%02d", l.scene.Prefix, n)); err != nil {
			return err
		}
	}
	if l.before != nil {
		if err := l.before(ctx, l); err != nil {
			return err
		}
	}
	if err := l.connect(ctx); err != nil {
		return err
	}
	if l.answering {
		if err := l.beCalled(ctx); err != nil {
			return err
		}
	}
	if l.event == nil {
		return nil
	}
	if _, err := l.await(ctx, "ACTIVE"); err != nil {
		return err
	}
	l.happen()
	return l.event(ctx, l)
}

// findSite makes the router that the fault needs, if it is not that of the others.
func (l *Laid) findSite(ctx context.Context) (err error) {
	s := l.scene
	switch l.where {
	case shared:
		l.site = s.main
		return nil
	case ownRouter:
		l.site, err = s.newSite(ctx, l.Name, s.API, "", s.main.WAN)
	case grounded:
		l.site, err = s.newSite(ctx, l.Name, s.API, "", "")
		return err
	case offRoute:
		l.site, err = s.newSite(ctx, l.Name, s.API, offCIDR, "")
	case hostless:
		if s.Hostless == nil {
			return fmt.Errorf("it needs a server that no gateway host watches")
		}
		l.site, err = s.newSite(ctx, l.Name, s.Hostless, outerCIDR, "")
		return err
	}
	if err != nil {
		return err
	}
	return l.site.AwaitService(ctx)
}

func (l *Laid) network() string { return netip.PrefixFrom(l.inner, 24).Masked().String() }

func (l *Laid) startBranch(ctx context.Context, namespace string) (err error) {
	p := lab.Peer{Local: l.outer.String(), Remote: l.site.External, PSK: psk, Networks: l.network(), Peers: l.site.Inner.String()}
	if l.peer != nil {
		l.peer(&p)
	}
	l.Branch, err = lab.StartBranch(ctx, lab.Config{Name: namespace, Bridge: l.site.OuterBridge(), RunDir: l.scene.RunDir,
		Address: []netip.Prefix{netip.PrefixFrom(l.outer, 24)}, LAN: []netip.Addr{l.inner, addr(strings.TrimSuffix(otherNet(l.network()), "0/24") + "1")}, Swanctl: p.Conf()})
	return err
}

// connect makes the connection. From here on the fault is there, unless it is one of a tunnel that is up.
func (l *Laid) connect(ctx context.Context) error {
	t := site.Tunnel{Name: l.Name, PeerAddress: l.outer.String(), PSK: psk, PeerCIDR: l.network(), IKE: client.Object{}, ESP: client.Object{},
		Attributes: client.Object{"dpd": client.Object{"action": "restart", "interval": 1, "timeout": 5}}}
	if l.answering {
		t.Attributes["initiator"] = "response-only"
	}
	if l.probed != "" {
		t.Attributes["probe_address"] = strings.TrimSuffix(l.network(), ".0/24") + l.probed
	}
	if l.tunnel != nil {
		l.tunnel(&t)
	}
	attributes, err := l.site.Parts(ctx, t)
	if err != nil {
		return err
	}
	if l.event == nil {
		l.happen()
	}
	id, err := l.site.Post(ctx, attributes)
	l.scene.mu.Lock()
	defer l.scene.mu.Unlock()
	l.ID = id
	return err
}

// beCalled waits until the gateway knows the connection, and lets the peer initiate: once where the tunnel is to come up,
// else for ever, as a peer does.
func (l *Laid) beCalled(ctx context.Context) error {
	if _, err := l.await(ctx, "DOWN"); err != nil {
		return err
	}
	if l.event != nil {
		return l.Branch.Initiate(ctx, "nets")
	}
	l.happen()
	l.scene.spawn(func(ctx context.Context) error {
		for ; ctx.Err() == nil; pause(ctx, 2*time.Second) {
			if sas, err := l.Branch.ListSAs(ctx); err == nil && !strings.Contains(sas, "INSTALLED") {
				_ = l.Branch.Initiate(ctx, "nets") // that it fails is the point
			}
		}
		return nil
	})
	return nil
}

// happen notes when the fault is there.
func (l *Laid) happen() {
	l.scene.mu.Lock()
	defer l.scene.mu.Unlock()
	l.since = time.Now()
}

func (l *Laid) await(ctx context.Context, status string) (client.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return l.site.API.Await(ctx, l.Path(), "ipsec_site_connection", 10*time.Millisecond, status)
}
