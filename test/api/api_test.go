package api

import (
	"testing"
	"time"

	"culvert/internal/server"
	"culvert/internal/store/pgtest"
	"culvert/internal/vpntest"
)

// chapters are the transcripts, and how the server of each is set up.
func chapters() map[string]func(*server.Config) {
	plain := func(*server.Config) {}
	return map[string]func(*server.Config){
		"ikepolicies":    plain,
		"neutron":        func(c *server.Config) { c.Defaults = "neutron" },
		"weak":           func(c *server.Config) { c.WeakCrypto = "deny" },
		"ipsecpolicies":  plain,
		"vpnservices":    plain,
		"endpointgroups": plain,
		"anycidr":        func(c *server.Config) { c.AllowAny = true; c.MaxPairs = 2 },
		"connections":    plain,
		"modes":          plain,
		"conflicts":      plain,
		"bodies":         plain,
		"rights":         plain,
		"guards":         plain,
		"lists":          func(c *server.Config) { c.PublicURL = "https://vpn.example.net"; c.PageLimit = 4 },
		"status":         func(c *server.Config) { c.PendingDeadline = time.Minute },
		"specs":          plain,
		"quotas":         func(c *server.Config) { c.Quotas = map[string]int64{"ikepolicy": 2} },
		"bulk":           func(c *server.Config) { c.Quotas = map[string]int64{"ikepolicy": 4} },
	}
}

// TestTranscripts runs every transcript on both engines: the same answers, to the byte.
func TestTranscripts(t *testing.T) {
	engines := map[string]func(*testing.T) string{"sqlite": func(*testing.T) string { return "" }}
	if !*update {
		cluster := pgtest.StartCluster(t)
		engines["postgres"] = func(t *testing.T) string { return cluster.Database(t) }
	}
	for engine, database := range engines {
		for name, set := range chapters() {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				srv := vpntest.Start(t, vpntest.Options{Database: database(t), Set: set})
				runTranscript(t, srv, name, layScene(t, srv), *update)
			})
		}
	}
}
