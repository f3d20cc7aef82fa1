package rights

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"culvert/internal/client"
)

// TestTheKeyIsNoOracle: nobody learns from an answer whether a guess of a key is right, be it by its status, its text, the
// number of rows or their order (api-contract D4 and section 8.3).
func TestTheKeyIsNoOracle(t *testing.T) {
	w := newWorld(t)
	const list = "/v2.0/vpn/ipsec-site-connections"
	item := list + "/" + w.made["home ipsec_site_connection"]
	for _, c := range w.callers {
		for _, form := range []string{list + "?psk=%s", list + "?psk=%s&fields=id", list + "?name=x&psk=%s", list + "?psk=%s&psk=another", item + "?psk=%s&fields=id",
			list + "?marker=%s", list + "?sort_key=%s&sort_dir=asc", list + "?fields=%s"} {
			right, wrong := w.guess(c, "GET", form, homeKey, nil), w.guess(c, "GET", form, "kT7-wq2Lz9_Xn\"\\<&>", nil)
			if right != wrong {
				t.Errorf("%s as %s: the right key answers\n%s\na wrong one\n%s", form, c.name, right, wrong)
			}
			if c.name != "admin" && c.name != "member" && strings.Contains(right, `"psk":"`) && !strings.Contains(right, `"psk":"******"`) {
				t.Errorf("%s as %s: %s", form, c.name, right)
			}
		}
		if c.name == "admin" || c.name == "member" {
			continue
		}
		put := func(psk string) any {
			return client.Object{"ipsec_site_connection": client.Object{"psk": psk}}
		}
		if right, wrong := w.guess(c, "PUT", item, "", put(homeKey)), w.guess(c, "PUT", item, "", put("another-key")); right != wrong {
			t.Errorf("PUT as %s: %s\n%s", c.name, right, wrong)
		}
	}
	w.refusedByName()
	w.noSecrets()
}

// guess returns the whole answer, with the guess itself and the request's id taken out.
func (w *world) guess(c caller, method, form, key string, body any) string {
	path := form
	if strings.Contains(form, "%s") {
		path = fmt.Sprintf(form, url.PathEscape(key))
		if strings.Contains(form, "?") {
			path = fmt.Sprintf(form, url.QueryEscape(key))
		}
	}
	a := w.do(caller{"guess of " + c.name, c.token}, method, path, body)
	text := string(a.body)
	for _, s := range shapes(key) {
		if s != "" {
			text = strings.ReplaceAll(text, s, "$key")
		}
	}
	w.received["guess of "+c.name].Reset() // it may show what the request said itself
	return fmt.Sprint(a.status, " ", text)
}

// refusedByName: filter and sort are refused as attributes, whatever there is to find; no row is looked at.
func (w *world) refusedByName() {
	for _, c := range []string{"reader", "member", "admin", "stranger"} {
		for _, q := range []string{"psk=" + url.QueryEscape(homeKey), "psk=", "psk=******", "sort_key=psk&sort_dir=asc", "sort_key=psk&sort_dir=desc", "PSK=x"} {
			a := w.do(w.by(c), "GET", "/v2.0/vpn/ipsec-site-connections?"+q, nil)
			typ, message := a.fault()
			allowed := message[max(0, strings.Index(message, "allowed are")):]
			if a.status != 400 || typ != "HTTPBadRequest" || !strings.Contains(allowed, "peer_id") && !strings.Contains(allowed, "vpnservice_id") || strings.Contains(allowed, "psk") {
				w.Errorf("?%s as %s: %d %s", q, c, a.status, a.body)
			}
		}
	}
}

// TestNoErrorShowsTheKey: bodies that hold a key and are refused for any reason; the metrics and whatever else may
// be served beside the API. The log is searched too.
func TestNoErrorShowsTheKey(t *testing.T) {
	w := newWorld(t)
	const list = "/v2.0/vpn/ipsec-site-connections"
	for _, c := range w.callers {
		for i, broken := range []func(client.Object){
			func(a client.Object) { a["peer_adress"] = "198.51.100.7" },
			func(a client.Object) { delete(a, "peer_id") },
			func(a client.Object) { a["mtu"] = "x" },
			func(a client.Object) { a["psk"] = []any{homeKey} },
			func(a client.Object) { a["psk"] = client.Object{homeKey: homeKey} },
			func(a client.Object) { a["psk"] = homeKey + "?" },
			func(a client.Object) { a["psk"] = strings.Repeat(homeKey, 10) },
			func(a client.Object) { a["vpnservice_id"] = w.made["away vpnservice"] },
			func(a client.Object) { a["dpd"] = client.Object{"interval": 200} },
			func(a client.Object) { a["peer_cidrs"] = []string{"10.0.0.0/8"} },
		} {
			a := w.attributes("home", "ipsec_site_connection")
			broken(a)
			if got := w.do(caller{"broken " + c.name, c.token}, "POST", list, client.Object{"ipsec_site_connection": a}); got.status < 400 && c.name != "admin" {
				t.Errorf("body %d as %s: %d %s", i, c.name, got.status, got.body)
			}
		}
		for _, raw := range []string{`{"ipsec_site_connection":{"psk":` + quoted(homeKey), `{"psk":` + quoted(homeKey) + `}`, `{"ipsec_site_connection":` + quoted(homeKey) + `}`} {
			w.do(caller{"broken " + c.name, c.token}, "POST", list, raw)
			w.do(caller{"broken " + c.name, c.token}, "PUT", list+"/"+w.made["home ipsec_site_connection"], raw)
		}
	}
	scraped := httptest.NewRecorder()
	w.srv.Metrics.ServeHTTP(scraped, httptest.NewRequest("GET", "/metrics", nil))
	if text := scraped.Body.String(); scraped.Code != 200 || !strings.Contains(text, w.made["home ipsec_site_connection"]) {
		t.Errorf("the metrics tell nothing of the connection: %d %s", scraped.Code, text)
	} else {
		for _, key := range []string{homeKey, awayKey} {
			if shows(text, key) {
				t.Errorf("the metrics have a secret that begins with %.3s", key)
			}
		}
	}
	for _, path := range []string{"/v2.0/metrics", "/healthz", "/openapi.json", "/debug/pprof/", "/debug/vars"} {
		for _, name := range []string{"nobody", "reader"} {
			w.send(w.by(name), "GET", path, nil, nil)
		}
	}
	w.noSecrets()
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string: it cannot fail
	return string(b)
}
