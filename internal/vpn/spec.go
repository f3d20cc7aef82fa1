package vpn

import (
	"fmt"
	"log/slog"
	"net/netip"

	"culvert/internal/resource"
)

// Spec is the complete wanted state of one router's VPN: what a gateway makes true, whatever was there before. Setting
// the same Spec twice is no work.
type Spec struct {
	Router string `json:"router"` // router id
	Rev    int64  `json:"rev"`    // store revision of the newest change that this Spec contains
	// Removed says that the router has no VPN any more: the gateway takes everything away and confirms.
	Removed bool `json:"removed,omitempty"`
	// Namespace names a network namespace that somebody else makes, wires and removes, such as a cloud's L3 agent: the
	// gateway works in it. "": the gateway makes one, with everything in it.
	Namespace string `json:"namespace,omitempty"`
	// Mark is what packets out of a tunnel carry in a Namespace whose owner drops what is not marked as its own; nil: none.
	Mark        *Mark            `json:"mark,omitempty"`
	External    *Link            `json:"external,omitempty"` // nil: the router has no external gateway
	Internal    []Link           `json:"internal,omitempty"`
	Services    []ServiceSpec    `json:"services,omitempty"`
	Connections []ConnectionSpec `json:"connections,omitempty"` // sorted by ID
}

// Mark is a firewall mark: of a packet's mark the bits of Mask become those of Value.
type Mark struct {
	Value uint32 `json:"value"`
	Mask  uint32 `json:"mask"`
}

func (m Mark) String() string { return fmt.Sprintf("%#x/%#x", m.Value, m.Mask) }

// Link is one interface of a router.
type Link struct {
	Port      string         `json:"port"`               // port id
	Network   string         `json:"network"`            // network id
	Physical  string         `json:"physical,omitempty"` // provider:physical_network; "" means a bridge of the network's own
	MAC       string         `json:"mac"`
	MTU       int            `json:"mtu"`
	Addresses []netip.Prefix `json:"addresses"`          // the interface's addresses, each with its subnet's prefix length
	Gateways  []netip.Addr   `json:"gateways,omitempty"` // next hops of the default routes; External only
}

// ServiceSpec is one VPN service of the router.
type ServiceSpec struct {
	ID           string `json:"id"`
	AdminStateUp bool   `json:"admin_state_up"`
}

// ConnectionSpec is one IPsec site connection, with everything that it refers to already looked up.
type ConnectionSpec struct {
	ID           string         `json:"id"`
	Service      string         `json:"service"`
	AdminStateUp bool           `json:"admin_state_up"` // the connection's and its service's
	LocalAddress netip.Addr     `json:"local_address"`  // outer address, family of the peer's; zero: the router has none
	PeerAddress  string         `json:"peer_address"`   // IP literal or host name
	LocalID      string         `json:"local_id"`       // never empty where LocalAddress is set: it is the default
	PeerID       string         `json:"peer_id"`
	PSK          Secret         `json:"psk"`
	Local        []netip.Prefix `json:"local"` // traffic selectors: masked, merged, sorted
	Peer         []netip.Prefix `json:"peer"`
	Initiate     bool           `json:"initiate"` // false: response-only
	MTU          int            `json:"mtu"`      // bytes
	IKE          IKESpec        `json:"ike"`
	ESP          ESPSpec        `json:"esp"`
	DPD          DPDSpec        `json:"dpd"`
	// ProbeAddress is what the gateway pings through the tunnel, inside of Peer; zero: nothing.
	ProbeAddress netip.Addr `json:"probe_address,omitzero"`
}

// IKESpec is an IKE policy in the API's own words (api-contract section 3).
type IKESpec struct {
	Policy     string `json:"policy,omitempty"` // its id, for people
	Version    string `json:"version"`          // v1, v2
	Aggressive bool   `json:"aggressive,omitempty"`
	Encryption string `json:"encryption"`
	Auth       string `json:"auth"`
	Group      string `json:"group"`
	Lifetime   int64  `json:"lifetime"` // seconds
}

// ESPSpec is an IPsec policy in the API's own words (api-contract section 4).
type ESPSpec struct {
	Policy     string `json:"policy,omitempty"` // its id, for people
	Protocol   string `json:"protocol"`         // esp, ah
	Encryption string `json:"encryption"`
	Auth       string `json:"auth"`
	PFS        string `json:"pfs"`      // disable: no PFS
	Lifetime   int64  `json:"lifetime"` // seconds
}

// DPDSpec is dead peer detection (RFC 3706 for IKEv1, RFC 7296 section 2.4 for IKEv2).
type DPDSpec struct {
	Action   string `json:"action"`   // hold clear restart disabled restart-by-peer
	Interval int64  `json:"interval"` // seconds
	Timeout  int64  `json:"timeout"`  // seconds
}

// Secret is a pre-shared key on its way to a gateway. It is JSON like any string, and stars to every printer.
type Secret string

func (Secret) String() string       { return resource.Masked }
func (Secret) GoString() string     { return resource.Masked }
func (Secret) LogValue() slog.Value { return slog.StringValue(resource.Masked) }

// Report is what a gateway saw of one router.
type Report struct {
	Router string `json:"router"`
	Rev    int64  `json:"rev"` // of the Spec that the gateway has applied, or failed to apply
	// Ready says that the router's namespace, links, routes, guard and charon stand. A Removed Spec is confirmed by Ready.
	Ready  bool    `json:"ready"`
	Reason *Reason `json:"reason,omitempty"` // why not Ready
	// Connections holds those whose state is known; one that is missing keeps its status.
	Connections []ConnectionReport `json:"connections,omitempty"`
}

// ConnectionReport is the state of one connection.
type ConnectionReport struct {
	ID     string  `json:"id"`
	State  string  `json:"state"`            // StateUp, StateDown, StateError
	Reason *Reason `json:"reason,omitempty"` // with StateUp it is a warning: the tunnel stands and does not do all its work
}

// States of a connection as a gateway sees it.
const (
	StateUp    = "up"    // every CHILD_SA that the connection asks for is installed
	StateDown  = "down"  // configured; at least one CHILD_SA is missing
	StateError = "error" // it could not be configured
)

// Reason is the API's status_reason: why a connection or a service is not ACTIVE, or what is wrong with a connection that is.
type Reason struct {
	Code      string `json:"code"`
	Side      string `json:"side"`  // ours theirs path unknown
	Phase     string `json:"phase"` // config resolve ike_init ike_auth child rekey liveness local
	Summary   string `json:"summary"`
	Ours      string `json:"ours"`       // what we want, in the API's words; "" where that is not what it is about
	Theirs    string `json:"theirs"`     // what the peer wants or said, in the same words; "" where it is not known
	Hint      string `json:"hint"`       // the change that would mend it; "" where there is none
	FirstSeen string `json:"first_seen"` // UTC, in the API's time format
	LastSeen  string `json:"last_seen"`
}
