package gateway

import (
	"testing"

	"culvert/internal/vpn"
)

// Proposals as strongSwan 5.9.8 prints them, against policies in the API's words.
func TestOffers(t *testing.T) {
	ike := vpn.IKESpec{Policy: "P", Version: "v2", Encryption: "aes-256", Auth: "sha2-256", Group: "group19"}
	gcm := vpn.IKESpec{Policy: "P", Version: "v2", Encryption: "aes-256-gcm-16", Auth: "sha384", Group: "group14"}
	esp := vpn.ESPSpec{Policy: "Q", Protocol: "esp", Encryption: "aes-256", Auth: "sha256", PFS: "group19"}
	with := func(p vpn.ESPSpec, set func(*vpn.ESPSpec)) vpn.ESPSpec { set(&p); return p }
	for _, tt := range []struct {
		policy                   policy
		line, ours, theirs, mend string
	}{
		{ikePolicy(ike), "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256",
			"aes-256, sha256, group19", "aes-128, sha256, group19", "set encryption_algorithm of ikepolicy P to aes-128, which the peer offers"},
		{ikePolicy(ike), "IKE:3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024, IKE:AES_CBC_256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/MODP_2048_256/ECP_256_BP",
			"aes-256, sha256, group19", "3des, sha1, group2; aes-256, sha512, group24 or group28",
			"set auth_algorithm to sha512 and pfs to group24 of ikepolicy P, which the peer offers"},
		{ikePolicy(ike), "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519",
			"aes-256, sha256, group19", "aes-256-gcm-16, sha384, group31",
			"set encryption_algorithm to aes-256-gcm-16 and auth_algorithm to sha384 and pfs to group31 of ikepolicy P, which the peer offers"},
		{ikePolicy(gcm), "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/MODP_2048", "aes-256-gcm-16, sha384, group14", "aes-256-gcm-16, sha384, group14", ""},
		{ikePolicy(ike), "IKE:CAMELLIA_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256",
			"aes-256, sha256, group19", "CAMELLIA_CBC_256, sha256, group19", "make the peer offer aes-256, sha256, group19; this service has nothing that it offers"},
		{ikePolicy(ike), "IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA1/MODP_1024_160",
			"aes-256, sha256, group19", "aes-256, sha256, prf sha1, group22", "set pfs of ikepolicy P to group22, which the peer offers"},
		{ipsecPolicy(esp), "ESP:AES_CBC_128/HMAC_SHA1_96/NO_EXT_SEQ", "esp, aes-256, sha256, pfs group19", "esp, aes-128, sha1",
			"set encryption_algorithm to aes-128 and auth_algorithm to sha1 of ipsecpolicy Q, which the peer offers"},
		{ipsecPolicy(esp), "ESP:AES_CBC_256/HMAC_SHA2_256_128/MODP_2048/NO_EXT_SEQ", "esp, aes-256, sha256, pfs group19",
			"esp, aes-256, sha256, pfs group14", "set pfs of ipsecpolicy Q to group14, which the peer offers"},
		{ipsecPolicy(esp), "ESP:AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ", "esp, aes-256, sha256, pfs group19", "esp, aes-256, sha256",
			"set pfs of ipsecpolicy Q to disable, which the peer offers"},
		{ipsecPolicy(with(esp, func(p *vpn.ESPSpec) { p.PFS = "disable" })), "ESP:AES_CBC_256/HMAC_SHA2_256_128/MODP_2048/NO_EXT_SEQ",
			"esp, aes-256, sha256, pfs disable", "esp, aes-256, sha256, pfs group14", "set pfs of ipsecpolicy Q to group14, which the peer offers"},
		{ipsecPolicy(with(esp, func(p *vpn.ESPSpec) { p.Encryption = "aes-256-gcm-16" })), "ESP:AES_CBC_256/HMAC_SHA1_96/ECP_256/NO_EXT_SEQ",
			"esp, aes-256-gcm-16, pfs group19", "esp, aes-256, sha1, pfs group19",
			"set encryption_algorithm to aes-256 and auth_algorithm to sha1 of ipsecpolicy Q, which the peer offers"},
		{ipsecPolicy(with(esp, func(p *vpn.ESPSpec) { p.Protocol = "ah" })), "ESP:AES_GCM_16_128/ECP_256/NO_EXT_SEQ", "ah, sha256, pfs group19",
			"esp, aes-128-gcm-16, pfs group19", "set transform_protocol of ipsecpolicy Q to esp, which the peer offers"},
	} {
		offers := readOffers(tt.line)
		if got := tt.policy.String(); got != tt.ours {
			t.Errorf("%s: ours %q, want %q", tt.line, got, tt.ours)
		}
		if got := offersText(offers); got != tt.theirs {
			t.Errorf("%s: theirs %q, want %q", tt.line, got, tt.theirs)
		}
		if got := tt.policy.mend(tt.policy.nearest(offers)); got != tt.mend {
			t.Errorf("%s: hint %q, want %q", tt.line, got, tt.mend)
		}
	}
}

// Every algorithm that the API has is known again in what charon prints: none is taken for one that the API lacks.
func TestEveryGroupIsKnown(t *testing.T) {
	printed := map[string]string{
		"MODP_768": "group1", "MODP_1024": "group2", "MODP_1536": "group5", "MODP_2048": "group14", "MODP_3072": "group15", "MODP_4096": "group16",
		"MODP_6144": "group17", "MODP_8192": "group18", "ECP_256": "group19", "ECP_384": "group20", "ECP_521": "group21", "MODP_1024_160": "group22",
		"MODP_2048_224": "group23", "MODP_2048_256": "group24", "ECP_192": "group25", "ECP_224": "group26", "ECP_224_BP": "group27",
		"ECP_256_BP": "group28", "ECP_384_BP": "group29", "ECP_512_BP": "group30", "CURVE_25519": "group31",
	}
	if len(printed) != len(groups) {
		t.Errorf("%d groups, of %d", len(printed), len(groups))
	}
	for text, want := range printed {
		if got := groupWord(text); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}
