package lab

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"strings"
)

// Peer is what the administrator of a branch writes down: one connection.
type Peer struct {
	Name            string // of the connection; "": hq
	Child           string // name of its CHILD_SA; "": nets
	Version         int    // of IKE: 1 or 2; 0: 2
	Aggressive      bool   // IKEv1
	Local, Remote   string // outer addresses
	ID, RemoteID    string // identities; "": the addresses
	PSK             string // "": none
	IKE, ESP        string // proposals in strongSwan's words; "": aes256-sha256-modp2048
	Networks, Peers string // traffic selectors, comma separated: its own and those behind the other side
	Encap           bool   // ESP in UDP whatever is between
	Second          string // the branch's traffic selectors of a second CHILD_SA, named more; "": there is none
	More            string // further lines of each CHILD_SA
}

const usualProposal = "aes256-sha256-modp2048" // what the API's defaults come to

// Conf is the swanctl.conf.
func (p Peer) Conf() string { return Conf(p) }

// Conf is the swanctl.conf of several connections.
func Conf(peers ...Peer) string {
	var connections, secrets strings.Builder
	for _, p := range peers {
		connections.WriteString(p.connection())
		secrets.WriteString(p.secret())
	}
	text := "connections {\n" + connections.String() + "}\n"
	if secrets.Len() > 0 {
		text += "secrets {\n" + secrets.String() + "}\n"
	}
	return text
}

func (p Peer) connection() string {
	options := ""
	if p.Aggressive {
		options += "\n    aggressive = yes"
	}
	if p.Encap {
		options += "\n    encap = yes"
	}
	children := p.child(cmp.Or(p.Child, "nets"), p.Networks)
	if p.Second != "" {
		children += p.child("more", p.Second)
	}
	return fmt.Sprintf(connectionConf, p.name(), cmp.Or(p.Version, 2), p.Local, p.Remote, cmp.Or(p.IKE, usualProposal), options,
		cmp.Or(p.ID, p.Local), cmp.Or(p.RemoteID, p.Remote), children)
}

func (p Peer) name() string { return cmp.Or(p.Name, "hq") }

func (p Peer) child(name, networks string) string {
	more := ""
	if p.More != "" {
		more = "\n        " + p.More
	}
	return fmt.Sprintf(childConf, name, networks, p.Peers, cmp.Or(p.ESP, usualProposal), more)
}

func (p Peer) secret() string {
	if p.PSK == "" {
		return ""
	}
	return fmt.Sprintf(secretConf, p.name(), cmp.Or(p.ID, p.Local), cmp.Or(p.RemoteID, p.Remote), Secret(p.PSK))
}

// Secret writes a pre-shared key for a swanctl.conf: a text that begins with 0x or 0s would there be taken for the key in
// hexadecimal or base64 (swanctl.conf(5), secrets.ike<suffix>.secret), whereas to the API it is a text like any other.
func Secret(psk string) string { return "0s" + base64.StdEncoding.EncodeToString([]byte(psk)) }

const connectionConf = `  %s {
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
%s    }
  }
`

const childConf = `      %s {
        local_ts = %s
        remote_ts = %s
        esp_proposals = %s%s
      }
`

const secretConf = `  ike-%s {
    id-1 = %s
    id-2 = %s
    secret = %s
  }
`
