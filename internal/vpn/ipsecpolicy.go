package vpn

import (
	"errors"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// IPsecPolicy is api-contract section 4.
type IPsecPolicy struct {
	resource.Head
	TransformProtocol   string   `json:"transform_protocol" api:"post put" enum:"esp ah" default:"esp"`
	AuthAlgorithm       string   `json:"auth_algorithm" api:"post put" enum:"@auth" default:"sha256"`
	EncryptionAlgorithm string   `json:"encryption_algorithm" api:"post put" enum:"@encryption" default:"aes-256" neutron:"aes-128"`
	EncapsulationMode   string   `json:"encapsulation_mode" api:"post put" enum:"tunnel" default:"tunnel"`
	PFS                 string   `json:"pfs" api:"post put" enum:"@pfs" default:"group14" neutron:"group5"`
	Lifetime            Lifetime `json:"lifetime" api:"post put" default:"{\"value\":3600}"`
}

func ipsecPolicyKind() *resource.Kind {
	return &resource.Kind{Name: KindIPsecPolicy, Plural: "ipsecpolicies", Path: "vpn/ipsecpolicies", Title: "IPsec policy",
		NotFound: "IPsecPolicyNotFound", InUse: "IPsecPolicyInUse"}
}

func (s *Service) ipsecPolicyRules() crud.Rules[IPsecPolicy] {
	note := func(p *IPsecPolicy) {
		s.noteWeak(KindIPsecPolicy, p.ID, p.ProjectID, p.AuthAlgorithm, p.EncryptionAlgorithm, p.PFS)
	}
	return crud.Rules[IPsecPolicy]{
		Create: func(op *crud.Op, p *IPsecPolicy) error { note(p); return nil },
		Update: func(op *crud.Op, old, p *IPsecPolicy) error {
			note(p)
			if !intended(op, old, p) {
				return nil
			}
			changes, err := resource.Diff(old, p)
			return errors.Join(err, s.policyChanged(op, "ipsecpolicy_id", p.ID, updated(KindIPsecPolicy, &p.Head, changes, PendingUpdate)))
		},
	}
}
