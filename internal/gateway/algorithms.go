package gateway

import (
	"fmt"
	"regexp"
	"strings"

	"culvert/internal/vpn"
)

// groups maps the API's DH groups (IANA transform numbers) to strongSwan's keywords.
var groups = map[string]string{
	"group1": "modp768", "group2": "modp1024", "group5": "modp1536", "group14": "modp2048", "group15": "modp3072",
	"group16": "modp4096", "group17": "modp6144", "group18": "modp8192", "group19": "ecp256", "group20": "ecp384",
	"group21": "ecp521", "group22": "modp1024s160", "group23": "modp2048s224", "group24": "modp2048s256",
	"group25": "ecp192", "group26": "ecp224", "group27": "ecp224bp", "group28": "ecp256bp", "group29": "ecp384bp",
	"group30": "ecp512bp", "group31": "curve25519",
}

// hashes maps the API's auth algorithms, in both spellings, to strongSwan's keywords.
var hashes = map[string]string{
	"md5": "md5", "sha1": "sha1", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512",
	"sha2-256": "sha256", "sha2-384": "sha384", "sha2-512": "sha512", "aes-xcbc": "aesxcbc", "aes-cmac": "aescmac",
}

var cipherName = regexp.MustCompile(`^aes-(128|192|256)(-ctr|-(ccm|gcm)-(8|12|16))?$`)

// cipher answers the keyword of an API encryption algorithm, and whether it authenticates as well (AEAD).
func cipher(name string) (keyword string, aead bool, err error) {
	if name == "3des" {
		return "3des", false, nil
	}
	m := cipherName.FindStringSubmatch(name)
	if m == nil {
		return "", false, fmt.Errorf("encryption algorithm %q is not known", name)
	}
	return strings.ReplaceAll(name, "-", ""), m[3] != "", nil
}

func lookup(table map[string]string, what, name string) (string, error) {
	if keyword, ok := table[name]; ok {
		return keyword, nil
	}
	return "", fmt.Errorf("%s %q is not known", what, name)
}

// ikeProposal is strongSwan's text of an IKE policy. An AEAD cipher needs no integrity algorithm: there the policy's
// auth algorithm is the PRF (as Neutron has it).
func ikeProposal(p vpn.IKESpec) (string, error) {
	enc, aead, err := cipher(p.Encryption)
	if err != nil {
		return "", err
	}
	hash, err := lookup(hashes, "auth algorithm", p.Auth)
	if err != nil {
		return "", err
	}
	group, err := lookup(groups, "DH group", p.Group)
	if err != nil {
		return "", err
	}
	if aead {
		hash = "prf" + hash
	}
	return enc + "-" + hash + "-" + group, nil
}

// childProposal is strongSwan's text of an IPsec policy: ESP, or AH where the cipher does not count. AEAD ciphers
// leave out the auth algorithm.
func childProposal(p vpn.ESPSpec) (string, error) {
	var parts []string
	aead := false
	if p.Protocol != "ah" {
		enc, isAEAD, err := cipher(p.Encryption)
		if err != nil {
			return "", err
		}
		parts, aead = append(parts, enc), isAEAD
	}
	if !aead {
		hash, err := lookup(hashes, "auth algorithm", p.Auth)
		if err != nil {
			return "", err
		}
		parts = append(parts, hash)
	}
	if p.PFS != "disable" && p.PFS != "" {
		group, err := lookup(groups, "PFS group", p.PFS)
		if err != nil {
			return "", err
		}
		parts = append(parts, group)
	}
	return strings.Join(parts, "-"), nil
}
