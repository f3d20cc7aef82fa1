package model

import (
	"maps"

	"pgregory.net/rapid"
)

// The topology changes below the VPN, by the admin: a gateway set or taken, a subnet attached or detached, a router switched
// off (contract 5, the guards, and D7).

// topologyPut is a PUT on a router; ok is what happens when it is allowed and changes something.
func (m *machine) topologyPut(t *rapid.T, path string, body any, no refusal, ok func(doc object)) {
	t.Helper()
	m.tick(t)
	doc, answer := m.ask(t, "admin", "PUT", "/v2.0/routers/"+path, body)
	if m.agree(t, answer, "200", no) {
		ok(doc)
		m.revision(t)
	}
}

// routerChanged takes over a router, and what its services answer of it.
func (m *machine) routerChanged(id string, r router) {
	m.s.routers[id] = r
	m.s.rev++
	services := m.s.servicesOn(id)
	if len(services) > 0 {
		m.s.specs[id] = m.s.rev
	}
	for _, v := range services {
		if v.doc["external_v4_ip"] == orNull(r.v4) && v.doc["external_v6_ip"] == orNull(r.v6) {
			continue
		}
		v = v.with(object{"external_v4_ip": orNull(r.v4), "external_v6_ip": orNull(r.v6), "status": "PENDING_UPDATE", "status_reason": nil})
		v.intent = m.s.rev
		m.s.rows[v.id()] = v
	}
}

func (m *machine) gateway(t *rapid.T) {
	id := m.routers[pick(t, "router", []string{"bare", "bare", "router4"})]
	r := m.s.routers[id]
	if r.grounded() {
		m.topologyPut(t, id, object{"router": object{"external_gateway_info": object{"network_id": m.wan}}}, nil, func(doc object) {
			r.v4, r.v6 = outside(doc["router"].(object))
			m.routerChanged(id, r)
		})
		return
	}
	var no refusal
	if len(m.s.servicesOn(id)) > 0 {
		no = refuse("409 RouterInUse")
	}
	m.topologyPut(t, id, object{"router": object{"external_gateway_info": nil}}, no, func(object) {
		r.v4, r.v6 = "", ""
		m.routerChanged(id, r)
	})
}

func (m *machine) switched(t *rapid.T) {
	id := pick(t, "router", sorted(m.s.routers))
	r := m.s.routers[id]
	r.up = !r.up
	m.topologyPut(t, id, object{"router": object{"admin_state_up": r.up}}, nil, func(object) { m.routerChanged(id, r) })
}

// attach and detach the subnet that is on no router at first, or detach one that is.
func (m *machine) attach(t *rapid.T) {
	id := m.routers["bare"]
	r := m.s.routers[id]
	var no refusal
	if r.subnets[m.loose] {
		no = refuse("400 BadRequest")
	}
	m.topologyPut(t, id+"/add_router_interface", object{"subnet_id": m.loose}, no, func(object) {
		r.subnets = maps.Clone(r.subnets)
		r.subnets[m.loose] = true
		m.routerChanged(id, r)
	})
}

func (m *machine) detach(t *rapid.T) {
	id := pick(t, "router", sorted(m.s.routers))
	subnet := pick(t, "subnet", append(sorted(m.s.routers[id].subnets), m.loose))
	no := m.s.detachable(id, subnet)
	if no == nil && subnet != m.loose { // it would not come back
		return
	}
	r := m.s.routers[id]
	m.topologyPut(t, id+"/remove_router_interface", object{"subnet_id": subnet}, no, func(object) {
		r.subnets = maps.Clone(r.subnets)
		delete(r.subnets, subnet)
		m.routerChanged(id, r)
	})
}

func (s *state) detachable(router, subnet string) (no refusal) {
	if !s.routers[router].subnets[subnet] {
		return refuse("404 RouterInterfaceNotFoundForSubnet")
	}
	for _, v := range s.servicesOn(router) {
		if v.text("subnet_id") == subnet {
			no = append(no, "409 SubnetInUseByVPNService")
		}
	}
	for _, c := range s.connectionsOn(router) {
		for _, id := range listOf(s.rows[c.text("local_ep_group_id")].doc["endpoints"]) {
			if id == subnet {
				no = append(no, "409 SubnetInUseByIPsecSiteConnection")
			}
		}
	}
	return no
}

// deleteSubnet asks for it only where it must be refused.
func (m *machine) deleteSubnet(t *rapid.T) {
	id := pick(t, "subnet", sorted(m.s.subnets))
	used := false
	for _, r := range m.s.routers {
		used = used || r.subnets[id]
	}
	for _, g := range m.s.of("endpoint_group", nil) {
		for _, member := range listOf(g.doc["endpoints"]) {
			used = used || member == id
		}
	}
	if used {
		_, answer := m.ask(t, "admin", "DELETE", "/v2.0/subnets/"+id, nil)
		m.agree(t, answer, "", refuse("409 SubnetInUse"))
	}
}
