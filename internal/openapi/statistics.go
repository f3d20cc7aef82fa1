package openapi

// statisticsOperation is what one IPsec site connection carries.
func statisticsOperation(out map[string]*Operation, route string) {
	op := simple("ipsec_site_connection", "Show what an IPsec site connection carries", closed(Object{"statistics": statisticsSchema()}))
	op.Description = "What its gateway counted and saw last, every few seconds while the tunnel is up. Counters never go backwards over rekeys and restarts of agent or server; " +
		"they begin anew on another gateway host, see counted_since. What an SA sent in its last seconds before a rekey may be missing. They count the active probe's packets too."
	op.answer = Object{"statistics": exampleStatistics()}
	out[route] = op
}

// described is a schema of the type with words.
func described(typ any, words string) Object { return Object{"type": typ, "description": words} }

func when(words string) Object {
	return described([]string{"string", "null"}, words+", UTC; null for never.")
}

func counter(words string) Object {
	o := described("integer", words)
	o["minimum"] = 0
	return o
}

func statisticsSchema() Object {
	ike := list(ikeSASchema())
	ike["description"] = "The IKE_SAs as they stand, with what was negotiated; empty while the tunnel is down."
	return closed(Object{
		"ipsec_site_connection_id": described("string", "The connection's id."),
		"measured_at":              when("When its gateway looked last"),
		"counted_since":            when("When its gateway began to count"),
		"established_at":           when("Since when the tunnel is up without a break; null while it is down"),
		"bytes_in":                 counter("Bytes of IP packets that came through the tunnel."),
		"bytes_out":                counter("Bytes of IP packets that were sent into the tunnel."),
		"packets_in":               counter("Packets that came through the tunnel."),
		"packets_out":              counter("Packets that were sent into the tunnel."),
		"last_packet_in_at":        when("When the last packet came"),
		"last_packet_out_at":       when("When the last packet was sent"),
		"traffic":                  Object{"type": "string", "enum": []string{"none", "both", "in_only", "out_only"}, "description": "The directions in which packets passed in the minute before measured_at."},
		"ike_rekeys":               counter("How often an IKE_SA was replaced by another without a break."),
		"child_rekeys":             counter("How often a CHILD_SA was replaced by another without a break."),
		"ike_sas":                  ike,
		"probe":                    probeSchema(),
	})
}

func ikeSASchema() Object {
	children := list(closed(Object{
		"protocol": described("string", "esp or ah."), "spi_in": described("string", "The SPI that the peer sends with, hexadecimal."),
		"spi_out":       described("string", "The SPI that this side sends with, hexadecimal."),
		"encapsulation": described("string", "udp (NAT traversal, and ESP in userland), or none."), "encryption": described("string", "The cipher with the length of its key."),
		"integrity": described("string", "Empty where the cipher brings its own."), "group": described("string", "The Diffie-Hellman group of its own keys; empty where they come from those of the IKE_SA."),
		"local_ts": list(text()), "remote_ts": list(text()), "installed_at": when("When it was made"),
	}))
	return closed(Object{
		"version": described("string", "v1 or v2."), "local_address": text(), "local_port": counter("4500 with NAT traversal."), "remote_address": text(), "remote_port": counter("As local_port."),
		"initiator": described("boolean", "Whether this side began it."), "initiator_spi": text(), "responder_spi": text(),
		"nat_local": described("boolean", "Whether this side is behind NAT."), "nat_remote": described("boolean", "Whether the peer is behind NAT."),
		"encryption": described("string", "Algorithms have IANA's names, as strongSwan writes them."), "integrity": described("string", "Empty where the cipher brings its own."), "prf": text(), "group": text(),
		"established_at": when("When it was made"), "child_sas": children,
	})
}

func probeSchema() Object {
	ms := func(words string) Object {
		return described([]string{"number", "null"}, words+", milliseconds; null without an answer.")
	}
	out := closed(Object{
		"address": described("string", "The connection's probe_address."), "source": described("string", "The gateway's address that it is asked from."),
		"sent": counter("Small echo requests of the last window, the newest 20."), "received": counter("How many of them were answered."),
		"loss": described("number", "The part of them that was not answered, from 0 to 1."), "rtt_ms": ms("Mean round trip"), "rtt_min_ms": ms("Shortest round trip"), "rtt_max_ms": ms("Longest round trip"),
		"last_answer_at": when("When the last answer came"), "large_size": counter("Bytes of the large echo requests: the connection's mtu, or what the way to the tunnel takes."),
		"largest_size": counter("Bytes of the largest packet that was answered; 0 for none yet."),
	})
	out["type"], out["description"] = []string{"object", "null"}, "What the active probe saw; null without probe_address, and while the tunnel is down."
	return out
}

func exampleStatistics() Object {
	at := func(clock string) string { return "2026-11-01 " + clock + ".000000" }
	child := Object{"protocol": "esp", "spi_in": "c4a1f2d9", "spi_out": "ca07be13", "encapsulation": "none", "encryption": "AES_CBC_256", "integrity": "HMAC_SHA2_256_128",
		"group": "MODP_2048", "local_ts": []string{"10.10.0.0/24"}, "remote_ts": []string{"10.20.0.0/16"}, "installed_at": at("08:48:00")}
	ike := Object{"version": "v2", "local_address": "203.0.113.10", "local_port": 500, "remote_address": "198.51.100.7", "remote_port": 500, "initiator": true,
		"initiator_spi": "8d1f3a5b7c9e0f21", "responder_spi": "2b4d6f8091a3c5e7", "nat_local": false, "nat_remote": false, "encryption": "AES_CBC_256",
		"integrity": "HMAC_SHA2_256_128", "prf": "PRF_HMAC_SHA2_256", "group": "MODP_2048", "established_at": at("08:00:00"), "child_sas": []Object{child}}
	probe := Object{"address": "10.20.0.1", "source": "10.10.0.1", "sent": 20, "received": 20, "loss": 0, "rtt_ms": 11.2, "rtt_min_ms": 10.6, "rtt_max_ms": 14.9,
		"last_answer_at": at("09:00:00"), "large_size": 1400, "largest_size": 1400}
	return Object{"ipsec_site_connection_id": exampleID("ipsec_site_connection"), "measured_at": at("09:00:00"), "counted_since": at("08:00:00"), "established_at": at("08:00:00"),
		"bytes_in": 73400320, "bytes_out": 9437184, "packets_in": 61204, "packets_out": 40817, "last_packet_in_at": at("08:59:58"), "last_packet_out_at": at("08:59:58"),
		"traffic": "both", "ike_rekeys": 0, "child_rekeys": 1, "ike_sas": []Object{ike}, "probe": probe}
}
