package vpn

import (
	"errors"
	"reflect"

	"culvert/internal/crud"
	"culvert/internal/resource"
)

// Lifetime is how long a security association lives.
type Lifetime struct {
	Units string       `json:"units" api:"post put" enum:"seconds" default:"seconds"`
	Value resource.Int `json:"value" api:"post put" rule:"number 60 604800" default:"3600"`
}

// IKEPolicy is api-contract section 3.
type IKEPolicy struct {
	resource.Head
	AuthAlgorithm         string   `json:"auth_algorithm" api:"post put" enum:"@auth" default:"sha256"`
	EncryptionAlgorithm   string   `json:"encryption_algorithm" api:"post put" enum:"@encryption" default:"aes-256" neutron:"aes-128"`
	PFS                   string   `json:"pfs" api:"post put" enum:"@group" default:"group14" neutron:"group5"`
	Phase1NegotiationMode string   `json:"phase1_negotiation_mode" api:"post put" enum:"main aggressive" default:"main"`
	IKEVersion            string   `json:"ike_version" api:"post put" enum:"v1 v2" default:"v2" neutron:"v1"`
	Lifetime              Lifetime `json:"lifetime" api:"post put" default:"{\"value\":28800}" neutron:"{\"value\":3600}"`
}

func ikePolicyKind() *resource.Kind {
	return &resource.Kind{Name: KindIKEPolicy, Plural: "ikepolicies", Path: "vpn/ikepolicies", Title: "IKE policy",
		NotFound: "IKEPolicyNotFound", InUse: "IKEPolicyInUse"}
}

func (s *Service) ikePolicyRules() crud.Rules[IKEPolicy] {
	return crud.Rules[IKEPolicy]{
		Create: func(op *crud.Op, p *IKEPolicy) error { return s.checkIKEPolicy(p) },
		Update: func(op *crud.Op, old, p *IKEPolicy) error {
			if err := s.checkIKEPolicy(p); err != nil {
				return err
			}
			if !intended(op, old, p) {
				return nil
			}
			changes, err := resource.Diff(old, p)
			return errors.Join(err, s.policyChanged(op, "ikepolicy_id", p.ID, updated(KindIKEPolicy, &p.Head, changes, PendingUpdate)))
		},
	}
}

func (s *Service) checkIKEPolicy(p *IKEPolicy) error {
	if p.Phase1NegotiationMode == "aggressive" && p.IKEVersion != "v1" {
		return resource.Invalid("phase1_negotiation_mode", "'aggressive' exists in IKE v1 only, and ike_version is '%s'; allowed is main", p.IKEVersion)
	}
	s.noteWeak(KindIKEPolicy, p.ID, p.ProjectID, p.AuthAlgorithm, p.EncryptionAlgorithm, p.PFS)
	return nil
}

// policyChanged applies a changed policy to every connection that uses it (api-contract D2).
func (s *Service) policyChanged(op *crud.Op, attr, id string, why Event) error {
	return s.reapply(op, by(KindConnection, attr, id), why, nil)
}

// intended says whether the request changes more than words; a secret that is given counts as changed.
func intended[T any, P resource.Of[T]](op *crud.Op, old, new *T) bool {
	words := *new
	P(&words).Base().Name, P(&words).Base().Description = P(old).Base().Name, P(old).Base().Description
	return op.Given("psk") || !reflect.DeepEqual(*old, words)
}
