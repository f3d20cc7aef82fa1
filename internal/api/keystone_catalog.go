package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"culvert/internal/identity"
)

// CatalogName is one more service of the catalog whose endpoint is the network API, such as type vpc and name vpc.
type CatalogName struct{ Type, Name string }

// catalogEntry is a service with its one URL, the same for everybody.
type catalogEntry struct{ id, kind, name, url string }

// faces are the interfaces of each service, all at the same URL.
var faces = [...]string{"public", "internal", "admin"}

// catalogID makes ids that stay the same over restarts: 32 hexadecimal digits that spell what they name.
func catalogID(service, what byte) string {
	return strings.Repeat("0", 28) + string([]byte{'c', service, '0', what})
}

// catalogEntries are identity, network and the further names that were configured.
func (k *Keystone) catalogEntries(c *keystoneCall) []catalogEntry {
	network := strings.TrimSuffix(c.url, "/identity")
	out := []catalogEntry{{catalogID('1', '0'), "identity", "keystone", c.url}, {catalogID('2', '0'), "network", "neutron", network}}
	for _, n := range k.Names {
		sum := sha256.Sum256([]byte("catalog\x00" + n.Type + "\x00" + n.Name)) // the same whatever the order of the names
		out = append(out, catalogEntry{hex.EncodeToString(sum[:15]) + "00", n.Type, n.Name, network})
	}
	return out
}

// endpoint is the id of one interface of a service.
func (e *catalogEntry) endpoint(face int) string { return e.id[:31] + "123"[face:face+1] }

func (k *Keystone) catalog(c *keystoneCall) []object {
	out := []object{}
	for _, e := range k.catalogEntries(c) {
		endpoints := []object{}
		for i, face := range faces {
			endpoints = append(endpoints, object{"id": e.endpoint(i), "interface": face, "url": e.url, "region": k.Region, "region_id": k.Region})
		}
		out = append(out, object{"id": e.id, "type": e.kind, "name": e.name, "endpoints": endpoints})
	}
	return out
}

func (k *Keystone) serviceDocs(c *keystoneCall) (out []object) {
	for _, e := range k.catalogEntries(c) {
		out = append(out, object{"id": e.id, "type": e.kind, "name": e.name, "description": "", "enabled": true, "links": selfLink(c, "services/"+e.id)})
	}
	return out
}

func (k *Keystone) endpointDocs(c *keystoneCall) (out []object) {
	for _, e := range k.catalogEntries(c) {
		for i, face := range faces {
			id := e.endpoint(i)
			out = append(out, object{"id": id, "interface": face, "service_id": e.id, "url": e.url, "region": k.Region, "region_id": k.Region,
				"enabled": true, "links": selfLink(c, "endpoints/"+id)})
		}
	}
	return out
}

func (k *Keystone) regionDocs(c *keystoneCall) []object {
	return []object{{"id": k.Region, "description": "", "parent_region_id": nil, "links": selfLink(c, "regions/"+k.Region)}}
}

// fixedList answers what the configuration alone makes; filters are attributes that a query may name.
func fixedList(key string, docs func(*keystoneCall) []object, admin bool, filters ...string) keystoneFunc {
	return func(c *keystoneCall) error {
		if err := c.mayList(key, admin); err != nil {
			return err
		}
		q := c.r.URL.Query()
		all := slices.DeleteFunc(docs(c), func(d object) bool {
			return slices.ContainsFunc(filters, func(f string) bool { return q.Has(f) && d[f] != q.Get(f) })
		})
		return c.list(key, all)
	}
}

// fixedOne answers one of them, below key.
func fixedOne(key string, docs func(*keystoneCall) []object, admin bool) keystoneFunc {
	return func(c *keystoneCall) error {
		if err := c.mayList(key+"s", admin); err != nil {
			return err
		}
		for _, d := range docs(c) {
			if d["id"] == c.id() {
				return c.json(http.StatusOK, object{key: d})
			}
		}
		return &identity.Error{Code: http.StatusNotFound, Message: "Could not find " + key + "."}
	}
}

func (c *keystoneCall) mayList(what string, admin bool) error {
	if admin && !c.by.Caller().Admin() {
		return &identity.Error{Code: http.StatusForbidden, Message: "You are not authorized to perform the requested action: identity:list_" + what + "."}
	}
	return nil
}

// none of these exist here, but clients ask for the list.
func noneOf(key string) keystoneFunc {
	return func(c *keystoneCall) error { return c.list(key, nil) }
}
