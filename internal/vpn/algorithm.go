package vpn

import (
	"slices"
	"strings"
)

// The names that clients send, upstream's and OTC's (api-contract section 3.2); answers echo them as they were sent.
func authAlgorithms() []string {
	return strings.Fields("sha256 sha384 sha512 sha2-256 sha2-384 sha2-512 aes-xcbc aes-cmac sha1 md5")
}

func encryptionAlgorithms() []string {
	names := []string{}
	for _, mode := range strings.Fields("- -ctr -ccm-8 -ccm-12 -ccm-16 -gcm-8 -gcm-12 -gcm-16") {
		for _, size := range []string{"aes-128", "aes-192", "aes-256"} {
			names = append(names, size+strings.TrimSuffix(mode, "-"))
		}
	}
	return append(names, "3des")
}

func groups() []string {
	return strings.Fields("group14 group15 group16 group17 group18 group19 group20 group21 group22 group23 group24 group25 group26 " +
		"group27 group28 group29 group30 group31 group1 group2 group5")
}

// weak are the names that WeakCrypto is about.
func weak(name string) bool {
	return slices.Contains([]string{"md5", "sha1", "3des", "group1", "group2", "group5", "group22"}, name)
}

// enums are the lists that the tags name with @.
func (s *Service) enums() map[string][]string {
	pick := func(names []string) []string {
		if s.WeakCrypto != "deny" {
			return names
		}
		return slices.DeleteFunc(names, weak)
	}
	return map[string][]string{
		"auth":       pick(authAlgorithms()),
		"encryption": pick(encryptionAlgorithms()),
		"group":      pick(groups()),
		"pfs":        append(pick(groups()), "disable"),
	}
}

// noteWeak logs the use of weak algorithms where the operator wants to know.
func (s *Service) noteWeak(kind, id, project string, names ...string) {
	if s.WeakCrypto != "warn" {
		return
	}
	for _, n := range names {
		if weak(n) {
			s.Log.Warn("a policy uses a weak algorithm", "kind", kind, "id", id, "project_id", project, "algorithm", n)
		}
	}
}
