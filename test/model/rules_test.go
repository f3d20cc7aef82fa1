package model

import (
	"net/netip"
	"slices"
)

// newService is section 5 with D7 and D11.
func (s *state) newService(c caller, r row) (row, refusal) {
	rt, exists := s.routers[r.text("router_id")]
	var no refusal
	if r.doc["flavor_id"] != nil {
		no = append(no, "404 FlavorsPluginNotLoaded")
	}
	switch {
	case !exists || !c.sees(rt.project):
		return r, append(no, "404 RouterNotFound")
	case rt.project != r.project():
		return r, append(no, "400 HTTPBadRequest")
	}
	if id := r.text("subnet_id"); id != "" && !rt.subnets[id] {
		no = append(no, "400 SubnetIsNotConnectedToRouter")
	}
	if asked := r.text("external_v4_ip"); asked != "" && c.role != "admin" {
		no = append(no, "403 PolicyNotAuthorized")
	} else if asked != "" && asked != rt.v4 {
		no = append(no, "400 HTTPBadRequest")
	}
	r = r.with(object{"external_v4_ip": orNull(rt.v4), "external_v6_ip": orNull(rt.v6), "status": "PENDING_CREATE", "status_reason": nil})
	if rt.grounded() {
		r = r.with(object{"status": "DOWN", "status_reason": s.noGateway()})
	}
	return r, no
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// groupRules is section 7.1. Which of several bad members is named is open.
func (s *state) groupRules(c caller, r row) (no refusal) {
	members := listOf(r.doc["endpoints"])
	if len(members) == 0 {
		return refuse("400 MissingEndpointForEndpointGroup")
	}
	for i, m := range members {
		if slices.Contains(members[:i], m) {
			no = append(no, "400 InvalidEndpointInEndpointGroup")
		}
		if r.doc["type"] == "subnet" {
			no = append(no, s.subnetMember(c, r.project(), m)...)
		} else if !slices.Contains(siteNetworks, m) && m != "192.168.43.0/24" && m != "192.168.42.0/24" && m != "192.168.0.0/16" && m != "10.0.0.25/24" {
			no = append(no, "400 InvalidEndpointInEndpointGroup")
		}
	}
	if r.doc["type"] == "cidr" && no == nil && mixed(members) {
		no = refuse("400 InvalidEndpointInEndpointGroup")
	}
	return no
}

func (s *state) subnetMember(c caller, project, id string) refusal {
	sub, known := s.subnets[id]
	switch {
	case len(id) != 36:
		return refuse("400 InvalidEndpointInEndpointGroup")
	case !known || !c.sees(sub.project):
		return refuse("400 NonExistingSubnetInEndpointGroup")
	case sub.project != project: // section 2.5: no project is tied to another
		return refuse("400 HTTPBadRequest")
	}
	return nil
}

// connectionRules is section 7.2, in its order.
func (s *state) connectionRules(c caller, r row) refusal {
	local, peer := []string(nil), []string(nil)
	return first(
		func() refusal { return s.parts(c, r) },
		func() refusal { return s.mode(r) },
		func() (no refusal) { local, peer, no = s.sides(c, r); return no },
		func() refusal { return dpdRule(r.doc["dpd"].(object)) },
		func() refusal { return mtuRule(number(r.doc["mtu"]), v4(local[0])) },
		func() refusal { return s.peerRule(r) },
		func() refusal { return probeRule(r.text("probe_address"), prefixes(peer)) },
		func() refusal { return s.conflicts(r, prefixes(local), prefixes(peer)) },
	)
}

// part finds what a connection refers to, in the caller's scope and in the connection's project (2.5).
func (s *state) part(c caller, kind, id, project string) (row, refusal) {
	p, ok := s.rows[id]
	switch {
	case !ok || p.kind != kind || !c.sees(p.project()):
		return p, refuse(notFound(kind))
	case p.project() != project:
		return p, refuse("400 HTTPBadRequest")
	}
	return p, nil
}

func (s *state) parts(c caller, r row) (no refusal) {
	for _, kind := range []string{"vpnservice", "ikepolicy", "ipsecpolicy"} {
		_, missing := s.part(c, kind, r.text(kind+"_id"), r.project())
		no = append(no, missing...)
	}
	return no
}

func (s *state) legacy(r row) bool { return s.rows[r.text("vpnservice_id")].doc["subnet_id"] != nil }

// mode: endpoint groups without a subnet on the service, peer_cidrs with one.
func (s *state) mode(r row) (no refusal) {
	local, peer, cidrs := r.doc["local_ep_group_id"] != nil, r.doc["peer_ep_group_id"] != nil, len(listOf(r.doc["peer_cidrs"])) > 0
	if s.legacy(r) {
		if local || peer {
			no = append(no, "400 InvalidEndpointGroup")
		}
		if !cidrs {
			no = append(no, "400 MissingPeerCidrs")
		}
		return no
	}
	if cidrs {
		no = append(no, "400 PeerCidrsInvalid")
	}
	if !local || !peer {
		no = append(no, "400 MissingRequiredEndpointGroup")
	}
	return no
}

// sides are the networks on both sides, and what is wrong with them.
func (s *state) sides(c caller, r row) (local, peer []string, no refusal) {
	if s.legacy(r) {
		local, peer, no = s.legacySides(r)
	} else {
		local, peer, no = s.groupSides(c, r)
	}
	switch {
	case no != nil:
	case v4(local[0]) != v4(peer[0]):
		no = refuse("400 MixedIPVersionsForIPSecConnection")
	case overlap(prefixes(local), prefixes(peer)):
		no = refuse("400 TrafficSelectorsOverlap")
	}
	return local, peer, no
}

func (s *state) legacySides(r row) (local, peer []string, no refusal) {
	peer = listOf(r.doc["peer_cidrs"])
	if mixed(peer) {
		no = append(no, "400 MixedIPVersionsForPeerCidrs")
	}
	if slices.ContainsFunc(peer, func(c string) bool { return slices.Contains(otherNetworks, c) }) {
		no = append(no, "400 IPsecSiteConnectionPeerCidrError")
	}
	sub := s.rows[r.text("vpnservice_id")].text("subnet_id")
	return []string{s.subnets[sub].cidr}, peer, no
}

func (s *state) groupSides(c caller, r row) (local, peer []string, no refusal) {
	for side, typ := range map[string]string{"local": "subnet", "peer": "cidr"} {
		g, missing := s.part(c, "endpoint_group", r.text(side+"_ep_group_id"), r.project())
		if no = append(no, missing...); missing == nil && g.doc["type"] != typ {
			no = append(no, "400 WrongEndpointGroupType")
		}
	}
	if no != nil {
		return nil, nil, no
	}
	local, peer = s.networksOf(r)
	if mixed(local) {
		no = append(no, "400 MixedIPVersionsForIPSecEndpoints")
	}
	rt := s.routers[s.routerOf(r)]
	for _, id := range listOf(s.rows[r.text("local_ep_group_id")].doc["endpoints"]) {
		if !rt.subnets[id] {
			no = append(no, "400 SubnetIsNotConnectedToRouter")
		}
	}
	return local, peer, no
}

// networksOf are both sides of a connection that is in order.
func (s *state) networksOf(r row) (local, peer []string) {
	if s.legacy(r) {
		return []string{s.subnets[s.rows[r.text("vpnservice_id")].text("subnet_id")].cidr}, listOf(r.doc["peer_cidrs"])
	}
	for _, id := range listOf(s.rows[r.text("local_ep_group_id")].doc["endpoints"]) {
		local = append(local, s.subnets[id].cidr)
	}
	return local, listOf(s.rows[r.text("peer_ep_group_id")].doc["endpoints"])
}

// dpdRule is section 8.
func dpdRule(d object) refusal {
	if d["action"] != "disabled" && number(d["timeout"]) <= number(d["interval"]) {
		return refuse("400 IPsecSiteConnectionDpdIntervalValueError")
	}
	return nil
}

func mtuRule(mtu int, inner4 bool) refusal {
	if mtu > 9000 || mtu < 68 || !inner4 && mtu < 1280 {
		return refuse("400 IPsecSiteConnectionMtuError")
	}
	return nil
}

// probeRule: what is probed lies behind the tunnel.
func probeRule(probe string, peer []netip.Prefix) refusal {
	a, err := netip.ParseAddr(probe)
	if err == nil && !slices.ContainsFunc(peer, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return refuse("400 InvalidProbeAddress")
	}
	return nil
}

// peerRule: an address that can be another site's, of a family that the router has outside. Without a gateway (D7) that is
// not known yet.
func (s *state) peerRule(r row) refusal {
	peer, rt := r.text("peer_address"), s.routers[s.routerOf(r)]
	if typ := peers[peer]; typ != "" {
		return refuse("400 " + typ)
	}
	if peer == rt.v4 || peer == rt.v6 {
		return refuse("400 InvalidPeerAddress")
	}
	_, err := netip.ParseAddr(peer)
	if err == nil && !rt.grounded() && (v4(peer) && rt.v4 == "" || !v4(peer) && rt.v6 == "") {
		return refuse("400 ExternalNetworkHasNoSubnet")
	}
	return nil
}

// conflicts with the other connections on the router.
func (s *state) conflicts(r row, local, peer []netip.Prefix) (no refusal) {
	for _, o := range s.connectionsOn(s.routerOf(r)) {
		if o.id() == r.id() {
			continue
		}
		l, p := s.networksOf(o)
		if overlap(local, prefixes(l)) && overlap(peer, prefixes(p)) {
			no = append(no, "409 TrafficSelectorsInUse")
		}
		same := sameAddress(o.text("peer_address"), r.text("peer_address")) && o.text("peer_id") == r.text("peer_id") && s.localID(o) == s.localID(r)
		if same && o.doc["psk"] != r.doc["psk"] {
			no = append(no, "409 PeerIdentityInUse")
		}
	}
	return no
}

// localID is the external address of the peer's family unless the connection says otherwise.
func (s *state) localID(r row) string {
	service, peer := s.rows[r.text("vpnservice_id")], r.text("peer_address")
	if id := r.text("local_id"); id != "" {
		return id
	}
	_, err := netip.ParseAddr(peer)
	if err == nil && !v4(peer) || err != nil && service.text("external_v4_ip") == "" {
		return service.text("external_v6_ip")
	}
	return service.text("external_v4_ip")
}
