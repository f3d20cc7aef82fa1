package openapi

import (
	"crypto/sha256"
	"encoding/hex"

	"culvert/internal/resource"
)

// exampleID is a UUID that is the same whenever the example speaks of the same thing.
func exampleID(of string) string {
	sum := sha256.Sum256([]byte(of))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}

// exampleRequest is what a client would send to create one of a kind.
func exampleRequest(k *resource.Kind) Object {
	out, ok := map[string]Object{
		"vpnservice":     {"name": "headquarters", "router_id": exampleID("router")},
		"ikepolicy":      {"name": "strong", "ike_version": "v2", "encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group14", "lifetime": Object{"units": "seconds", "value": 28800}},
		"ipsecpolicy":    {"name": "strong", "encryption_algorithm": "aes-256", "auth_algorithm": "sha256", "pfs": "group14"},
		"endpoint_group": {"name": "branch-networks", "type": "cidr", "endpoints": []any{"10.20.0.0/16", "10.30.0.0/16"}},
		"ipsec_site_connection": {"name": "branch", "vpnservice_id": exampleID("vpnservice"), "ikepolicy_id": exampleID("ikepolicy"), "ipsecpolicy_id": exampleID("ipsecpolicy"),
			"local_ep_group_id": exampleID("local"), "peer_ep_group_id": exampleID("endpoint_group"),
			"peer_address": "198.51.100.7", "peer_id": "198.51.100.7", "psk": "correct-horse-battery", "probe_address": "10.20.0.1", "dpd": Object{"action": "restart", "interval": 15, "timeout": 60}},
		"network": {"name": "office"},
		"subnet":  {"name": "office-v4", "network_id": exampleID("network"), "ip_version": 4, "cidr": "10.10.0.0/24"},
		"router":  {"name": "edge", "external_gateway_info": Object{"network_id": exampleID("wan")}},
		"port":    {"name": "printer", "network_id": exampleID("network")},
	}[k.Name]
	if ok {
		return out
	}
	return Object{"name": "example"}
}

// exampleAnswer is what the server would answer to exampleRequest.
func (b *builder) exampleAnswer(k *resource.Kind) Object {
	sent := exampleRequest(k)
	made := exampleMade()[k.Name]
	out := Object{}
	for _, a := range k.Attrs {
		v, given := sent[a.Name]
		d, has := a.Default()
		switch filled, is := made[a.Name]; {
		case is:
			out[a.Name] = filled
		case given && a.Sub == nil:
			out[a.Name] = v
		case given:
			out[a.Name] = merged(d, v)
		case headExample(k)[a.Name] != nil:
			out[a.Name] = headExample(k)[a.Name]
		case has:
			out[a.Name] = plain(d)
		default:
			out[a.Name] = empty(attrSchema(k.Name, a, answer))
		}
	}
	return out
}

// merged is an object's default with what was sent.
func merged(d, sent any) any {
	base, _ := plain(d).(map[string]any)
	more, _ := sent.(Object)
	for name, v := range more {
		base[name] = v
	}
	return base
}

func headExample(k *resource.Kind) Object {
	project := "5f6c2b9d1e0a4c7e8b3d6a9f0e1c2d3b"
	created := "2026-03-01 12:00:00.000000"
	if k.Path == k.Plural { // Neutron's own write it in another way
		created = "2026-03-01T12:00:00Z"
	}
	return Object{"id": exampleID(k.Name), "project_id": project, "tenant_id": project, "created_at": created, "updated_at": created, "revision_number": 42}
}

// exampleMade is what the server adds by its rules.
func exampleMade() map[string]Object {
	return map[string]Object{
		"vpnservice":            {"status": "ACTIVE", "external_v4_ip": "203.0.113.10"},
		"ipsec_site_connection": {"status": "ACTIVE"},
		"network":               {"status": "ACTIVE", "provider:network_type": "local"},
		"subnet":                {"gateway_ip": "10.10.0.1", "allocation_pools": []Object{{"start": "10.10.0.2", "end": "10.10.0.254"}}},
		"router": {"status": "ACTIVE", "external_gateway_info": Object{"network_id": exampleID("wan"), "enable_snat": true,
			"external_fixed_ips": []Object{{"subnet_id": exampleID("wan-subnet"), "ip_address": "203.0.113.10"}}}},
		"port": {"status": "DOWN", "mac_address": "fa:16:3e:12:34:56", "port_security_enabled": true,
			"fixed_ips": []Object{{"subnet_id": exampleID("subnet"), "ip_address": "10.10.0.2"}}},
	}
}

// empty is the least value of a schema.
func empty(schema Object) any {
	switch schema["type"] {
	case "array":
		return []any{}
	case "boolean":
		return false
	case "integer":
		return 0
	case "string":
		return ""
	}
	return nil // what may be null is
}
