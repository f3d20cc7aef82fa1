package lab

import (
	"cmp"
	"encoding/base64"
	"fmt"
)

// Peer is what the administrator of a branch writes down: one connection named hq with one CHILD_SA named nets.
type Peer struct {
	Version         int    // of IKE: 1 or 2; 0: 2
	Aggressive      bool   // IKEv1
	Local, Remote   string // outer addresses
	ID, RemoteID    string // identities; "": the addresses
	PSK             string // "": none
	IKE, ESP        string // proposals in strongSwan's words; "": aes256-sha256-modp2048
	Networks, Peers string // traffic selectors, comma separated: its own and those behind the other side
	Encap           bool   // ESP in UDP whatever is between
	More            string // further lines of the CHILD_SA
}

const usualProposal = "aes256-sha256-modp2048" // what the API's defaults come to

// Conf is the swanctl.conf.
func (p Peer) Conf() string {
	options := ""
	if p.Aggressive {
		options += "\n    aggressive = yes"
	}
	if p.Encap {
		options += "\n    encap = yes"
	}
	more := ""
	if p.More != "" {
		more = "\n        " + p.More
	}
	id, remote := cmp.Or(p.ID, p.Local), cmp.Or(p.RemoteID, p.Remote)
	text := fmt.Sprintf(connectionConf, cmp.Or(p.Version, 2), p.Local, p.Remote, cmp.Or(p.IKE, usualProposal), options, id, remote,
		p.Networks, p.Peers, cmp.Or(p.ESP, usualProposal), more)
	if p.PSK != "" {
		text += fmt.Sprintf(secretsConf, id, remote, Secret(p.PSK))
	}
	return text
}

// Secret writes a pre-shared key for a swanctl.conf: a text that begins with 0x or 0s would there be taken for the key in
// hexadecimal or base64 (swanctl.conf(5), secrets.ike<suffix>.secret), whereas to the API it is a text like any other.
func Secret(psk string) string { return "0s" + base64.StdEncoding.EncodeToString([]byte(psk)) }

const connectionConf = `connections {
  hq {
    version = %d
    local_addrs = %s
    remote_addrs = %s
    proposals = %s%s
    local {
      auth = psk
      id = %s
    }
    remote {
      auth = psk
      id = %s
    }
    children {
      nets {
        local_ts = %s
        remote_ts = %s
        esp_proposals = %s%s
      }
    }
  }
}
`

const secretsConf = `secrets {
  ike-hq {
    id-1 = %s
    id-2 = %s
    secret = %s
  }
}
`
