package topology

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"culvert/internal/resource"
)

// maxList bounds every list in a request.
const maxList = 64

// rules are the attribute rules of this package, by the name in the tags.
func rules() map[string]resource.Rule {
	return map[string]resource.Rule{
		"ipversion": ipVersion,
		"address":   func(v any) (any, error) { return address(v) },
		"addresses": addresses,
		"pools":     listOf(pool),
		"routes":    listOf(route),
		"fixedips":  listOf(fixedIP),
		"pairs":     listOf(addressPair),
		"gateway":   gatewayInfo,
		"mac":       func(v any) (any, error) { return macAddress(v) },
		"zones":     nothing("there are no availability zones here"),
		"groups":    nothing("there are no security groups here"),
		"types":     nothing("there are no service types here"),
	}
}

// text shows a value in a message without letting it fill the screen.
func text(v any) string {
	s, ok := v.(string)
	if !ok || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		b, _ := json.Marshal(v)
		s = string(b)
	}
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:60]) + "…"
	}
	return "'" + s + "'"
}

func ipVersion(v any) (any, error) {
	n, err := resource.Integer(v)
	if err == nil && n != 4 && n != 6 {
		return nil, fmt.Errorf("'%d' is not in valid_values; allowed are 4, 6", n)
	}
	return n, err
}

// address makes an IP address canonical.
func address(v any) (string, error) {
	s, _ := v.(string)
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return "", fmt.Errorf("%s is not a valid IP address", text(v))
	}
	return a.String(), nil
}

func addresses(v any) (any, error) {
	list, ok := v.([]any)
	if !ok || len(list) > maxList {
		return nil, fmt.Errorf("%s is not a list of at most %d IP addresses", text(v), maxList)
	}
	out := []string{}
	for _, x := range list {
		a, err := address(x)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, a) {
			return nil, fmt.Errorf("%s is given twice", text(a))
		}
		out = append(out, a)
	}
	return out, nil
}

// listOf checks a list of objects, each by one.
func listOf[T comparable](one func(map[string]any) (T, error)) resource.Rule {
	return func(v any) (any, error) {
		list, ok := v.([]any)
		if !ok || len(list) > maxList {
			return nil, fmt.Errorf("%s is not a list of at most %d objects", text(v), maxList)
		}
		out := make([]T, 0, len(list))
		for _, x := range list {
			m, ok := x.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s is not an object", text(x))
			}
			item, err := one(m)
			if err != nil {
				return nil, err
			}
			if slices.Contains(out, item) {
				return nil, fmt.Errorf("%s is given twice", text(x))
			}
			out = append(out, item)
		}
		return out, nil
	}
}

// keys refuses keys that an object does not have, and demands those that it needs.
func keys(m map[string]any, allowed []string, needed ...string) error {
	for k := range m {
		if !slices.Contains(allowed, k) {
			return fmt.Errorf("Unexpected keys supplied: %s; allowed are %s", text(k), strings.Join(allowed, ", "))
		}
	}
	for _, k := range needed {
		if m[k] == nil {
			return fmt.Errorf("%s lacks '%s'", text(m), k)
		}
	}
	return nil
}

func pool(m map[string]any) (Pool, error) {
	if err := keys(m, []string{"start", "end"}, "start", "end"); err != nil {
		return Pool{}, err
	}
	start, err1 := address(m["start"])
	end, err2 := address(m["end"])
	return Pool{start, end}, errors.Join(err1, err2)
}

func route(m map[string]any) (Route, error) {
	if err := keys(m, []string{"destination", "nexthop"}, "destination", "nexthop"); err != nil {
		return Route{}, err
	}
	s, err := resource.CIDR(m["destination"])
	if err != nil {
		return Route{}, err
	}
	hop, err := address(m["nexthop"])
	if err != nil {
		return Route{}, err
	}
	p := netip.MustParsePrefix(s).Masked()
	if p.Addr().Is4() != netip.MustParseAddr(hop).Is4() {
		return Route{}, fmt.Errorf("destination '%s' and nexthop '%s' are of different IP versions", s, hop)
	}
	return Route{p.String(), hop}, nil
}

func fixedIP(m map[string]any) (FixedIP, error) {
	var f FixedIP
	err := keys(m, []string{"subnet_id", "ip_address"})
	if err == nil && m["subnet_id"] == nil && m["ip_address"] == nil {
		err = fmt.Errorf("%s names neither 'subnet_id' nor 'ip_address'", text(m))
	}
	if v := m["subnet_id"]; err == nil && v != nil {
		f.SubnetID, err = uuidOf(v)
	}
	if v := m["ip_address"]; err == nil && v != nil {
		f.IPAddress, err = address(v)
	}
	return f, err
}

func addressPair(m map[string]any) (AddressPair, error) {
	if err := keys(m, []string{"ip_address", "mac_address"}, "ip_address"); err != nil {
		return AddressPair{}, err
	}
	p := AddressPair{}
	ip, err := address(m["ip_address"])
	if err != nil {
		if ip, err = resource.CIDR(m["ip_address"]); err != nil {
			return p, err
		}
	}
	p.IPAddress = ip
	if v := m["mac_address"]; v != nil {
		p.MAC, err = macAddress(v)
	}
	return p, err
}

// gatewayInfo takes {} for null: both clear the gateway.
func gatewayInfo(v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not an object", text(v))
	}
	if len(m) == 0 {
		return nil, nil
	}
	if err := keys(m, []string{"network_id", "enable_snat", "external_fixed_ips"}, "network_id"); err != nil {
		return nil, err
	}
	id, err := uuidOf(m["network_id"])
	if err != nil {
		return nil, err
	}
	g := GatewayInfo{NetworkID: id, EnableSNAT: true}
	if v, given := m["enable_snat"]; given {
		if g.EnableSNAT, err = resource.Boolean(v); err != nil {
			return nil, err
		}
	}
	if v := m["external_fixed_ips"]; v != nil {
		list, err := listOf(fixedIP)(v)
		if err != nil {
			return nil, err
		}
		g.FixedIPs = list.([]FixedIP)
	}
	return g, nil
}

func uuidOf(v any) (string, error) {
	s, _ := v.(string)
	id, err := uuid.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%s is not a valid UUID", text(v))
	}
	return id.String(), nil
}

// macAddress makes a unicast MAC address canonical.
func macAddress(v any) (string, error) {
	s, _ := v.(string)
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || [6]byte(mac) == [6]byte{} {
		return "", fmt.Errorf("%s is not a valid MAC address (six bytes, unicast, such as fa:16:3e:00:00:01)", text(v))
	}
	return mac.String(), nil
}

// nothing takes the empty list alone: what does not exist cannot be asked for.
func nothing(why string) resource.Rule {
	return func(v any) (any, error) {
		list, ok := v.([]any)
		if !ok || len(list) > 0 {
			return nil, fmt.Errorf("%s: %s; allowed is []", text(v), why)
		}
		return []string{}, nil
	}
}
