package model

import (
	"net/netip"
	"strings"
)

// Networks that sites have, by whether they can be a site's (contract 7.1).
var (
	siteNetworks  = []string{"192.168.40.0/24", "192.168.41.0/24", "192.168.40.128/25", "192.168.40.7/24", "172.16.0.0/12", "10.10.0.0/16", "10.40.0.8/32", "10.0.0.24/24", "2001:db8:40::/48", "2001:DB8:40::1/64", "2001:db8:10::/56"}
	otherNetworks = []string{"0.0.0.0/0", "::/0", "224.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fe80::/10", "ff00::/8", "::1/128"}
	noNetworks    = []string{"banana", "", "10.1.0.0", "10.1.0.0/33", "10.1/16", "2001:db8::/129", "fe80::1%eth0/64"}
)

func cidrLists() (out []value) {
	one := func(list ...string) {
		sent := make([]any, len(list))
		for i, c := range list {
			sent[i] = c
		}
		out = append(out, value{sent: sent, kept: sent})
	}
	for _, c := range siteNetworks {
		one(c)
	}
	one()
	one("192.168.40.0/24", "192.168.41.0/24")
	one("192.168.40.0/24", "192.168.0.0/16")
	one("10.0.0.24/24", "10.0.0.25/24")
	one("192.168.40.0/24", "2001:db8:40::/48")
	one("0.0.0.0/0")
	one("192.168.42.0/24", "224.0.0.0/8")
	one("fe80::/10")
	return append(out, kept("192.168.43.0/24", []any{"192.168.43.0/24"}))
}

// peers are addresses of the other site's gateway, and how they are refused (contract 7.2).
var peers = map[string]string{
	"198.51.100.7": "", "198.51.100.8": "", "2001:db8:ff::7": "", "2001:DB8:FF::0007": "", "vpn.example.net": "", "a-b.example": "",
	"": "VPNPeerAddressNotResolved", "198.051.100.7": "VPNPeerAddressNotResolved", "1.2.3": "VPNPeerAddressNotResolved", "not a name": "VPNPeerAddressNotResolved", "-x.example": "VPNPeerAddressNotResolved",
	"0.0.0.0": "InvalidPeerAddress", "127.0.0.1": "InvalidPeerAddress", "224.0.0.5": "InvalidPeerAddress", "255.255.255.255": "InvalidPeerAddress",
	"169.254.7.7": "InvalidPeerAddress", "::": "InvalidPeerAddress", "::1": "InvalidPeerAddress", "fe80::1": "InvalidPeerAddress", "ff02::1": "InvalidPeerAddress",
}

func peerValues() (out []value) {
	for _, p := range sorted(peers) {
		for range 1 + 3*strings.Count(p, "198.51.100") { // the good ones more often
			out = append(out, value{sent: p, kept: p})
		}
	}
	return out
}

// prefixes are the networks without their host bits (contract D6).
func prefixes(texts []string) (out []netip.Prefix) {
	for _, t := range texts {
		if p, err := netip.ParsePrefix(t); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

func v4(text string) bool { return !strings.Contains(text, ":") }

// mixed says that IPv4 and IPv6 stand in one list.
func mixed(texts []string) bool {
	for _, t := range texts {
		if v4(t) != v4(texts[0]) {
			return true
		}
	}
	return false
}

func overlap(a, b []netip.Prefix) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) {
				return true
			}
		}
	}
	return false
}

func sameAddress(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return a == b || err1 == nil && err2 == nil && x == y
}

func listOf(v any) (out []string) {
	list, _ := v.([]any)
	for _, x := range list {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}
