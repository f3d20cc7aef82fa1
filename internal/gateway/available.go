package gateway

import (
	"context"
	"fmt"
	"strings"

	"culvert/internal/vpn"
)

// available is the algorithms that a charon has, by its names for them (VICI get-algorithms); nil where nobody has asked.
// What it is asked to use without having it, charon leaves out of a proposal or fails with in the middle of an exchange.
type available map[string]bool

// algorithms asks charon.
func (s *session) algorithms(ctx context.Context) (available, error) {
	reply, err := s.conn.Call(ctx, "get-algorithms", nil)
	if err != nil {
		return nil, err
	}
	out := available{}
	for _, kind := range []string{"encryption", "integrity", "aead", "prf", "dh"} {
		for _, name := range reply.Section(kind).Keys() {
			out[name] = true
		}
	}
	return out, nil
}

// integrity and functions are charon's names for what the hashes become: integrity algorithms, and in IKE
// pseudo-random functions.
var (
	integrity = map[string]string{"md5": "HMAC_MD5_96", "sha1": "HMAC_SHA1_96", "sha256": "HMAC_SHA2_256_128", "sha384": "HMAC_SHA2_384_192",
		"sha512": "HMAC_SHA2_512_256", "aesxcbc": "AES_XCBC_96", "aescmac": "AES_CMAC_96"}
	functions = map[string]string{"md5": "PRF_HMAC_MD5", "sha1": "PRF_HMAC_SHA1", "sha256": "PRF_HMAC_SHA2_256", "sha384": "PRF_HMAC_SHA2_384",
		"sha512": "PRF_HMAC_SHA2_512", "aesxcbc": "PRF_AES128_XCBC", "aescmac": "PRF_AES128_CMAC"}
)

// need is one algorithm that a policy asks for: the attribute and its value, and charon's name.
type need struct{ policy, attribute, value, name string }

// cipherNeed answers charon's name of an API encryption algorithm. The key's length is no matter of availability.
func cipherNeed(value string) string {
	switch m := cipherName.FindStringSubmatch(value); {
	case m == nil:
		return "3DES_CBC"
	case m[3] != "":
		return "AES_" + strings.ToUpper(m[3]) + "_" + m[4]
	case m[2] != "":
		return "AES_CTR"
	}
	return "AES_CBC"
}

// groupNeed answers charon's name of an API DH group.
func groupNeed(value string) string {
	keyword := groups[value]
	for _, family := range []struct{ keyword, name string }{{"modp", "MODP_"}, {"ecp", "ECP_"}} {
		if bits, ok := strings.CutPrefix(keyword, family.keyword); ok {
			bits = strings.Replace(bits, "s", "_", 1)
			return family.name + strings.Replace(bits, "bp", "_BP", 1)
		}
	}
	return "CURVE_25519"
}

// needs answers what a connection asks of charon. Its algorithms must be known. With ESP in the kernel the kernel's
// algorithms count for the CHILD_SAs, which VICI does not tell.
func needs(c vpn.ConnectionSpec, dataplane string) []need {
	_, aead, _ := cipher(c.IKE.Encryption)
	out := []need{{"IKE", "encryption_algorithm", c.IKE.Encryption, cipherNeed(c.IKE.Encryption)},
		{"IKE", "auth_algorithm", c.IKE.Auth, functions[hashes[c.IKE.Auth]]}, {"IKE", "pfs", c.IKE.Group, groupNeed(c.IKE.Group)}}
	if !aead {
		out = append(out, need{"IKE", "auth_algorithm", c.IKE.Auth, integrity[hashes[c.IKE.Auth]]})
	}
	if dataplane == Userland {
		out = append(out, need{"IPsec", "encryption_algorithm", c.ESP.Encryption, cipherNeed(c.ESP.Encryption)})
		if _, aead, _ := cipher(c.ESP.Encryption); !aead {
			out = append(out, need{"IPsec", "auth_algorithm", c.ESP.Auth, integrity[hashes[c.ESP.Auth]]})
		}
	}
	if groups[c.ESP.PFS] != "" {
		out = append(out, need{"IPsec", "pfs", c.ESP.PFS, groupNeed(c.ESP.PFS)})
	}
	return out
}

// lacks answers why a connection cannot be had with these algorithms, nil if it can. The error is a *configError.
func (a available) lacks(c vpn.ConnectionSpec, dataplane string) error {
	if a == nil {
		return nil
	}
	for _, n := range needs(c, dataplane) {
		if !a[n.name] {
			return refuse("algorithm_unavailable", fmt.Sprintf("%s policy: the IKE daemon of this gateway has no %s %s (%s)", n.policy, n.attribute, n.value, n.name),
				fmt.Sprintf("set %s of the %s policy to another value", n.attribute, n.policy))
		}
	}
	return nil
}
