package gateway

import (
	"slices"
	"strings"

	"culvert/internal/vici"
)

// ikeSA is what list-sas says of one IKE_SA of a connection.
type ikeSA struct {
	id       string // charon's uniqueid
	state    string
	answered bool // the peer has answered its first exchange
	children []childSA
}

type childSA struct {
	name, state, id string
	local, peer     []string // traffic selectors, as charon prints them
}

// readSAs adds the IKE_SAs of one list-sa event, by connection.
func readSAs(into map[string][]ikeSA, event *vici.Message) {
	for name, sa := range event.Sections() {
		one := ikeSA{id: sa.Get("uniqueid"), state: sa.Get("state"), answered: strings.Trim(sa.Get("responder-spi"), "0") != "" || sa.Get("initiator") != "yes"}
		for _, child := range sa.Section("child-sas").Sections() {
			one.children = append(one.children, childSA{child.Get("name"), child.Get("state"), child.Get("uniqueid"),
				child.List("local-ts"), child.List("remote-ts")})
		}
		into[name] = append(into[name], one)
	}
}

// An SA that is being rekeyed still carries traffic; its successor takes over without a gap.
func (s ikeSA) established() bool { return s.state == "ESTABLISHED" || s.state == "REKEYING" }
func (s ikeSA) connecting() bool  { return s.state == "CREATED" || s.state == "CONNECTING" }
func (c childSA) installed() bool {
	return c.state == "INSTALLED" || c.state == "REKEYING" || c.state == "UPDATING"
}

// missing answers those of the wanted CHILD_SAs that are not installed below an established IKE_SA.
func missing(wanted []string, sas []ikeSA) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
		return slices.ContainsFunc(sas, func(s ikeSA) bool {
			return s.established() && slices.ContainsFunc(s.children, func(c childSA) bool { return c.name == name && c.installed() })
		})
	})
}

// flatten answers the IKE_SAs of all connections.
func flatten(sas map[string][]ikeSA) []ikeSA {
	var out []ikeSA
	for _, list := range sas {
		out = append(out, list...)
	}
	return out
}

func anyConnecting(sas []ikeSA) bool { return slices.ContainsFunc(sas, ikeSA.connecting) }

func anyEstablished(sas []ikeSA) bool { return slices.ContainsFunc(sas, ikeSA.established) }
