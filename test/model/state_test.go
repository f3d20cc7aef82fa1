package model

import (
	"maps"
	"slices"
)

// state is everything that the API can show of the five kinds, and what they stand on. Rows are never changed in place.
type state struct {
	rows    map[string]row
	dead    []string // ids of what was deleted
	routers map[string]router
	subnets map[string]subnet
	specs   map[string]int64 // routers of which the gateway has to be told, and in which revision that was noted
	limits  map[string]int   // quota of each kind in each project
	rev     int64            // the store's revision: one more for every change, none for what changes nothing
	now     string
}

// row is one resource: doc is what a member of its project reads. intent is the revision of the last change that matters to
// a gateway; what a gateway saw of older revisions says nothing of it.
type row struct {
	kind   string
	doc    object
	intent int64
}

type object = map[string]any

type router struct {
	project string
	up      bool
	v4, v6  string          // addresses of its gateway, "" without one
	subnets map[string]bool // ids of the subnets that it has an interface on
}

func (r router) grounded() bool { return r.v4 == "" && r.v6 == "" }

type subnet struct{ project, cidr string }

func (r row) id() string           { return r.text("id") }
func (r row) project() string      { return r.text("project_id") }
func (r row) text(a string) string { s, _ := r.doc[a].(string); return s }

// with is the row with some attributes changed.
func (r row) with(change object) row {
	r.doc = maps.Clone(r.doc)
	maps.Copy(r.doc, change)
	return r
}

func (s *state) clone() *state {
	c := *s
	c.rows, c.routers, c.specs = maps.Clone(s.rows), maps.Clone(s.routers), maps.Clone(s.specs)
	return &c
}

// of are the rows of a kind for which keep holds, oldest first.
func (s *state) of(kind string, keep func(row) bool) []row {
	var out []row
	for _, r := range s.rows {
		if r.kind == kind && (keep == nil || keep(r)) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b row) int { return byKeys(a, b, []key{{"created_at", false}}) })
	return out
}

func (s *state) servicesOn(router string) []row {
	return s.of("vpnservice", func(r row) bool { return r.text("router_id") == router })
}

func (s *state) connectionsOn(router string) []row {
	return s.of("ipsec_site_connection", func(r row) bool { return s.routerOf(r) == router })
}

func (s *state) routerOf(connection row) string {
	return s.rows[connection.text("vpnservice_id")].text("router_id")
}

// caller is who asks, with one role in one project.
type caller struct{ name, role, project string }

// sees: an admin sees everything, others what belongs to their project (contract 2.5).
func (c caller) sees(project string) bool { return c.role == "admin" || c.project == project }

func (c caller) changes(project string) bool {
	return c.role == "admin" || c.role == "member" && c.project == project
}

// seen is the row as the caller reads it: who may not change it does not read its key (contract D4).
func (c caller) seen(r row) object {
	if r.doc["psk"] == nil || c.changes(r.project()) {
		return r.doc
	}
	return r.with(object{"psk": "******"}).doc
}

// refusal lists the answers that the contract allows, "404 IKEPolicyNotFound": more than one where it leaves open which of
// several faults is named. nil is none.
type refusal []string

func refuse(answers ...string) refusal { return answers }

// first is the first refusal there is: the contract gives the order.
func first(all ...func() refusal) refusal {
	for _, f := range all {
		if r := f(); r != nil {
			return r
		}
	}
	return nil
}

func notFound(kind string) string {
	return "404 " + map[string]string{"ikepolicy": "IKEPolicyNotFound", "ipsecpolicy": "IPsecPolicyNotFound", "vpnservice": "VPNServiceNotFound",
		"endpoint_group": "VPNEndpointGroupNotFound", "ipsec_site_connection": "IPsecSiteConnectionNotFound"}[kind]
}

func inUse(kind string) string {
	return "409 " + map[string]string{"ikepolicy": "IKEPolicyInUse", "ipsecpolicy": "IPsecPolicyInUse", "vpnservice": "VPNServiceInUse",
		"endpoint_group": "EndpointGroupInUse"}[kind]
}
