package model

import "strings"

// bodies are what the fuzzing begins with: one for every kind, and what has broken servers before.
func bodies() []string {
	return []string{
		"", "{}", "[]", "null", "0", `"`, "{", strings.Repeat("[", 40), `{"a":1,"a":2}`, "\xff\xfe", `{"name":"\u0000"}`, `{"name":"\ud800"}`,
		`{"ikepolicy":{"name":"n","lifetime":{"value":"3600"}}}`, `{"ikepolicies":[{},{"name":"x"}]}`, `{"ikepolicy":{"lifetime":{"value":1e400}}}`, `{"ikepolicy":{"name":"\u0000"}}`,
		`{"ipsecpolicy":{"transform_protocol":"ah","pfs":"disable"}}`, `{"endpoint_group":{"type":"cidr","endpoints":["10.0.0.24/24"]}}`, `{"endpoint_group":{"endpoints":["\u0000"]}}`,
		`{"endpoint_group":{"type":"subnet","endpoints":["$subnet"]}}`,
		`{"vpnservice":{"router_id":"$router4","subnet_id":null,"admin_state_up":"no"}}`,
		`{"ipsec_site_connection":{"psk":"kT7-wq2Lz9_Xm","mtu":"1400","dpd":{"interval":"10","timeout":60},"peer_cidrs":["192.168.41.0/24"]}}`,
		`{"network":{"mtu":1280,"provider:physical_network":"x"}}`, `{"subnet":{"gateway_ip":null,"allocation_pools":[{"start":"10.77.0.2","end":"10.77.0.9"}]}}`,
		`{"router":{"external_gateway_info":null,"routes":[{"destination":"10.0.0.0/8","nexthop":"10.1.0.9"}]}}`, `{"port":{"fixed_ips":[{"ip_address":"10.77.0.7"}],"mac_address":"fa:16:3e:00:00:01"}}`,
		`{"subnet_id":"$subnet"}`, `{"port_id":"\u0000"}`, `{"tags":["a","b"]}`, `{"tags":["\u0000"]}`, `{"tag":{"key":"k","value":"v"}}`, `{"action":"create","tags":[{"key":"k","value":"v"}]}`,
		`{"action":"filter","limit":"10","offset":0,"tags":[{"key":"k","values":["v"]}],"matches":[{"key":"resource_name","value":"*x"}]}`,
		`{"quota":{"ikepolicy":-1,"force":true}}`, `{"quota":{"ikepolicy":1e99}}`, `{"quota":{"\u0000":1}}`,
		`[{"router":"x","rev":9223372036854775807,"ready":true,"reason":{"code":"\u0000"},"connections":[{"id":"\u0000","state":"up"}]}]`,
		`[{"router":"$router4","rev":99999,"ready":true,"connections":[{"id":"$conn","state":"down","reason":{"code":"c","summary":"\u0000","first_seen":"\u0000"}}]}]`,
		`[{"router":"$router4","rev":9223372036854775807,"ready":false,"reason":{"code":"c","summary":"\u0000\ud800"}}]`,
		`{"user":{"name":"u","domain_id":"default"}}`, `{"user":{"name":"\u0000"}}`, `{"project":{"name":"p","tags":["t"]}}`, `{"project":{"description":"\u0000"}}`, `{"role":{"name":"r"}}`, `{"domain":{"name":"d"}}`,
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"\u0000","domain":{"id":"default"},"password":"x"}}}}}`,
		`{"auth":{"identity":{"methods":["token"],"token":{"id":"x"}},"scope":{"project":{"id":"\u0000"}}}}`,
	}
}

// unreadable are paths that are no text, at what takes any word for an id.
func unreadable() (out []string) {
	for _, p := range []string{"/v2.0/quotas/", "/v2.0/vpn/ikepolicies/", "/v2.0/routers/", "/identity/v3/users/", "/identity/v3/projects/"} {
		for _, id := range []string{"\xff", "\xc3\x28", "a\x00b"} {
			out = append(out, p+id)
		}
	}
	return out
}

// queries likewise.
func queries() []string {
	return []string{
		"", "name=a&name=b&fields=id,name&limit=1", "sort_key=name&sort_dir=desc&marker=00000000-0000-4000-8000-000000000001&page_reverse=True", "limit=-1", "limit=99999999999999999999",
		"marker=%00", "name=%ff", "name=%zz", "name=\x00", "name=';DROP TABLE resources;--", "mtu=99999999999999999999", "revision_number=-9223372036854775807", "admin_state_up=2", "psk=x", "tags=a,b&tags=c",
		"fixed_ips=subnet_id%3Dx", "fields=&fields=,,", "a[b]=c", "=", "&&;&", "after=-1", "after=9", "sort_key=id&sort_key=id&sort_dir=asc&sort_dir=asc", "user.id=%00", "scope.project.id=x&effective", "enabled=x", "name__contains=a",
		"project_id=%F0%9F%98%80", strings.Repeat("a=b&", 600), "name=" + strings.Repeat("x", 40000), "\xff\xfe",
	}
}
