package openapi

// kindWords says what each kind is.
func kindWords() map[string]string {
	return map[string]string{
		"vpnservice":            "A VPN service puts a router into the VPN: its connections end on that router.",
		"ikepolicy":             "An IKE policy says how the two gateways make themselves known to each other and agree on keys (IKE_SA).",
		"ipsecpolicy":           "An IPsec policy says how packets are protected (CHILD_SA).",
		"endpoint_group":        "An endpoint group names what stands behind one side of a tunnel: subnets of the router, or CIDRs.",
		"ipsec_site_connection": "An IPsec site connection is a tunnel: a VPN service, its policies, the peer, and the networks on both sides.",
		"network":               "A network is a broadcast domain. With router:external it is a way out.",
		"subnet":                "A subnet is a range of addresses on a network.",
		"router":                "A router joins subnets, and reaches the world through its external gateway.",
		"port":                  "A port is an attachment to a network, with addresses.",
	}
}

// attrWords says what an attribute is: owner is its kind's name, or <kind>.<object> inside of an object.
func attrWords(owner, name string) string {
	if text, ok := ownWords()[owner+"."+name]; ok {
		return text
	}
	return headWords()[name]
}

// headWords are those of attributes that mean the same in every kind.
func headWords() map[string]string {
	return map[string]string{
		"id":                      "Made by the server.",
		"project_id":              "The project that owns it. The token's, unless an admin names another.",
		"tenant_id":               "The same as project_id.",
		"name":                    "For people; need not be unique. No blanks at its ends.",
		"description":             "For people.",
		"created_at":              "When it was made, UTC.",
		"updated_at":              "When one of its own attributes changed last, UTC.",
		"revision_number":         "Grows with every change of its own attributes; see If-Match.",
		"tags":                    "Words that clients put on it; see the operations on tags.",
		"admin_state_up":          "Whether it is wanted at all.",
		"port_security_enabled":   "Kept for clients that read it back.",
		"availability_zones":      "Always empty: there are none here.",
		"availability_zone_hints": "Always empty: there are no availability zones here.",
		"flavor_id":               "Always null: there are no flavors here.",
		"units":                   "The only unit there is.",
	}
}

func ownWords() map[string]string {
	const (
		auth   = "The algorithm of integrity and, for IKE, of the PRF. sha256 and sha2-256 are the same, and so on."
		cipher = "The cipher. Those with ccm or gcm bring their own integrity."
		group  = "The Diffie-Hellman group."
		state  = "What is true of it now; PENDING_* ends by itself."
		why    = "Why the status is not ACTIVE, or what is wrong with a connection that is; null where there is nothing to say. " +
			"code is for programs; side says whose affair it is (ours, theirs, path, unknown), phase when it came (config, resolve, ike_init, ike_auth, child, rekey, liveness, local). " +
			"ours and theirs are what each side wants or said, in the words of this API, and hint is the change that would mend it; each is empty where that is not known."
		mode = "Kept for clients that read it back."
	)
	return map[string]string{
		"vpnservice.router_id": "The router that the connections end on.", "vpnservice.subnet_id": "The subnet behind connections that use peer_cidrs; null for those with endpoint groups.",
		"vpnservice.external_v4_ip": "The address that peers name, IPv4: the router's, unless it is given.", "vpnservice.external_v6_ip": "The same, IPv6.",
		"vpnservice.status": state, "vpnservice.status_reason": why,
		"ikepolicy.auth_algorithm": auth, "ikepolicy.encryption_algorithm": cipher, "ikepolicy.pfs": group,
		"ikepolicy.phase1_negotiation_mode": "aggressive exists in IKE v1 only.", "ikepolicy.ike_version": "Both sides must say the same.",
		"ikepolicy.lifetime": "How long the IKE_SA lives before it is replaced.", "ikepolicy.lifetime.value": "Seconds.",
		"ipsecpolicy.transform_protocol": "esp encrypts; ah only proves where a packet is from.", "ipsecpolicy.auth_algorithm": auth, "ipsecpolicy.encryption_algorithm": cipher,
		"ipsecpolicy.encapsulation_mode": "The only mode there is.", "ipsecpolicy.pfs": "The Diffie-Hellman group of new keys; disable makes them from the old ones.",
		"ipsecpolicy.lifetime": "How long a CHILD_SA lives before it is replaced.", "ipsecpolicy.lifetime.value": "Seconds.",
		"endpoint_group.type": "What the endpoints are: ids of subnets, or CIDRs.", "endpoint_group.endpoints": "At least one; all of one IP version.",
		"ipsec_site_connection.vpnservice_id": "The VPN service that it belongs to.", "ipsec_site_connection.ikepolicy_id": "Its IKE policy.", "ipsec_site_connection.ipsecpolicy_id": "Its IPsec policy.",
		"ipsec_site_connection.peer_address": "The other gateway: an IP address or a host name.",
		"ipsec_site_connection.peer_id":      "Who the other gateway says it is: an address, a name, an e-mail address or a key id.",
		"ipsec_site_connection.local_id":     "Who this side says it is; empty: its external address.",
		"ipsec_site_connection.psk":          "The pre-shared key: printable ASCII without blank and question mark. It is used as written, also where it begins with 0x or 0s, which strongSwan's own files take for an encoding. Those who may only read get ******.",
		"ipsec_site_connection.auth_mode":    "The only way there is.", "ipsec_site_connection.route_mode": "The only way there is.",
		"ipsec_site_connection.initiator": "Whether this side begins, too.", "ipsec_site_connection.mtu": "Bytes of the largest packet into the tunnel: from 68 (IPv6: 1280) to 9000.",
		"ipsec_site_connection.probe_address": "An address in the peer's networks that the gateway pings through the tunnel while it is up, to know that packets of all sizes pass; null for none. " +
			"Loss and round trip are in the statistics; changing it does not touch the tunnel.",
		"ipsec_site_connection.dpd":          "Dead peer detection. Its timeout must be greater than its interval.",
		"ipsec_site_connection.dpd.action":   "What happens when the peer is dead.",
		"ipsec_site_connection.dpd.interval": "Seconds between two questions.", "ipsec_site_connection.dpd.timeout": "Seconds without an answer until the peer counts as dead (IKE v1).",
		"ipsec_site_connection.local_ep_group_id": "The endpoint group of this side, of type subnet; with peer_ep_group_id.",
		"ipsec_site_connection.peer_ep_group_id":  "The endpoint group of the peer's side, of type cidr; instead of peer_cidrs.",
		"ipsec_site_connection.peer_cidrs":        "The networks behind the peer, where there are no endpoint groups.",
		"ipsec_site_connection.status":            state, "ipsec_site_connection.status_reason": why,
		"ipsec_site_connection.tags": "Key/value tags; see the operations on tags.",
		"network.status":             "Always ACTIVE.", "network.shared": "Whether every project may use it; set by an admin.", "network.router:external": "Whether routers may have their gateway on it; set by an admin.",
		"network.provider:network_type":     "flat: on the gateway's interface of provider:physical_network; local: a bridge of its own.",
		"network.provider:physical_network": "The name of an interface of the gateway; set by an admin.", "network.provider:segmentation_id": "Always null.",
		"network.mtu": "Bytes; 0 asks for the default.", "network.subnets": "The ids of its subnets.", "network.ipv4_address_scope": "Always null.", "network.ipv6_address_scope": "Always null.",
		"subnet.network_id": "The network that it is on.", "subnet.cidr": "Its addresses; bits of a host are masked away.", "subnet.ip_version": "4 or 6, as cidr.",
		"subnet.gateway_ip":  "The routers' address on it: its first, unless it is given; null for none.",
		"subnet.enable_dhcp": "Kept for clients that read it back: nothing here gives out addresses.", "subnet.allocation_pools": "The ranges that ports get addresses from.",
		"subnet.dns_nameservers": mode, "subnet.host_routes": mode, "subnet.ipv6_ra_mode": mode, "subnet.ipv6_address_mode": mode,
		"subnet.subnetpool_id": "Always null.", "subnet.service_types": "Always empty.",
		"router.status": "Always ACTIVE.", "router.external_gateway_info": "Its way out: an external network, and the addresses there; null for none.",
		"router.routes": "Static routes.", "router.distributed": "Always false.", "router.ha": "Always false.",
		"port.network_id": "The network that it is on.", "port.status": "ACTIVE for a router's port; DOWN for others, since nothing here plugs machines.",
		"port.mac_address": "Drawn by lot unless an admin gives it.", "port.fixed_ips": "Its addresses: one is chosen where none is asked for.",
		"port.device_id": "What it belongs to; a router's id for a router's port.", "port.device_owner": "What sort of thing that is.",
		"port.security_groups": "Always empty: there are no security groups here.", "port.allowed_address_pairs": "Addresses that it may use besides its own.",
		"port.binding:vnic_type": mode,
	}
}

// filterWords says what a filter does that is no attribute's.
func filterWords(name string) string {
	return map[string]string{
		"tags": "Only those with all of these tags, separated by commas.", "tags-any": "Only those with any of these tags, separated by commas.",
		"not-tags": "Not those with all of these tags, separated by commas.", "not-tags-any": "Not those with any of these tags, separated by commas.",
		"fixed_ips": "Only ports with such an address: subnet_id= or ip_address= and a value; given again: and this.",
	}[name]
}

// pathWords says what the names in braces are.
func pathWords() map[string]string {
	return map[string]string{
		"id": "The id of the resource.", "tag": "The tag.", "alias": "The alias of the extension.", "project": "The id of a project.", "user": "The id of a user.",
		"domain": "The id of a domain.", "role": "The id of a role.", "key": "The key of a tag.", "file": "The name of a file.",
	}
}
