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
		"pairs":          func(c *server.Config) { c.MaxPairs = 2 },
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
		"connectiontags": plain,
		"health":         plain,
		"network":        plain,
		"events":         func(c *server.Config) { c.PendingDeadline = time.Minute },
	}
}

// engine makes an empty database of one sort; "" is SQLite.
type engine struct {
	name     string
	database func(*testing.T) string
}

// TestBothEngines runs every transcript, the lists, the watch and the quotas on SQLite and on PostgreSQL: the same answers, to the byte.
// With -update the transcripts are written, from SQLite's answers.
func TestBothEngines(t *testing.T) {
	engines := []engine{{"sqlite", func(*testing.T) string { return "" }}}
	if !*update {
		cluster := pgtest.StartCluster(t)
		engines = append(engines, engine{"postgres", func(t *testing.T) string { return cluster.Database(t) }})
	}
	for _, e := range engines {
		for name, set := range chapters() {
			t.Run(e.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				srv := vpntest.Start(t, vpntest.Options{Database: e.database(t), Set: func(c *server.Config) {
					c.HostGrace = 10000 * time.Hour // transcripts have no gateway host, and their clock leaps
					set(c)
				}})
				runTranscript(t, srv, name, layScene(t, srv), *update)
			})
		}
		t.Run(e.name+"/every_list", func(t *testing.T) { t.Parallel(); everyList(t, e.database(t)) })
		t.Run(e.name+"/open_watch", func(t *testing.T) { t.Parallel(); openWatches(t, e.database(t)) })
		t.Run(e.name+"/gateway_hosts", func(t *testing.T) { t.Parallel(); gatewayHosts(t, e.database(t)) })
		t.Run(e.name+"/gateway_without_host", func(t *testing.T) { t.Parallel(); gatewayWithoutHost(t, e.database(t)) })
		if e.name == "postgres" { // SQLite has one server alone
			t.Run(e.name+"/gateway_host_elsewhere", func(t *testing.T) { t.Parallel(); gatewayHostElsewhere(t, e.database(t)) })
		}
		t.Run(e.name+"/quota_under_concurrency", func(t *testing.T) { t.Parallel(); quotaUnderConcurrency(t, e.database(t)) })
		t.Run(e.name+"/quota_and_a_counter", func(t *testing.T) { t.Parallel(); quotaAgreesWithACounter(t, e.database(t)) })
	}
}
