package api

import (
	"cmp"
	"net/http"
	"slices"

	"culvert/internal/resource"
)

type version struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Links  []link `json:"links"`
}

// versions needs no token: clients read it before they have one.
func (s *server) versions(c *call) error {
	v := version{"v2.0", "CURRENT", []link{{"self", s.origin(c.r) + "/v2.0/"}}}
	return c.json(http.StatusOK, map[string][]version{"versions": {v}})
}

type indexEntry struct {
	Name       string `json:"name"`
	Collection string `json:"collection"`
	Links      []link `json:"links"`
}

// index lists every kind that is served.
func (s *server) index(c *call) error {
	var out []indexEntry
	for _, k := range s.Resources.Kinds() {
		i := k.Info()
		out = append(out, indexEntry{i.Name, i.Plural, []link{{"self", s.origin(c.r) + "/v2.0/" + i.Path}}})
	}
	slices.SortFunc(out, func(a, b indexEntry) int { return cmp.Compare(a.Links[0].Href, b.Links[0].Href) })
	return merged(s, c, "resources", "name", out)
}

// extension is one capability that clients ask for by its alias.
type extension struct {
	Alias       string   `json:"alias"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Updated     string   `json:"updated"`
	Links       []string `json:"links"`
	kind        string   // the kind without which there is no such capability; "": none
}

// capabilities are the aliases, names and dates of api-contract section 10 and, for the network's own, of neutron-lib's
// definitions; then our own (D15).
func capabilities() []extension {
	return []extension{
		{Alias: "culvert-bulk-create", Name: "Bulk create", Description: "POST takes a list below the plural key: all of it is made, or nothing.", Updated: "2026-12-01T00:00:00-00:00"},
		{Alias: "culvert-connection-tags", Name: "Connection tags", Description: "Connections have key/value tags, below /v2.0/{project_id}/ipsec-site-connections.", Updated: "2026-12-01T00:00:00-00:00", kind: "ipsec_site_connection"},
		{Alias: "culvert-events", Name: "Events", Description: "Connections have a timeline of what happened to them, at /v2.0/vpn/ipsec-site-connections/{id}/events.", Updated: "2026-12-01T00:00:00-00:00", kind: "ipsec_site_connection"},
		{Alias: "culvert-live-edit", Name: "Live edit", Description: "Policies of a connection, endpoints of a group in use and policies in use can be changed; running tunnels follow.", Updated: "2026-11-01T00:00:00-00:00", kind: "ipsec_site_connection"},
		{Alias: "culvert-probe", Name: "Active probe", Description: "Connections have probe_address, which the gateway pings through the tunnel.", Updated: "2027-01-01T00:00:00-00:00", kind: "ipsec_site_connection"},
		{Alias: "culvert-statistics", Name: "Statistics", Description: "What connections carry, and on which SAs, is at /v2.0/vpn/ipsec-site-connections/{id}/statistics.", Updated: "2027-01-01T00:00:00-00:00", kind: "ipsec_site_connection"},
		{Alias: "culvert-status-reason", Name: "Status reason", Description: "VPN services and connections that are not ACTIVE say why in status_reason; one that is says there what is wrong all the same.", Updated: "2026-11-01T00:00:00-00:00", kind: "ipsec_site_connection"},
		{Alias: "culvert-timestamps", Name: "Timestamps", Description: "VPN resources have created_at and updated_at, as those of Open Telekom Cloud have.", Updated: "2026-12-01T00:00:00-00:00", kind: "vpnservice"},
		{Alias: "empty-string-filtering", Name: "Empty String Filtering Extension", Description: "A filter with an empty value matches the empty string.", Updated: "2018-05-01T10:00:00-00:00"},
		{Alias: "external-net", Name: "Neutron external network", Description: "Networks have the attribute router:external.", Updated: "2013-01-14T10:00:00-00:00", kind: "network"},
		{Alias: "filter-validation", Name: "Filter parameters validation", Description: "Filters that do not exist are refused.", Updated: "2018-03-21T10:00:00-00:00"},
		{Alias: "pagination", Name: "Pagination support", Description: "Lists take limit, marker and page_reverse.", Updated: "2016-06-12T00:00:00-00:00"},
		{Alias: "project-id", Name: "project_id field enabled", Description: "Resources have project_id as well as tenant_id.", Updated: "2016-09-09T09:09:09-09:09"},
		{Alias: "quota_details", Name: "Quota details management support", Description: "GET /v2.0/quotas/{project_id}/details tells limit, used and reserved.", Updated: "2017-02-10T10:00:00-00:00"},
		{Alias: "quotas", Name: "Quota management support", Description: "Limits of how many VPN resources a project may have.", Updated: "2012-07-29T10:00:00-00:00"},
		{Alias: "revision-if-match", Name: "If-Match constraints based on revision_number", Description: "PUT and DELETE take If-Match: revision_number=N.", Updated: "2016-12-11T00:00:00-00:00"},
		{Alias: "router", Name: "Neutron L3 Router", Description: "Routers between networks, with an external gateway.", Updated: "2012-07-20T10:00:00-00:00", kind: "router"},
		{Alias: "sort-key-validation", Name: "Sort key validation", Description: "Sort keys that do not exist are refused.", Updated: "2018-07-04T10:00:00-00:00"},
		{Alias: "sorting", Name: "Sorting support", Description: "Lists take sort_key and sort_dir.", Updated: "2016-06-12T00:00:00-00:00"},
		{Alias: "standard-attr-revisions", Name: "Resource revision numbers", Description: "Resources have a revision_number.", Updated: "2016-04-11T10:00:00-00:00"},
		{Alias: "standard-attr-tag", Name: "Tag support for resources with standard attribute: network, port, router, subnet", Description: "Networks, ports, routers and subnets have tags.", Updated: "2017-01-01T00:00:00-00:00", kind: "network"},
		{Alias: "vpn-aes-ccm-gcm", Name: "VPN support for AES CCM, GCM modes", Description: "Policies take AES in the modes CCM and GCM.", Updated: "2023-10-24T11:00:00-00:00", kind: "ipsecpolicy"},
		{Alias: "vpn-aes-ctr", Name: "VPN support for AES CTR mode", Description: "Policies take AES in the mode CTR.", Updated: "2024-01-09T09:00:00-00:00", kind: "ipsecpolicy"},
		{Alias: "vpn-endpoint-groups", Name: "VPN Endpoint Groups", Description: "Endpoint groups name the subnets and CIDRs of a connection.", Updated: "2015-08-04T10:00:00-00:00", kind: "endpoint_group"},
		{Alias: "vpnaas", Name: "VPN service", Description: "IPsec site-to-site VPN as a service.", Updated: "2013-05-29T10:00:00-00:00", kind: "vpnservice"},
		// The name under which openstacksdk looks for it.
		{Alias: "vpnaas_v2", Name: "VPN service", Description: "The same as vpnaas.", Updated: "2013-05-29T10:00:00-00:00", kind: "vpnservice"},
	}
}

// served are the capabilities of the kinds that there are.
func (s *server) served() []extension {
	missing := map[string]bool{"standard-attr-tag": s.Tags == nil, "culvert-connection-tags": s.ConnectionTags == nil, "culvert-events": s.Events == nil, "culvert-statistics": s.Statistics == nil, "quotas": s.Quotas == nil, "quota_details": s.Quotas == nil}
	all := slices.DeleteFunc(capabilities(), func(e extension) bool {
		return e.kind != "" && s.Resources.Kinds()[e.kind] == nil || missing[e.Alias]
	})
	for i := range all {
		all[i].Links = []string{}
	}
	return all
}

func (s *server) extensions(c *call) error {
	return merged(s, c, "extensions", "alias", s.served())
}

func (s *server) extension(c *call) error {
	alias := c.r.PathValue("alias")
	for _, e := range s.served() {
		if e.Alias == alias {
			return c.json(http.StatusOK, map[string]extension{"extension": e})
		}
	}
	if s.Upstream != nil {
		return s.unserved(c)
	}
	return resource.Errorf(http.StatusNotFound, "HTTPNotFound", "Extension with alias %s does not exist", clip(alias))
}
