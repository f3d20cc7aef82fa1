package vpn

// Statistics is what a gateway counted of one connection, and what it saw of it last. They are metrics: agents send them every
// few seconds, the server keeps the newest in memory and none in a document. Times are UTC in the API's format, nil where
// there is none yet.
//
// Counters belong to the gateway host: they never go backwards there, whatever is rekeyed or restarted, and begin anew
// with another host. They count what IPsec carried, so the active probe's packets too, in bytes before encryption as charon
// counts them.
type Statistics struct {
	Connection    string  `json:"ipsec_site_connection_id"`
	MeasuredAt    *string `json:"measured_at"`
	CountedSince  *string `json:"counted_since"`
	EstablishedAt *string `json:"established_at"` // since then up without a break; nil while down

	BytesIn     uint64  `json:"bytes_in"`
	BytesOut    uint64  `json:"bytes_out"`
	PacketsIn   uint64  `json:"packets_in"`
	PacketsOut  uint64  `json:"packets_out"`
	LastIn      *string `json:"last_packet_in_at"`
	LastOut     *string `json:"last_packet_out_at"`
	Traffic     string  `json:"traffic"` // of the last minute: Traffic*
	IKERekeys   uint64  `json:"ike_rekeys"`
	ChildRekeys uint64  `json:"child_rekeys"`

	SAs   []IKESA `json:"ike_sas"`
	Probe *Probe  `json:"probe"` // nil without probe_address, and while the tunnel is down
}

// Directions that packets passed in.
const (
	TrafficNone = "none"
	TrafficBoth = "both"
	TrafficIn   = "in_only"
	TrafficOut  = "out_only"
)

// IKESA is one IKE_SA with what was negotiated. Algorithms have IANA's names as strongSwan writes them, such as
// AES_CBC_256.
type IKESA struct {
	Version       string    `json:"version"` // v1, v2
	LocalAddress  string    `json:"local_address"`
	LocalPort     int       `json:"local_port"`
	RemoteAddress string    `json:"remote_address"`
	RemotePort    int       `json:"remote_port"`
	Initiator     bool      `json:"initiator"` // this side is
	InitiatorSPI  string    `json:"initiator_spi"`
	ResponderSPI  string    `json:"responder_spi"`
	NATLocal      bool      `json:"nat_local"` // this side is behind NAT
	NATRemote     bool      `json:"nat_remote"`
	Encryption    string    `json:"encryption"`
	Integrity     string    `json:"integrity"` // "": the cipher brings its own
	PRF           string    `json:"prf"`
	Group         string    `json:"group"`
	EstablishedAt *string   `json:"established_at"`
	Children      []ChildSA `json:"child_sas"`
}

// ChildSA is one pair of IPsec SAs.
type ChildSA struct {
	Protocol      string   `json:"protocol"` // esp, ah
	SPIIn         string   `json:"spi_in"`
	SPIOut        string   `json:"spi_out"`
	Encapsulation string   `json:"encapsulation"` // udp (NAT traversal, or userland ESP), none
	Encryption    string   `json:"encryption"`
	Integrity     string   `json:"integrity"`
	Group         string   `json:"group"` // of PFS; "": none, or the first CHILD_SA of an IKE v2 exchange
	LocalTS       []string `json:"local_ts"`
	RemoteTS      []string `json:"remote_ts"`
	InstalledAt   *string  `json:"installed_at"`
}

// Probe is what the active probe saw: echo requests from the gateway's address in a local network to the connection's
// probe_address, the small ones of the last window, and those as large as the tunnel should carry.
type Probe struct {
	Address     string   `json:"address"`
	Source      string   `json:"source"`
	Sent        int      `json:"sent"`     // in the window
	Received    int      `json:"received"` // of them
	Loss        float64  `json:"loss"`     // from 0 to 1
	RTT         *float64 `json:"rtt_ms"`   // mean, milliseconds; nil without an answer
	RTTMin      *float64 `json:"rtt_min_ms"`
	RTTMax      *float64 `json:"rtt_max_ms"`
	AnsweredAt  *string  `json:"last_answer_at"`
	LargeSize   int      `json:"large_size"`   // bytes of the IP packet that fills the tunnel
	LargestSeen int      `json:"largest_size"` // bytes of the largest that was answered; 0: none yet
}
