package gateway

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"culvert/internal/vpn"
)

// offer is one proposal of a peer in the API's words: each kind of algorithm has the alternatives that it names, none where
// it says nothing of it.
type offer struct {
	protocol                       string // ike, esp, ah
	ciphers, hashes, prfs, dhGroup []string
}

var charonCipher = regexp.MustCompile(`^AES_(CBC|CTR|CCM_8|CCM_12|CCM_16|GCM_8|GCM_12|GCM_16)_(128|192|256)$`)

// readOffers reads what charon prints of proposals, such as "IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256,
// IKE:…". What the API has no word for stays as charon names it.
func readOffers(text string) (out []offer) {
	for _, one := range strings.Split(text, ", ") {
		protocol, transforms, ok := strings.Cut(one, ":")
		if !ok {
			continue
		}
		o := offer{protocol: strings.ToLower(protocol)}
		for _, t := range strings.Split(transforms, "/") {
			o.add(t)
		}
		out = append(out, o)
	}
	return out
}

// add sorts one transform in by its name.
func (o *offer) add(transform string) {
	prf, isPRF := strings.CutPrefix(transform, "PRF_")
	switch {
	case strings.HasSuffix(transform, "EXT_SEQ"):
	case isPRF:
		o.prfs = append(o.prfs, hashWord(prf))
	case strings.HasPrefix(transform, "HMAC_") || transform == "AES_XCBC_96" || transform == "AES_CMAC_96":
		o.hashes = append(o.hashes, hashWord(transform))
	case strings.HasPrefix(transform, "MODP_") || strings.HasPrefix(transform, "ECP_") || strings.HasPrefix(transform, "CURVE_"):
		o.dhGroup = append(o.dhGroup, groupWord(transform))
	default:
		o.ciphers = append(o.ciphers, cipherWord(transform))
	}
}

// cipherWord: AES_GCM_16_256 is aes-256-gcm-16.
func cipherWord(transform string) string {
	if transform == "3DES_CBC" {
		return "3des"
	}
	m := charonCipher.FindStringSubmatch(transform)
	if m == nil {
		return transform
	}
	word := "aes-" + m[2]
	if m[1] != "CBC" {
		word += "-" + strings.ToLower(strings.ReplaceAll(m[1], "_", "-"))
	}
	return word
}

// hashWord knows integrity algorithms and, without their PRF_, pseudo random functions.
func hashWord(transform string) string {
	words := map[string]string{
		"HMAC_MD5_96": "md5", "HMAC_SHA1_96": "sha1", "HMAC_SHA2_256_128": "sha256", "HMAC_SHA2_384_192": "sha384",
		"HMAC_SHA2_512_256": "sha512", "AES_XCBC_96": "aes-xcbc", "AES_CMAC_96": "aes-cmac",
		"HMAC_MD5": "md5", "HMAC_SHA1": "sha1", "HMAC_SHA2_256": "sha256", "HMAC_SHA2_384": "sha384", "HMAC_SHA2_512": "sha512",
		"AES128_XCBC": "aes-xcbc", "AES128_CMAC": "aes-cmac",
	}
	if word, ok := words[transform]; ok {
		return word
	}
	return transform
}

// groupWord goes by the keywords that the API's groups have in charon's configuration: modp2048 prints as MODP_2048,
// modp2048s256 as MODP_2048_256, ecp256bp as ECP_256_BP.
func groupWord(transform string) string {
	printed := strings.ToLower(strings.ReplaceAll(transform, "_", ""))
	for word, keyword := range groups {
		if keyword == printed || strings.Replace(keyword, "s", "", 1) == printed {
			return word
		}
	}
	return transform
}

// String is the offer in the order of a policy's attributes.
func (o offer) String() string {
	parts := []string{}
	if o.protocol != "ike" {
		parts = append(parts, o.protocol)
	}
	auth := o.auth()
	for _, list := range [][]string{o.ciphers, auth} {
		if len(list) > 0 {
			parts = append(parts, strings.Join(list, " or "))
		}
	}
	if o.protocol == "ike" && len(o.hashes) > 0 && len(o.prfs) > 0 && !slices.Equal(o.prfs, o.hashes) {
		parts = append(parts, "prf "+strings.Join(o.prfs, " or "))
	}
	if group := strings.Join(o.dhGroup, " or "); group != "" && o.protocol != "ike" {
		parts = append(parts, "pfs "+group)
	} else if group != "" {
		parts = append(parts, group)
	}
	return strings.Join(parts, ", ")
}

// auth is what stands for auth_algorithm: of IKE with an AEAD cipher the PRF.
func (o offer) auth() []string {
	if len(o.hashes) > 0 || o.protocol != "ike" {
		return o.hashes
	}
	return o.prfs
}

func offersText(offers []offer) string {
	texts := make([]string, len(offers))
	for i, o := range offers {
		texts[i] = o.String()
	}
	return strings.Join(texts, "; ")
}

// attribute is one of a policy, with what it says and what the peer offers for it.
type attribute struct {
	name  string
	ours  string
	offer []string
}

// policy is an IKE or an IPsec policy as far as proposals go.
type policy struct {
	kind, id                      string // ikepolicy, ipsecpolicy
	protocol, cipher, hash, group string // group: "" where it does not count
}

func ikePolicy(p vpn.IKESpec) policy {
	return policy{"ikepolicy", p.Policy, "ike", p.Encryption, sha(p.Auth), p.Group}
}

func ipsecPolicy(p vpn.ESPSpec) policy {
	out := policy{"ipsecpolicy", p.Policy, p.Protocol, p.Encryption, sha(p.Auth), p.PFS}
	if p.Protocol == "ah" {
		out.cipher = ""
	}
	return out
}

// sha takes the one spelling of an auth algorithm that has two.
func sha(auth string) string { return strings.Replace(auth, "sha2-", "sha", 1) }

// String says what the policy wants.
func (p policy) String() string {
	parts := []string{}
	if p.protocol != "ike" {
		parts = append(parts, p.protocol)
	}
	if p.cipher != "" {
		parts = append(parts, p.cipher)
	}
	if _, aead, _ := cipher(p.cipher); !aead || p.protocol == "ike" {
		parts = append(parts, p.hash)
	}
	if p.group != "" && p.protocol != "ike" {
		parts = append(parts, "pfs "+p.group)
	} else if p.group != "" {
		parts = append(parts, p.group)
	}
	return strings.Join(parts, ", ")
}

// differs answers the policy's attributes that an offer does not meet. The first exchange of IKEv2 names no group for the
// CHILD_SA: where the offer has none and something else differs, the group is left aside.
func (p policy) differs(o offer) (out []attribute) {
	if p.protocol != o.protocol {
		return []attribute{{"transform_protocol", p.protocol, []string{o.protocol}}}
	}
	check := func(name, ours string, offered []string) {
		if ours != "" && !slices.Contains(offered, ours) {
			out = append(out, attribute{name, ours, offered})
		}
	}
	check("encryption_algorithm", p.cipher, o.ciphers)
	if auth := o.auth(); len(auth) > 0 { // none with an AEAD cipher
		check("auth_algorithm", p.hash, auth)
	}
	switch {
	case p.protocol == "ike":
		check("pfs", p.group, o.dhGroup)
	case len(o.dhGroup) == 0 && (len(out) > 0 || p.group == "disable" || p.group == ""):
	case len(o.dhGroup) == 0:
		out = append(out, attribute{"pfs", p.group, []string{"disable"}})
	default:
		check("pfs", p.group, o.dhGroup)
	}
	return out
}

// nearest answers what the closest of the offers lacks, nil where one fits or there is none.
func (p policy) nearest(offers []offer) (out []attribute) {
	for i, o := range offers {
		if d := p.differs(o); i == 0 || len(d) < len(out) {
			out = d
		}
	}
	return out
}

// mend names the change that would bring the policy and an offer together.
func (p policy) mend(lacks []attribute) string {
	var sets []string
	for _, a := range lacks {
		at := slices.IndexFunc(a.offer, a.settable)
		if at < 0 {
			return "make the peer offer " + p.String() + "; this service has nothing that it offers"
		}
		sets = append(sets, fmt.Sprintf("%s to %s", a.name, a.offer[at]))
	}
	whole := nameOf(p.kind, p.id)
	switch len(sets) {
	case 0:
		return ""
	case 1:
		name, value, _ := strings.Cut(sets[0], " to ")
		return fmt.Sprintf("set %s of %s to %s, which the peer offers", name, whole, value)
	}
	return fmt.Sprintf("set %s of %s, which the peer offers", strings.Join(sets, " and "), whole)
}

// settable says that the API takes the value.
func (a attribute) settable(value string) bool {
	switch a.name {
	case "encryption_algorithm":
		_, _, err := cipher(value)
		return err == nil
	case "auth_algorithm":
		return hashes[value] != ""
	case "pfs":
		return value == "disable" || groups[value] != ""
	}
	return value == "esp" || value == "ah"
}
