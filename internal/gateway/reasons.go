package gateway

import (
	"errors"
	"slices"
	"time"

	"culvert/internal/vpn"
)

const apiTime = "2006-01-02 15:04:05.000000"

// Reasons that come from our own knowledge.
func noRoute() vpn.Reason {
	return reason("no_route", "ours", "ike_init", "this gateway has no route to the peer", "check the router's external gateway and peer_address")
}

func peerDead() vpn.Reason {
	return reason(livenessLost, "path", "liveness", "the peer does not answer any more (dead peer detection)", "check the peer and the path to it")
}

func peerUnreachable() vpn.Reason {
	return reason("peer_unreachable", "path", "ike_init", "the peer does not answer: no IKE daemon there, or UDP 500 and 4500 are blocked on the way",
		"check peer_address, the peer, and that UDP 500 and 4500 pass")
}

func connecting() vpn.Reason {
	return reason("connecting", "unknown", "ike_init", "the tunnel is being set up", "")
}
func notInitiated() vpn.Reason {
	return reason("not_initiated", "theirs", "ike_init", "the connection only answers, and the peer has not come yet",
		"start the tunnel at the peer, or set initiator to bi-directional")
}

// adminDown names what is switched off: a Spec has the connection's state together with that of its VPN service, and the
// service's with that of the router.
func adminDown(c vpn.ConnectionSpec, services []vpn.ServiceSpec) vpn.Reason {
	if slices.ContainsFunc(services, func(s vpn.ServiceSpec) bool { return s.ID == c.Service && !s.AdminStateUp }) {
		return reason("admin_down", "ours", "config", "the VPN service of the connection, or its router, is administratively down",
			"set admin_state_up of vpnservice "+c.Service+", and of its router, to true")
	}
	return reason("admin_down", "ours", "config", "the connection is administratively down", "set admin_state_up of the connection to true")
}

func noGateway() vpn.Reason {
	return reason("router_without_gateway", "ours", "config", "the router has no external gateway", "set external_gateway_info of the router")
}
func noLocalAddress() vpn.Reason {
	return reason("no_local_address", "ours", "config", "the router's external gateway has no address of the peer's IP version",
		"give the external network a subnet of that IP version")
}
func charonDied() vpn.Reason {
	return reason("charon_died", "ours", "local", "the IKE daemon of this router ended; it is being restarted", "")
}
func lost() vpn.Reason {
	return reason("sa_lost", "unknown", "liveness", "the tunnel's SA ended and charon gave no reason", "")
}

// gatewayFailed says of an error what a tenant may know: what could not be done, and whom to turn to. The error itself names
// interfaces, paths and programs of the host; it is for the log.
func gatewayFailed(err error) vpn.Reason {
	hint := ""
	if h := (interface{ Hint() string })(nil); errors.As(err, &h) {
		hint = h.Hint()
	}
	if errors.Is(err, errCharonEnded) {
		return charonDied()
	}
	doing := "set the router up"
	if s := (interface{ Step() string })(nil); errors.As(err, &s) {
		doing = s.Step()
	}
	return reason("gateway_error", "ours", "local", "the gateway host could not "+doing+"; its log has the details", hint)
}

// stepError is an error with what was being done, in words that a tenant may read.
type stepError struct {
	step string
	err  error
}

func (e stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e stepError) Unwrap() error { return e.err }

// Step is for the reason of a status: "the gateway host could not …".
func (e stepError) Step() string { return e.step }

// during says of an error what was being done; it stays as it is where it says so already.
func during(step string, err error) error {
	if s := (interface{ Step() string })(nil); err == nil || errors.As(err, &s) {
		return err
	}
	return stepError{step, err}
}

// stamp gives a reason its times: FirstSeen stays while the code does.
func stamp(r vpn.Reason, before *vpn.Reason, now time.Time) *vpn.Reason {
	r.LastSeen = now.UTC().Format(apiTime)
	r.FirstSeen = r.LastSeen
	if before != nil && before.Code == r.Code {
		r.FirstSeen = before.FirstSeen
	}
	return &r
}
