package api_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"culvert/internal/server"
)

// benchmark makes one request after the other over a real connection, to the server and to a bare handler that writes the
// same bytes.
func benchmark(b *testing.B, target func(w *world, last string) string, rows int) {
	w := newWorld(b, func(c *server.Config) { c.PageLimit = 1000; c.Log = slog.New(slog.DiscardHandler) })
	router, subnet := w.router("lan", "10.1.0.0/16")
	ike := w.made("/v2.0/vpn/ikepolicies", "ikepolicy", `{"ikepolicy":{}}`)
	esp := w.made("/v2.0/vpn/ipsecpolicies", "ipsecpolicy", `{"ipsecpolicy":{}}`)
	service := w.made("/v2.0/vpn/vpnservices", "vpnservice", `{"vpnservice":{"router_id":"`+router+`","subnet_id":"`+subnet+`"}}`)
	last := ""
	for i := range rows {
		last = w.made("/v2.0/vpn/ipsec-site-connections", "ipsec_site_connection", fmt.Sprintf(`{"ipsec_site_connection":{"name":"branch %d",
			"vpnservice_id":%q,"ikepolicy_id":%q,"ipsecpolicy_id":%q,"peer_address":"198.51.%d.%d","peer_id":"branch-%d","peer_cidrs":["10.%d.%d.0/24"],
			"psk":"pre-shared-key-%d"}}`, i, service, ike, esp, i>>8, i&255, i, 100+i>>8, i&255, i))
	}
	uri := target(w, last)
	body := w.send("GET", uri, "", nil).Body.Bytes()
	bare := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(body) })
	for name, h := range map[string]http.Handler{"culvert": w.srv.Handler, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			req, err := http.NewRequest("GET", srv.URL+uri, nil)
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("X-Auth-Token", w.tokens["admin"])
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, r.Body)
				if err != nil || r.StatusCode != 200 || n != int64(len(body)) {
					b.Fatal(r.Status, n, err)
				}
				r.Body.Close()
			}
		})
	}
}

func BenchmarkList1000(b *testing.B) {
	benchmark(b, func(*world, string) string { return "/v2.0/vpn/ipsec-site-connections" }, 1000)
}

func BenchmarkGetOne(b *testing.B) {
	benchmark(b, func(_ *world, last string) string { return "/v2.0/vpn/ipsec-site-connections/" + last }, 1)
}
