package gateway

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// HostNetwork in Config.Bind stands for the network namespace that New was called in. No named namespace is called so.
const HostNetwork = "/host"

// CheckBind tells what is wrong with Config.Bind.
func CheckBind(bind map[string]string) error {
	of := map[string]string{}
	for id, name := range bind {
		switch other := of[name]; {
		case !routerID.MatchString(id):
			return fmt.Errorf("%q is no router's id", id)
		case name != HostNetwork && !namespaceName.MatchString(name):
			return fmt.Errorf("router %s: %q cannot be a network namespace's name", id, name)
		case other != "": // each has a charon, and those would both want UDP 500 and 4500
			return fmt.Errorf("routers %s and %s cannot live in the same network namespace", min(id, other), max(id, other))
		}
		of[name] = id
	}
	return nil
}

// bound is the Spec with the namespace that the operator has bound the router to.
func (g *Gateway) bound(spec vpn.Spec) vpn.Spec {
	if name := g.cfg.Bind[spec.Router]; name != "" {
		spec.Namespace, spec.Mark = name, nil
	}
	return spec
}

func isBound(g *Gateway, router string) bool { return g.cfg.Bind[router] != "" }

// openNamed opens a namespace by name, or the host's own.
func (g *Gateway) openNamed(name string) (*namespace, error) {
	if name != HostNetwork {
		return openNamespace(name)
	}
	fd, err := unix.FcntlInt(uintptr(g.home), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("the host's network namespace: %w", err)
	}
	nl, err := netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the host's network namespace: netlink: %w", err), unix.Close(fd))
	}
	return &namespace{name: "of the host", fd: netns.NsHandle(fd), nl: nl}, nil
}

// away says that a connection's outer address is not there.
func addressAway(local netip.Addr, namespace string, bound bool) vpn.Reason {
	where, hint := "network namespace "+namespace, "the cloud's L3 agent gives it, on the host where the router is active"
	if namespace == HostNetwork {
		where = "this machine's network"
	}
	if bound {
		hint = fmt.Sprintf("--bind-router: give %s to an interface there, or set the router's external_fixed_ips to an address that is there", local)
	}
	return reason("local_address_missing", "ours", "local", fmt.Sprintf("the router's external address %s is on no interface of %s", local, where), hint)
}

// notForwarding is a warning: settings of a borrowed namespace are its owner's.
func notForwarding(sysctl string) vpn.Reason {
	return reason("forwarding_off", "ours", "local", "the router's network namespace does not forward packets: only its own pass the tunnel",
		"set "+sysctl+"=1 where the router is; Culvert leaves the settings of a network that is not its own alone")
}
