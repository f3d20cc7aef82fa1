package api_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
)

// valid says that an answer is none of the server's own failures, and JSON throughout.
func valid(t *testing.T, r *httptest.ResponseRecorder) {
	t.Helper()
	if r.Code >= 500 {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	if r.Body.Len() > 0 && !json.Valid(r.Body.Bytes()) {
		t.Fatalf("not JSON: %s", r.Body)
	}
}

// No query makes the server fail, on any kind of resource.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"", "name=a&name=b&fields=id,name&limit=1", "sort_key=name&sort_dir=desc&marker=00000000-0000-4000-8000-000000000001&page_reverse=True",
		"limit=-1", "limit=1e3", "limit=99999999999999999999", "marker=%00", "name=%ff", "name=%zz", "name=\x00", "name=';DROP TABLE resources;--",
		"mtu=abc", "mtu=99999999999999999999", "mtu=-0", "admin_state_up=yes", "psk=x", "endpoint_type=cidr&type=subnet", "a[b]=c", "=", "&&;&", "fields=&fields=,,", "fields=%22:1,%22x",
		"sort_key=id&sort_key=id&sort_dir=asc&sort_dir=desc", "created_at=2026", "revision_number=1&revision_number=0x1", "router:external=1", "\xff\xfe", "page_reverse=2", "tags=a,b&not-tags-any=,&tags=", "fixed_ips=subnet_id%3D&fixed_ips=ip_address=::", "vpc_id=&limit=1&marker=x", strings.Repeat("a=b&", 600),
	} {
		f.Add(uint8(len(q)), q)
	}
	w := newWorld(f)
	router, _ := w.router("lan", "10.1.0.0/24")
	for _, body := range []string{`{"ikepolicy":{"name":"a"}}`, `{"ikepolicy":{"name":"b"}}`} {
		w.made("/v2.0/vpn/ikepolicies", "ikepolicy", body)
	}
	w.made("/v2.0/vpn/vpnservices", "vpnservice", `{"vpnservice":{"router_id":"`+router+`"}}`)
	paths := []string{"vpn/ikepolicies", "vpn/ipsecpolicies", "vpn/vpnservices", "vpn/endpoint-groups", "vpn/ipsec-site-connections",
		"networks", "subnets", "routers", "ports", "routers/" + router, "extensions",
		"security-groups", "quotas/x/details", "x/ipsec-site-connections/tags", "../v1/" + w.srv.FirstAdmin.ProjectID + "/subnets"}
	f.Fuzz(func(t *testing.T, which uint8, query string) {
		w.TB = t
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = &url.URL{Path: path.Join("/v2.0", paths[int(which)%len(paths)]), RawQuery: query}
		r.Header.Set("X-Auth-Token", w.tokens["member"])
		out := httptest.NewRecorder()
		w.srv.Handler.ServeHTTP(out, r)
		w.log.Reset()
		valid(t, out)
	})
}

// No body makes the server fail; one that is refused has changed nothing, and one that is taken can be read again.
func FuzzBody(f *testing.F) {
	for _, b := range []string{
		"", "{}", "[]", "null", "[[[[", `{"ikepolicy":{}}`, `{"ikepolicy":{"name":"n","lifetime":{"value":"3600"}}}`, `{"ikepolicy":{"lifetime":{"value":1e9}}}`,
		`{"ikepolicy":{"lifetime":null,"name":null}}`, `{"ipsecpolicy":{"transform_protocol":"ah","encryption_algorithm":"aes-256-gcm-16"}}`,
		`{"endpoint_group":{"type":"cidr","endpoints":["10.0.0.24/24","2001:db8::/64"]}}`, `{"endpoint_group":{"type":"subnet","endpoints":"` + "\x00" + `"}}`,
		`{"vpnservice":{"router_id":"00000000-0000-4000-8000-000000000003","subnet_id":null,"admin_state_up":"no"}}`,
		`{"ipsec_site_connection":{"psk":"secret-secret","peer_address":"::1","peer_id":"","mtu":1e400,"dpd":{"timeout":"20","interval":10}}}`,
		`{"ikepolicy":{"name":"` + strings.Repeat("é", 300) + `"}}`, `{"ikepolicy":{"name":"\ud800"}}`, `{"ikepolicy":{"ike_version":["v1"]}}`, `{"ikepolicy":{"a":1,"a":2}}`, `{"ikepolicy":{}} {}`,
		`{"network":{"provider:physical_network":"x","mtu":-1}}`, `{"subnet":{"cidr":"10.0.0.0/0","ip_version":4,"network_id":"00000000-0000-4000-8000-000000000001"}}`,
		`{"router":{"external_gateway_info":{"network_id":null}}}`, `{"port":{"network_id":"00000000-0000-4000-8000-000000000001","fixed_ips":[{"ip_address":"10.1.0.300"}]}}`,
		`{"ikepolicies":[{},{"name":"b"}]}`, `{"networks":[{"name":"a"},{"name":5}]}`, `{"ikepolicies":[[]]}`, `{"subnets":{}}`,
		`{"quota":{"ikepolicy":3,"vpnservice":"-1","force":"no"}}`, `{"quota":{"ikepolicy":1e3,"network":-1}}`, `{"quota":{"":null}}`,
		`{"action":"filter","limit":"1","offset":0,"tags":[{"key":"k","values":["*v*",""]}],"matches":[{"key":"resource_name","value":"*"}]}`, `{"action":"count","tags":[{}]}`,
	} {
		for i := range uint8(5) {
			f.Add(i, b)
		}
	}
	w := newWorld(f)
	router, _ := w.router("lan", "10.1.0.0/24")
	ike := w.made("/v2.0/vpn/ikepolicies", "ikepolicy", `{"ikepolicy":{"name":"a"}}`)
	paths := map[string]string{"ikepolicy": "vpn/ikepolicies", "ipsecpolicy": "vpn/ipsecpolicies", "vpnservice": "vpn/vpnservices", "endpoint_group": "vpn/endpoint-groups",
		"ipsec_site_connection": "vpn/ipsec-site-connections", "network": "networks", "subnet": "subnets", "router": "routers", "port": "ports",
		"ikepolicies": "vpn/ikepolicies", "ipsecpolicies": "vpn/ipsecpolicies", "networks": "networks", "subnets": "subnets"}
	project := w.srv.FirstAdmin.ProjectID
	f.Fuzz(func(t *testing.T, how uint8, body string) {
		w.TB = t
		defer w.log.Reset()
		var keys map[string]json.RawMessage
		collection := "vpn/ikepolicies"
		if json.Unmarshal([]byte(body), &keys) == nil {
			for k := range keys {
				if paths[k] != "" && len(keys) == 1 {
					collection = paths[k]
				}
			}
		}
		method, target := "POST", "/v2.0/"+collection
		switch how % 5 {
		case 1:
			method, target = "PUT", "/v2.0/vpn/ikepolicies/"+ike
		case 2:
			method, target = "PUT", "/v2.0/routers/"+router+"/add_router_interface"
		case 3:
			method, target = "PUT", "/v2.0/quotas/"+project
			defer w.send("DELETE", target, "", nil)
		case 4:
			target = "/v2.0/" + project + "/ipsec-site-connections/resource_instances/action"
		}
		before := w.rev()
		out := w.send(method, target, body, nil)
		valid(t, out)
		if out.Code >= 400 && w.rev() != before {
			t.Fatalf("%d, and yet the revision is %d after %d", out.Code, w.rev(), before)
		}
		if out.Code != 201 {
			return
		}
		for _, one := range madeBy(t, out.Body.Bytes()) {
			again := w.send("GET", target+"/"+one.id, "", nil)
			if _, read, _ := strings.Cut(again.Body.String(), ":"); again.Code != 200 || read != one.doc+"}" {
				t.Fatalf("made %s, read %d %s", one.doc, again.Code, again.Body)
			}
			if gone := w.send("DELETE", target+"/"+one.id, "", nil); gone.Code != 204 {
				t.Fatalf("%d %s", gone.Code, gone.Body)
			}
		}
	})
}

type document struct{ id, doc string }

// madeBy reads the answer to a create of one or of many.
func madeBy(t *testing.T, answer []byte) (all []document) {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(answer, &body); err != nil || len(body) != 1 {
		t.Fatalf("%s: %v", answer, err)
	}
	for _, v := range body {
		many := []json.RawMessage{v}
		if v[0] == '[' {
			if err := json.Unmarshal(v, &many); err != nil {
				t.Fatal(err)
			}
		}
		for _, doc := range many {
			var head struct{ ID string }
			if err := json.Unmarshal(doc, &head); err != nil {
				t.Fatal(err)
			}
			all = append(all, document{head.ID, string(doc)})
		}
	}
	return all
}
