package model

import "strings"

// value is something to send for an attribute: what is kept of it, or how it is refused.
type value struct {
	sent, kept any
	err        refusal
}

// attribute is a line of the contract's tables in sections 3 to 7.
type attribute struct {
	name      string
	typ       string // text number bool object list secret
	post, put bool
	required  bool
	constant  bool // POST tolerates the default alone
	fallback  any
	nullable  bool // null is a value: nothing
	values    []value
}

func as(sent ...any) (out []value) {
	for _, s := range sent {
		out = append(out, value{sent: s, kept: s})
	}
	return out
}

func kept(sent, kept any) value { return value{sent: sent, kept: kept} }

// bad values are refused by the framework; unconvertible ones are of another type (contract 2.2, step 5).
func bad(sent ...any) (out []value) {
	for _, s := range sent {
		out = append(out, value{sent: s, err: refuse("400 HTTPBadRequest")})
	}
	return out
}

func unconvertible(sent ...any) (out []value) {
	for _, s := range sent {
		out = append(out, value{sent: s, err: refuse("400 InvalidInput")})
	}
	return out
}

func join(lists ...[]value) (out []value) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

var long = strings.Repeat("x", 255)

// Words, section 2.3: printable, no blank at either end, 0 to 255; a description may be any text without control characters.
var (
	names    = join(as("", "hq", "HQ", "b", "ä", "a b", "'--", "%", long), bad(long+"x", " hq", "hq ", "a\tb", "a\nb", "\x00", "\u200b", 5, true, []any{}, object{}))
	texts    = join(as("", "some words ", "\\\"<&>", "日本", long), bad(long+"x", "a\nb", "\x7f", 5, false, []any{"a"}))
	switches = join(as(true, false), []value{kept("no", false), kept("False", false), kept(1, true), kept("yes", true), kept(0, false), kept("TRUE", true)},
		unconvertible("maybe", 2, "", []any{}, object{}, 1.5))
)

// Section 3.2.
var (
	auths    = join(as("sha256", "sha384", "sha512", "sha2-256", "sha2-512", "aes-xcbc", "aes-cmac", "sha1", "md5"), bad("SHA256", "sha3", "", 256, []any{}))
	ciphers  = join(as("aes-128", "aes-256", "aes-192-ctr", "aes-256-gcm-16", "aes-128-ccm-8", "3des"), bad("AES-256", "aes", "aes-256-gcm", "", 256))
	groupsOf = as("group1", "group2", "group5", "group14", "group19", "group20", "group31", "group22")
	lifetime = join([]value{kept(object{}, object{}), kept(object{"value": 60}, object{"value": 60}), kept(object{"value": 604800}, object{"value": 604800}),
		kept(object{"value": "7200"}, object{"value": "7200"}), kept(object{"units": "seconds"}, object{"units": "seconds"}), kept(object{"units": "seconds", "value": 28800}, object{"units": "seconds", "value": 28800})},
		bad(object{"value": 59}, object{"value": 604801}, object{"value": "59"}, object{"units": "minutes"}, object{"value": 3600, "max": 1}, "3600", 3600, []any{}),
		unconvertible(object{"value": "an hour"}, object{"value": 60.5}, object{"value": true}, object{"value": []any{60}}, object{"value": ""}))
)

func words() []attribute {
	return []attribute{
		{name: "name", typ: "text", post: true, put: true, fallback: "", values: names},
		{name: "description", typ: "text", post: true, put: true, fallback: "", values: texts},
	}
}

func schema(kind string) []attribute {
	return append(words(), map[string][]attribute{
		// Section 3; the defaults are D1's.
		"ikepolicy": {
			{name: "auth_algorithm", typ: "text", post: true, put: true, fallback: "sha256", values: auths},
			{name: "encryption_algorithm", typ: "text", post: true, put: true, fallback: "aes-256", values: ciphers},
			{name: "pfs", typ: "text", post: true, put: true, fallback: "group14", values: join(groupsOf, bad("disable", "Group14", "group3", 14))},
			{name: "phase1_negotiation_mode", typ: "text", post: true, put: true, fallback: "main", values: join(as("main", "aggressive"), bad("Main", 1))},
			{name: "ike_version", typ: "text", post: true, put: true, fallback: "v2", values: join(as("v1", "v2"), bad("v3", "V2", 2))},
			{name: "lifetime", typ: "object", post: true, put: true, fallback: object{"units": "seconds", "value": 28800}, values: lifetime},
		},
		// Section 4.
		"ipsecpolicy": {
			{name: "transform_protocol", typ: "text", post: true, put: true, fallback: "esp", values: join(as("esp", "ah"), bad("ah-esp", "ESP"))},
			{name: "auth_algorithm", typ: "text", post: true, put: true, fallback: "sha256", values: auths},
			{name: "encryption_algorithm", typ: "text", post: true, put: true, fallback: "aes-256", values: ciphers},
			{name: "encapsulation_mode", typ: "text", post: true, put: true, fallback: "tunnel", values: join(as("tunnel"), bad("transport"))},
			{name: "pfs", typ: "text", post: true, put: true, fallback: "group14", values: join(groupsOf, as("disable"), bad("Group14", "none"))},
			{name: "lifetime", typ: "object", post: true, put: true, fallback: object{"units": "seconds", "value": 3600}, values: lifetime},
		},
		// Section 5.
		"vpnservice": {
			{name: "router_id", typ: "text", post: true, required: true, values: bad("banana", 5, "")},
			{name: "subnet_id", typ: "text", post: true, nullable: true, values: bad("banana", 5)},
			{name: "flavor_id", typ: "text", post: true, nullable: true, values: join(as("11111111-2222-4333-8444-555555555555"), bad("banana"))},
			{name: "admin_state_up", typ: "bool", post: true, put: true, fallback: true, values: switches},
			{name: "external_v4_ip", typ: "text", post: true, nullable: true, values: join(as("203.0.113.250", "2001:db8::9"), bad("203.0.113", 5))},
			{name: "external_v6_ip", typ: "text"},
			{name: "status", typ: "text"},
			{name: "status_reason", typ: "object"},
		},
		// Section 7.1.
		"endpoint_group": {
			{name: "type", typ: "text", post: true, required: true, values: join(as("cidr", "subnet"), bad("vlan", "network", "router", "CIDR", 1))},
			{name: "endpoints", typ: "list", post: true, put: true, nullable: true, fallback: []any{}, values: join(cidrLists(), bad(5, []any{5}, object{}, []any{"a\nb"}))},
		},
		"ipsec_site_connection": connectionSchema(),
	}[kind]...)
}

// Section 7.2 and 8.3.
func connectionSchema() []attribute {
	ids := join(as("branch", "branch", "branch", "10.0.0.1", "user@example.net", "@fqdn.example.net", "key id 7", long), bad(`a"b`, "a'b", "a\nb", long+"x", 7, []any{}))
	key := strings.Repeat("k", 128)
	return []attribute{
		{name: "vpnservice_id", typ: "text", post: true, required: true, values: bad("banana")},
		{name: "ikepolicy_id", typ: "text", post: true, put: true, required: true, values: bad("banana")},
		{name: "ipsecpolicy_id", typ: "text", post: true, put: true, required: true, values: bad(5)},
		{name: "peer_address", typ: "text", post: true, put: true, required: true, values: join(peerValues(), bad(5, strings.Repeat("a", 251), "a\nb"))},
		{name: "peer_id", typ: "text", post: true, put: true, required: true, values: join(ids, bad(""))},
		{name: "local_id", typ: "text", post: true, put: true, fallback: "", values: join(ids, as(""))},
		{name: "psk", typ: "secret", post: true, put: true, required: true, values: join(as("kT7-wq2Lz9_Xm", "kT7-wq2Lz9_Xm", "kT7-wq2Lz9_Xm", "another-key", key, `q"u\o<t>&e*`),
			bad("short", key+"k", "with a blank", "what?why", "******", "*********", "schlüssel", "tab\tbed", 123456, []any{"kT7-wq2Lz9_Xm"}, ""))},
		{name: "auth_mode", typ: "text", post: true, constant: true, fallback: "psk", values: join(as("psk"), bad("rsa", 1))},
		{name: "route_mode", typ: "text", post: true, constant: true, fallback: "static", values: join(as("static"), bad("dynamic"))},
		{name: "initiator", typ: "text", post: true, put: true, fallback: "bi-directional", values: join(as("bi-directional", "response-only"), bad("both", 1))},
		{name: "mtu", typ: "number", post: true, put: true, fallback: 1500, values: join(as(1400, 1500, 68, 1280, 9000, 67, 0, 9001, -1), []value{kept("1400", 1400)}, unconvertible("x", 1400.5, true, "", []any{}))},
		{name: "dpd", typ: "object", post: true, put: true, fallback: object{"action": "hold", "interval": 30, "timeout": 120}, values: dpds()},
		{name: "probe_address", typ: "text", post: true, put: true, nullable: true, values: join(as("192.168.40.9", "192.168.41.1", "2001:db8:40::9", "203.0.113.9"), bad("", "banana", "192.168.40.0/24", "fe80::1%eth0", 5, []any{}))},
		{name: "local_ep_group_id", typ: "text", post: true, put: true, nullable: true, values: bad("banana")},
		{name: "peer_ep_group_id", typ: "text", post: true, put: true, nullable: true, values: bad("banana")},
		{name: "peer_cidrs", typ: "list", post: true, put: true, nullable: true, fallback: []any{}, values: join(cidrLists(),
			bad("10.1/16", []any{"10.1/16"}, []any{"192.168.40.0/24", "192.168.40.0/24"}, 5, []any{5}, object{}))},
		{name: "admin_state_up", typ: "bool", post: true, put: true, fallback: true, values: switches},
		{name: "status", typ: "text"},
		{name: "status_reason", typ: "object"},
		{name: "tags", typ: "list"},
	}
}

func dpds() []value {
	var legal []value
	for _, d := range []object{{}, {"action": "restart"}, {"interval": 10, "timeout": 60}, {"interval": "15"}, {"timeout": "40"}, {"interval": 119}, {"interval": 120}, {"timeout": 20},
		{"action": "disabled", "interval": 500}, {"action": "restart-by-peer", "interval": 1, "timeout": 86400}, {"action": "clear"}} {
		legal = append(legal, value{sent: d, kept: d})
	}
	return join(legal, bad(object{"interval": 0}, object{"timeout": 86401}, object{"action": "Hold"}, object{"retry": 1}, "hold", 30, []any{}), unconvertible(object{"interval": "x"}, object{"timeout": 1.5}))
}
