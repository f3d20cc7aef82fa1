package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/server"
	"culvert/internal/vpntest"

	"pgregory.net/rapid"
)

const ikePolicies = "/v2.0/vpn/ikepolicies"

// Fifty creates at once against a limit of seven: seven are made, whether they come alone or in lists.
func quotaUnderConcurrency(t *testing.T, database string) {
	srv := vpntest.Start(t, vpntest.Options{Database: database, Set: func(c *server.Config) { c.Quotas = map[string]int64{"ikepolicy": 7} }})
	one := client.Object{"ikepolicy": client.Object{}}
	if got := atOnce(t, srv.As("member"), 50, func(int) any { return one }); got[201] != 7 || got[409] != 43 {
		t.Errorf("alone: %v, want 7 times 201 and 43 times 409", got)
	}
	pair := client.Object{"ikepolicies": []any{client.Object{}, client.Object{}}}
	got := atOnce(t, srv.As("stranger"), 50, func(i int) any {
		if i%2 == 0 {
			return pair
		}
		return one
	})
	// There are more than seven single ones among them: the last place is always taken.
	if n := len(policies(t, srv.As("stranger"))); n != 7 {
		t.Errorf("in pairs: %d policies, want 7; answers %v", n, got)
	}
	if got[201]+got[409] != 50 {
		t.Errorf("in pairs: %v, want nothing but 201 and 409", got)
	}
}

// atOnce posts n bodies at the same time and counts the answers by status.
func atOnce(t *testing.T, c *client.Client, n int, body func(int) any) map[int]int {
	t.Helper()
	codes, start := make([]int, n), make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			code, _, err := c.Do(t.Context(), "POST", ikePolicies, body(i))
			if err != nil {
				t.Error(err)
			}
			codes[i] = code
		})
	}
	close(start)
	all.Wait()
	out := map[int]int{}
	for _, code := range codes {
		out[code]++
	}
	return out
}

func policies(t testing.TB, c *client.Client) []any {
	t.Helper()
	out, err := c.Call(t.Context(), "GET", ikePolicies+"?fields=id", nil)
	if err != nil {
		t.Fatal(err)
	}
	return out["ikepolicies"].([]any)
}

func TestQuotaConfiguration(t *testing.T) {
	for name, limit := range map[string]int64{"ikepolicies": 1, "network": 1, "ikepolicy": -2, "vpnservice": 1 << 31} {
		s, err := server.Open(t.Context(), server.Config{Data: t.TempDir(), Log: slog.New(slog.DiscardHandler), Quotas: map[string]int64{name: limit}})
		if err == nil {
			t.Errorf("%s=%d was accepted", name, limit)
			s.Close()
		}
	}
}

// For random sequences of creates, lists of creates, deletes and changes of the limit, the server agrees with a counter.
func quotaAgreesWithACounter(t *testing.T, database string) {
	srv := vpntest.Start(t, vpntest.Options{Database: database, Set: func(c *server.Config) { c.Quotas = map[string]int64{"ikepolicy": 5} }})
	began := time.Now()
	rapid.Check(t, func(r *rapid.T) {
		if time.Since(began) < 5*time.Second { // a bound on the load, not on the answer
			runQuota(t, r, srv)
		}
	})
}

// quotaModel is what the server should know.
type quotaModel struct {
	limit int64
	ids   []string
}

func runQuota(t *testing.T, r *rapid.T, srv *vpntest.Server) {
	member, quota := srv.As("member"), "/v2.0/quotas/"+srv.Home
	for _, p := range policies(t, member) {
		expect(r, member, "DELETE", ikePolicies+"/"+p.(client.Object)["id"].(string), nil, 204)
	}
	if code, _, err := srv.As("admin").Do(t.Context(), "DELETE", quota, nil); err != nil || code != 204 && code != 404 {
		r.Fatal(code, err)
	}
	m := &quotaModel{limit: 5}
	steps := map[string]func(*rapid.T){
		"create": func(r *rapid.T) {
			out := expect(r, member, "POST", ikePolicies, client.Object{"ikepolicy": client.Object{}}, m.code(1))
			m.add(out["ikepolicy"])
		},
		"createAll": func(r *rapid.T) {
			n := rapid.IntRange(1, 4).Draw(r, "n")
			list := make([]any, n)
			for i := range list {
				list[i] = client.Object{}
			}
			out := expect(r, member, "POST", ikePolicies, client.Object{"ikepolicies": list}, m.code(n))
			made, _ := out["ikepolicies"].([]any)
			for _, p := range made {
				m.add(p)
			}
		},
		"delete": func(r *rapid.T) {
			if len(m.ids) > 0 {
				expect(r, member, "DELETE", ikePolicies+"/"+m.ids[0], nil, 204)
				m.ids = m.ids[1:]
			}
		},
		"limit": func(r *rapid.T) {
			limit, force, code := rapid.Int64Range(-1, 8).Draw(r, "limit"), rapid.Bool().Draw(r, "force"), 200
			if !force && limit >= 0 && limit < int64(len(m.ids)) {
				code = 400
			} else {
				m.limit = limit
			}
			expect(r, srv.As("admin"), "PUT", quota, client.Object{"quota": client.Object{"ikepolicy": limit, "force": force}}, code)
		},
		"": func(r *rapid.T) {
			d := expect(r, member, "GET", quota+"/details", nil, 200)["quota"].(client.Object)["ikepolicy"]
			want := fmt.Sprintf(`{"limit":%d,"reserved":0,"used":%d}`, m.limit, len(m.ids))
			if got, _ := json.Marshal(d); string(got) != want {
				r.Fatalf("details: %s, want %s", got, want)
			}
		},
	}
	r.Repeat(steps)
}

func (m *quotaModel) code(n int) int {
	if m.limit >= 0 && int64(len(m.ids)+n) > m.limit {
		return 409
	}
	return 201
}

func (m *quotaModel) add(made any) {
	if o, ok := made.(client.Object); ok {
		m.ids = append(m.ids, o["id"].(string))
	}
}

func expect(r *rapid.T, c *client.Client, method, path string, body any, code int) (out client.Object) {
	got, answer, err := c.Do(r.Context(), method, path, body)
	if err != nil || got != code {
		r.Fatalf("%s %s %v: %d %s %v, want %d", method, path, body, got, answer, err, code)
	}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			r.Fatal(err)
		}
	}
	return out
}
